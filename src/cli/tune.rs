//! `graygate tune`: policies compared on one scenario.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::output::{data, error, say};
use crate::cli::repeat::Ticker;
use crate::cli::{exit, real, signals};
use crate::config::diagnostic::{Diagnostic, Diagnostics, Problems};
use crate::id::Seed;
use crate::report::tune::{PolicyRuns, Tuned, json, pretty};
use crate::runner::run_dir::RunDir;
use crate::runner::tune::{self, Tuning};
use crate::scenario::compile::version_names;
use crate::scenario::replay::read_fault;
use crate::scenario::{Scenario, compile, sweep};

#[derive(Debug, Args)]
pub(super) struct TuneArgs {
    /// The scenario: its traffic, made up or recorded, and its faults
    scenario: PathBuf,
    /// Values of a setting, like 'judge.min_requests: [50, 100, 200]' (repeatable: every combination is run)
    /// [default: what matters of the scenario's own judge, and another judge]
    #[arg(long, value_name = "KEY: [VALUE, …]")]
    sweep: Vec<String>,
    /// One more fault, like 'kind: server_error, on: v2, at: 1m, share: 20%' (repeatable)
    #[arg(long, value_name = "FAULT")]
    fault: Vec<String>,
    /// Seeds a policy, each with and without the canary's faults
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    runs: u64,
    /// The first seed [default: what the file says]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// On so many threads [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Where reports are written
    #[arg(long, value_name = "DIR", default_value = "reports")]
    out: PathBuf,
    /// How the result is written to stdout
    #[arg(long, value_enum, default_value = "pretty")]
    format: TuneFormat,
    /// No progress and no warnings
    #[arg(long, short)]
    quiet: bool,
}

/// How a comparison is written to stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TuneFormat {
    /// For people
    Pretty,
    /// The summary as JSON
    Json,
}

pub(super) fn run(args: &TuneArgs) -> u8 {
    let (scenario, tuning) = match prepared(args) {
        Ok(prepared) => prepared,
        Err(mistakes) => {
            say(mistakes);
            return exit::USAGE;
        }
    };
    if let Err(why) = real::look(&scenario, false, false) {
        error(format_args!("{}: {why}", scenario.path.display()));
        return exit::BROKEN;
    }
    if let Err(trouble) = RunDir::check(&args.out, &scenario.name) {
        error(trouble);
        return exit::BROKEN;
    }
    let cancel = signals::install();
    let ticker = Ticker::new(&scenario.name, tuning.total(), args.quiet);
    let outcome = tune::tune(&scenario, &tuning, &|done| ticker.tick(done), &cancel);
    ticker.finish();
    match outcome {
        Ok(tuned) => shown(args, &tuned),
        Err(failure) => {
            error(format_args!("{}: {failure}", scenario.path.display()));
            exit::BROKEN
        }
    }
}

fn prepared(args: &TuneArgs) -> Result<(Scenario, Tuning), Diagnostics> {
    let (scenario, warnings) = compile::file(&args.scenario)?;
    if !args.quiet {
        warnings.list.iter().for_each(say);
    }
    let scenario = match args.seed {
        Some(seed) => scenario.with_seed(Seed(seed)),
        None => scenario,
    };
    let problems = Problems::default();
    let scenario = with_faults(scenario, &args.fault, &problems);
    let grid = sweep::grid(&args.sweep, &problems);
    let found = problems.into_diagnostics();
    let Some(grid) = grid.filter(|_| found.errors() == 0) else {
        return Err(found);
    };
    let own = &scenario.experiment.router;
    let policies = match args.sweep.is_empty() {
        true => sweep::policies(own, &sweep::default_grids(own), true)?,
        false => sweep::policies(own, &[grid], false)?,
    };
    has_trouble(&scenario)?;
    let tuning = Tuning {
        runs: args.runs,
        jobs: args.jobs.map(usize::from),
        policies,
    };
    Ok((scenario, tuning))
}

fn with_faults(mut scenario: Scenario, faults: &[String], problems: &Problems) -> Scenario {
    let names = version_names(&scenario.experiment.router);
    let read = |text: &String| read_fault(text, problems, Some(&names));
    let more = faults.iter().filter_map(read);
    scenario.experiment.upstreams.faults.extend(more);
    scenario
}

/// Without anything to find, nobody finds it late.
fn has_trouble(scenario: &Scenario) -> Result<(), Diagnostics> {
    let experiment = &scenario.experiment;
    let canary = experiment.router.canary;
    let mut faults = experiment.upstreams.faults.iter();
    if faults.any(|fault| fault.is_of_alone(canary)) {
        return Ok(());
    }
    let name = experiment.router.name(canary);
    let file = scenario.path.display().to_string();
    let message = "no fault is on the canary alone: there is nothing to find";
    let hint = format!("add one: --fault 'kind: server_error, on: {name}, at: 1m, share: 20%'");
    Err(Diagnostic::file(file, message).hint(hint).into())
}

fn shown(args: &TuneArgs, tuned: &Tuned) -> u8 {
    let mut codes = vec![match tuned.interrupted {
        true => exit::INTERRUPTED,
        false => exit::PASS,
    }];
    let folder = match tune::write(tuned, &args.out) {
        Ok(folder) => Some(folder.display().to_string()),
        Err(trouble) => {
            error(trouble);
            codes.push(exit::BROKEN);
            None
        }
    };
    let finds_nothing = |policy: &PolicyRuns| policy.detection.count() == 0;
    if !args.quiet && tuned.policies.iter().all(finds_nothing) {
        say(
            "warning: no policy found the trouble in any run: does its fault meet anybody, and long enough?",
        );
    }
    match args.format {
        TuneFormat::Pretty => data(&pretty::render(tuned, folder.as_deref())),
        TuneFormat::Json => data(&format!("{:#}\n", json::value(tuned))),
    }
    exit::worst(codes)
}
