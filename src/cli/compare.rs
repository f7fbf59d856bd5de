//! `graygate compare`: the difference of two runs, from their folders.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::exit;
use crate::cli::output::{data, error};
use crate::comparison::figures::Unit;
use crate::comparison::limits::{Allowance, Limit};
use crate::comparison::{Outcome, compare, folder, pretty};

/// Compare two runs: which verdicts changed, which figures differ, and whether that is more than chance
///
/// A gate that passed in RUN_A and fails in RUN_B is a regression. Figures are shown with intervals, and count as
/// regressions only beyond the limits that are given. An invalid or interrupted run is not compared.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct CompareArgs {
    /// The folder of the run to compare with: reports/SCENARIO/RUN
    #[arg(value_name = "RUN_A")]
    a: PathBuf,
    /// The folder of the run that may be worse
    #[arg(value_name = "RUN_B")]
    b: PathBuf,
    /// More failed requests than this are a regression, like +0.5pp (percentage points)
    #[arg(long, value_name = "MORE", value_parser = share)]
    max_error_rate: Option<Allowance>,
    /// The same of the median latency of successes, like +10% or +20ms
    #[arg(long, value_name = "MORE", value_parser = millis)]
    max_p50: Option<Allowance>,
    /// The same of its 95th percentile
    #[arg(long, value_name = "MORE", value_parser = millis)]
    max_p95: Option<Allowance>,
    /// The same of its 99th percentile
    #[arg(long, value_name = "MORE", value_parser = millis)]
    max_p99: Option<Allowance>,
    /// The same of the 95th percentile of the time to the first token
    #[arg(long, value_name = "MORE", value_parser = millis)]
    max_first_token_p95: Option<Allowance>,
    /// The same of the time from the trouble to the rollback, like +10% or +5s
    #[arg(long, value_name = "MORE", value_parser = time)]
    max_rollback_time: Option<Allowance>,
    /// The same of the requests that met the canary, like +10% or +20
    #[arg(long, value_name = "MORE", value_parser = requests)]
    max_exposure: Option<Allowance>,
    /// The same of what it cost, like +10% or +$0.50
    #[arg(long, value_name = "MORE", value_parser = dollars)]
    max_cost: Option<Allowance>,
    /// The confidence of every interval, from 50% to below 100%
    #[arg(long, value_name = "SHARE", default_value = "95%", value_parser = confidence)]
    confidence: f64,
    /// How the comparison is written to stdout
    #[arg(long, value_enum, default_value = "pretty")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Pretty,
    /// As one JSON object (docs/compare.md)
    Json,
}

const AFTER_HELP: &str = "\
Examples:
  graygate compare main/virtual-seed7 branch/virtual-seed7
  graygate compare main/virtual-seed7 branch/virtual-seed7 --max-error-rate +0.5pp --max-p99 +10%

Exit codes:
  0  no regression
  1  a regression: a gate that passed fails now, or a limit is exceeded
  2  wrong usage, or a folder that is not that of a run
  3  too little evidence: a regression is neither shown nor excluded
  4  one of the runs is invalid or was interrupted: nothing is compared";

fn share(text: &str) -> Result<Allowance, String> {
    Allowance::parse(text, Unit::Share)
}

fn millis(text: &str) -> Result<Allowance, String> {
    Allowance::parse(text, Unit::Ms)
}

fn time(text: &str) -> Result<Allowance, String> {
    Allowance::parse(text, Unit::S)
}

fn requests(text: &str) -> Result<Allowance, String> {
    Allowance::parse(text, Unit::Requests)
}

fn dollars(text: &str) -> Result<Allowance, String> {
    Allowance::parse(text, Unit::NanoUsd)
}

fn confidence(text: &str) -> Result<f64, String> {
    let percent: Option<f64> = text.strip_suffix('%').and_then(|n| n.trim().parse().ok());
    let share = percent.map(|percent| percent / 100.0);
    share
        .filter(|share| (0.5..1.0).contains(share))
        .ok_or_else(|| "it is written like 95%, from 50% to below 100%".to_owned())
}

pub(super) fn run(args: &CompareArgs) -> u8 {
    let (a, b) = match (folder::read(&args.a), folder::read(&args.b)) {
        (Ok(a), Ok(b)) => (a, b),
        (a, b) => {
            [a.err(), b.err()].into_iter().flatten().for_each(error);
            return exit::USAGE;
        }
    };
    let comparison = compare(&a, &b, args.confidence, &limits(args));
    match args.format {
        Format::Pretty => data(&pretty::text(&comparison)),
        Format::Json => data(&comparison.json()),
    }
    match comparison.outcome {
        Outcome::NoRegression => exit::PASS,
        Outcome::Regression => exit::FAIL,
        Outcome::TooLittleEvidence => exit::INCONCLUSIVE,
        Outcome::Refused => exit::INVALID,
    }
}

/// The limits that were asked for, by the figures that they are on.
fn limits(args: &CompareArgs) -> Vec<Limit> {
    let all = [
        ("max-error-rate", "request_errors", &args.max_error_rate),
        ("max-p50", "latency.p50", &args.max_p50),
        ("max-p95", "latency.p95", &args.max_p95),
        ("max-p99", "latency.p99", &args.max_p99),
        (
            "max-first-token-p95",
            "first_token.p95",
            &args.max_first_token_p95,
        ),
        (
            "max-rollback-time",
            "rollback_time",
            &args.max_rollback_time,
        ),
        ("max-exposure", "exposure", &args.max_exposure),
        ("max-cost", "cost", &args.max_cost),
    ];
    let limits = all.into_iter().filter_map(|(option, figure, allowed)| {
        let allowed = allowed.clone()?;
        Some(Limit {
            option,
            figure,
            allowed,
        })
    });
    limits.collect()
}
