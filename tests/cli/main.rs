//! The program as its users meet it: arguments in; exit code, stdout, stderr and files out.

mod audit;
mod audit_traps;
mod budgets;
mod comparable;
mod compare;
mod convert;
mod diagnostics;
mod exit_codes;
mod external;
mod formats;
mod generate;
mod judge;
mod money;
mod outputs;
mod recorded;
mod repeat;
mod replay;
mod stalls;
mod support;
mod traps;
mod tune;
