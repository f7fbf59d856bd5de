//! The program as its users meet it: arguments in; exit code, stdout, stderr and files out.

mod audit;
mod compare;
mod convert;
mod diagnostics;
mod exit_codes;
mod formats;
mod generate;
mod judge;
mod money;
mod outputs;
mod recorded;
mod replay;
mod support;
mod traps;
