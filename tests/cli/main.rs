//! The program as its users meet it: arguments in; exit code, stdout, stderr and files out.

mod budgets;
mod convert;
mod diagnostics;
mod exit_codes;
mod formats;
mod money;
mod outputs;
mod repeat;
mod replay;
mod support;
mod tune;
