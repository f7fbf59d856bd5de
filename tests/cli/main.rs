//! The program as its users meet it: arguments in; exit code, stdout, stderr and files out.

mod audit;
mod convert;
mod diagnostics;
mod exit_codes;
mod external;
mod formats;
mod generate;
mod money;
mod outputs;
mod recorded;
mod replay;
mod support;
mod traps;
