//! The program as its users meet it: arguments in; exit code, stdout, stderr and files out.

mod audit;
mod budgets;
mod convert;
mod diagnostics;
mod exit_codes;
mod external;
mod formats;
mod generate;
mod money;
mod outputs;
mod recorded;
mod repeat;
mod replay;
mod support;
mod traps;
mod tune;
