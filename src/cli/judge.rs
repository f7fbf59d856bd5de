//! `graygate judge`: a run is judged again by other expectations, from its files.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::cli::exit;
use crate::cli::output::{data, error, say, style};
use crate::report::{Report, pretty};
use crate::runner::judge::{self, JudgeError};
use crate::scenario::compile::shell_word;
use crate::scenario::rejudging;
use crate::verdict::result::Status;

/// Judge a run again by other expectations, from its files
///
/// Nothing is run and nothing is written. The run must have kept all its rows. What every run is asked (policy, generator, join,
/// sample) stands as the run said it; an invalid run stays invalid.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct JudgeArgs {
    /// The folder of the run: reports/SCENARIO/RUN
    run: PathBuf,
    /// The run's scenario with other gates; or with --scenario, a file with gates alone
    #[arg(long, value_name = "FILE")]
    expect: PathBuf,
    /// The scenario that was run, when --expect has gates alone
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// How the verdict is written to stdout
    #[arg(long, value_enum, default_value = "pretty")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Pretty,
    /// As one JSON object (docs/judge.md)
    Json,
}

/// The name and version of the format.
const FORMAT: &str = "graygate.judge/1";

const AFTER_HELP: &str = "\
Examples:
  graygate judge reports/healthy-canary/virtual-seed7 --expect stricter.yaml
  graygate judge reports/healthy-canary/virtual-seed7 --expect gates.yaml --scenario scenarios/healthy-canary.yaml

Exit codes: as of `graygate run` (graygate --help).";

pub(super) fn run(args: &JudgeArgs) -> u8 {
    let scenario = match rejudging::compile(&args.expect, args.scenario.as_deref()) {
        Ok(scenario) => scenario,
        Err(problems) => {
            say(problems);
            return exit::USAGE;
        }
    };
    let mut report = match judge::run(&scenario, &args.run) {
        Ok(report) => report,
        Err(JudgeError::Unreadable(trouble)) => {
            error(trouble);
            return exit::USAGE;
        }
        Err(JudgeError::Unfit(why)) => {
            let run = args.run.display();
            error(format_args!("{run} cannot be judged again: {why}"));
            return exit::USAGE;
        }
    };
    report.reproduce = command(args);
    match args.format {
        Format::Pretty => data(&pretty::render(&report, None, style())),
        Format::Json => data(&json(args, &report)),
    }
    exit::of(&report.verdict)
}

fn command(args: &JudgeArgs) -> String {
    let word = |path: &PathBuf| shell_word(&path.display().to_string());
    let scenario = args.scenario.as_ref();
    let scenario = scenario.map_or(String::new(), |path| format!(" --scenario {}", word(path)));
    let (run, expect) = (word(&args.run), word(&args.expect));
    format!("graygate judge {run} --expect {expect}{scenario}")
}

fn json(args: &JudgeArgs, report: &Report) -> String {
    let verdict = &report.verdict;
    let value = json!({
        "format": FORMAT,
        "run": args.run.display().to_string(),
        "scenario": report.meta.scenario,
        "status": verdict.status,
        "valid": verdict.status != Status::Invalid,
        "interrupted": verdict.interrupted,
        "gates": verdict.gates,
    });
    format!("{value:#}\n")
}
