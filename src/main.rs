//! The command `graygate`. See `graygate --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(graygate::cli::main())
}
