//! The command line: one file a command.

mod admin;
mod arguments;
mod audit;
mod budgets;
mod ci;
mod compare;
mod convert;
mod env;
pub mod exit;
mod files;
mod generate;
mod judge;
mod mock;
mod output;
mod real;
mod repeat;
mod replay;
mod requires;
mod run;
mod serve;
mod signals;
mod tune;
mod validate;
mod writing;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::observe::meta::Engine;
use crate::runner::Records;

/// Proves that a gray release of an LLM is safe.
///
/// Drives chat traffic through a gray router (a weighted split between a stable and a canary
/// version), injects faults, and judges whether split, fallback and automatic rollback work.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0    all gates passed
  1    a gate failed
  2    wrong usage, or an invalid scenario, log or configuration
  3    inconclusive: too little evidence
  4    invalid measurement: the generator was late, the rate was missed, the join broke
  5    could not run: a port, an upstream, an output folder
  130  interrupted
Several at once: 130, 2, 5, 1, 4, 3, 0 in that order.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run scenario files, or all scenarios in a folder
    Run(run::RunArgs),
    /// Send a recorded log through the router
    Replay(replay::ReplayArgs),
    /// Judge from a log alone that says who served: nothing is sent
    Audit(audit::AuditArgs),
    /// Compare policies on a scenario: false rollbacks against detection and exposure
    Tune(tune::TuneArgs),
    /// Compare two runs: which verdicts changed, which figures differ
    Compare(compare::CompareArgs),
    /// Judge a run again by other expectations, from its files
    Judge(judge::JudgeArgs),
    /// Serve the gray router as an OpenAI-compatible gateway
    Serve(serve::ServeArgs),
    /// Look at a gateway's release, and change it
    Admin(admin::AdminArgs),
    /// Serve a mock upstream that answers and fails as told
    Mock(mock::MockArgs),
    /// Write a recorded log in another format, without what was said in it
    Convert(convert::ConvertArgs),
    /// Write a log of made-up traffic
    Generate(generate::GenerateArgs),
    /// Show every mistake in scenario and router files, without running anything
    Validate(validate::ValidateArgs),
}

/// The options of everything that runs.
#[derive(Clone, Debug, Args)]
struct RunFlags {
    /// The driver: virtual time or real sockets [default: what the file says, else virtual]
    #[arg(long, value_enum)]
    engine: Option<EngineArg>,
    /// Seed of all random draws [default: what the file says]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Where reports are written
    #[arg(long, value_name = "DIR", default_value = "reports")]
    out: PathBuf,
    /// Which rows requests.csv and attempts.csv get [default: all below 1,000,000 requests, else
    /// failures]
    #[arg(long, value_enum)]
    records: Option<RecordsArg>,
    /// Also write one JUnit file for everything
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// No progress, and only what did not pass
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum EngineArg {
    Virtual,
    Live,
}

impl From<EngineArg> for Engine {
    fn from(arg: EngineArg) -> Self {
        match arg {
            EngineArg::Virtual => Self::Virtual,
            EngineArg::Live => Self::Live,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RecordsArg {
    All,
    Failures,
    None,
}

impl From<RecordsArg> for Records {
    fn from(arg: RecordsArg) -> Self {
        match arg {
            RecordsArg::All => Self::All,
            RecordsArg::Failures => Self::Failures,
            RecordsArg::None => Self::None,
        }
    }
}

/// How verdicts are written to stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    /// For people
    Pretty,
    /// The summaries as a JSON list
    Json,
    /// For people, with annotations for GitHub Actions
    Github,
}

/// Parses the arguments of the process, does what they say, and gives its exit code.
pub fn main() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no mistakes; everything else is usage.
            let code = if error.use_stderr() {
                exit::USAGE
            } else {
                exit::PASS
            };
            return match error.print() {
                Err(trouble) if code == exit::PASS => output::lost(&trouble),
                _ => code,
            };
        }
    };
    let code = run(cli.command);
    match output::is_lost() {
        true => exit::worst([code, exit::BROKEN]),
        false => code,
    }
}

fn run(command: Command) -> u8 {
    match command {
        Command::Run(args) => run::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Tune(args) => tune::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Judge(args) => judge::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Admin(args) => admin::run(&args),
        Command::Mock(args) => mock::run(&args),
        Command::Convert(args) => convert::run(args),
        Command::Generate(args) => generate::run(&args),
        Command::Validate(args) => validate::run(&args),
    }
}
