//! `graygate run --runs N`: every scenario over many seeds, in virtual time, on all cores.

use std::io::{IsTerminal, Write, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use clap::Args;
use serde_json::Value;

use crate::cli::output::{data, error, say, style};
use crate::cli::{OutputFormat, RunFlags, ci, exit, output, real};
use crate::live::clock::Clock;
use crate::observe::meta::Engine;
use crate::report::json::{not_run, skipped};
use crate::report::runs::{Runs, json, pretty};
use crate::runner::repeat::{self, Repetition};
use crate::runner::run_dir::RunDir;
use crate::runner::{RunError, RunOptions};
use crate::scenario::Scenario;
use crate::verdict::result::{Status, grouped};

/// How often progress is told, in nanoseconds: on a terminal, and in a log.
const PAUSES: (u64, u64) = (200_000_000, 5_000_000_000);

/// The options of repeated runs.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct RepeatFlags {
    /// Run each scenario over so many seeds, from its own (or --seed) on, in virtual time on all cores: how often each
    /// gate passes, and how detection, exposure and errors are distributed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000),
          conflicts_with_all = ["records", "junit"])]
    runs: Option<u64>,
    /// With --runs: so many runs may fail, and as many be inconclusive; fewer than all
    #[arg(long, value_name = "N", default_value = "0", requires = "runs")]
    max_red: u64,
}

impl RepeatFlags {
    /// How many seeds, where several are asked for.
    pub(super) fn runs(self) -> Option<u64> {
        self.runs
    }
}

/// What repeated runs are asked for.
pub(super) struct Request<'a> {
    pub(super) runs: u64,
    pub(super) repeat: RepeatFlags,
    pub(super) flags: &'a RunFlags,
    pub(super) format: OutputFormat,
    pub(super) jobs: Option<usize>,
    pub(super) fail_fast: bool,
    pub(super) require_all: bool,
}

/// Repeats every scenario, one after the other, and gives the exit code.
pub(super) fn run(request: &Request<'_>, scenarios: &[Scenario], cancel: &Arc<AtomicBool>) -> u8 {
    if request.repeat.max_red >= request.runs {
        let (red, runs) = (request.repeat.max_red, request.runs);
        error(format_args!(
            "--max-red {red} with --runs {runs}: such a command could never fail\n   = hint: allow {} at most",
            runs - 1
        ));
        return exit::USAGE;
    }
    let is_live = |s: &&Scenario| output::engine(request.flags, s) == Engine::Live;
    let live: Vec<&Scenario> = scenarios.iter().filter(is_live).collect();
    if !live.is_empty() {
        refuse(&live);
        return exit::USAGE;
    }
    let mut codes = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    for scenario in scenarios {
        let (code, value) = one(request, scenario, cancel);
        values.push(value);
        codes.extend(code);
        let is_bad = code.is_some_and(|code| code != exit::PASS);
        if code == Some(exit::INTERRUPTED) || (request.fail_fast && is_bad) {
            break;
        }
    }
    if request.format == OutputFormat::Json {
        data(&format!("{:#}\n", Value::from(values)));
    }
    exit::worst(codes)
}

fn refuse(live: &[&Scenario]) {
    for scenario in live {
        let remedy = match scenario.experiment.gateway.is_some() {
            true => "another gateway needs real time: leave this one out",
            false => "say --engine virtual",
        };
        error(format_args!(
            "{}: --runs repeats in virtual time, and this would run live\n   = hint: {remedy}",
            scenario.path.display()
        ));
    }
}

/// Repeats one scenario. No code for one that is skipped.
fn one(
    request: &Request<'_>,
    scenario: &Scenario,
    cancel: &Arc<AtomicBool>,
) -> (Option<u8>, Value) {
    if let Err(why) = real::look(scenario, false, false) {
        say(format_args!("skipped: {}: {why}", scenario.path.display()));
        let code = request.require_all.then_some(exit::BROKEN);
        return (code, skipped(&scenario.name, &why));
    }
    if let Err(trouble) = RunDir::check(&request.flags.out, &scenario.name) {
        return broken(scenario, &RunError::Output(trouble));
    }
    let repetition = Repetition {
        runs: request.runs,
        jobs: request.jobs,
        max_red: request.repeat.max_red,
        options: RunOptions::new(Engine::Virtual),
    };
    let ticker = Ticker::new(&scenario.name, request.runs, request.flags.quiet);
    let outcome = repeat::repeat(scenario, &repetition, &|done| ticker.tick(done), cancel);
    ticker.finish();
    match outcome {
        Ok(runs) => shown(request, &runs),
        Err(failure) => broken(scenario, &failure),
    }
}

fn broken(scenario: &Scenario, failure: &RunError) -> (Option<u8>, Value) {
    error(format_args!("{}: {failure}", scenario.path.display()));
    let value = not_run(&scenario.name, &failure.to_string(), &[]);
    (Some(exit::BROKEN), value)
}

fn shown(request: &Request<'_>, runs: &Runs) -> (Option<u8>, Value) {
    let mut codes = vec![code(runs)];
    let folder = match repeat::write(runs, &request.flags.out) {
        Ok(folder) => Some(folder.display().to_string()),
        Err(trouble) => {
            error(trouble);
            codes.push(exit::BROKEN);
            None
        }
    };
    let is_fine = codes == [exit::PASS];
    if request.format != OutputFormat::Json && !(request.flags.quiet && is_fine) {
        data(&pretty::render(runs, folder.as_deref(), style()));
    }
    if request.format == OutputFormat::Github {
        data(&ci::repeated(runs));
    }
    (Some(exit::worst(codes)), json::value(runs))
}

/// As the code of a single run, of the verdict over all.
fn code(runs: &Runs) -> u8 {
    match (runs.interrupted, runs.status()) {
        (true, _) => exit::INTERRUPTED,
        (false, Status::Pass) => exit::PASS,
        (false, Status::Fail) => exit::FAIL,
        (false, Status::Inconclusive) => exit::INCONCLUSIVE,
        (false, Status::Invalid) => exit::INVALID,
    }
}

/// Tells on stderr how many runs are over, once it takes longer than a moment.
pub(super) struct Ticker {
    name: String,
    planned: u64,
    is_quiet: bool,
    is_terminal: bool,
    clock: Clock,
    /// When it is told next, in nanoseconds since the beginning.
    next: AtomicU64,
    is_drawn: AtomicBool,
}

impl Ticker {
    /// Of so many runs.
    pub(super) fn new(name: &str, planned: u64, is_quiet: bool) -> Self {
        Self {
            name: name.to_owned(),
            planned,
            is_quiet,
            is_terminal: stderr().is_terminal(),
            clock: Clock::starting_now(),
            next: AtomicU64::new(1_000_000_000),
            is_drawn: AtomicBool::new(false),
        }
    }

    /// So many are over.
    pub(super) fn tick(&self, done: u64) {
        let (now, next) = (self.clock.now().0, self.next.load(Ordering::Relaxed));
        let pause = if self.is_terminal { PAUSES.0 } else { PAUSES.1 };
        if self.is_quiet || now < next {
            return;
        }
        // Of several threads that find it time, one tells it.
        let is_mine =
            self.next
                .compare_exchange(next, now + pause, Ordering::Relaxed, Ordering::Relaxed);
        if is_mine.is_ok() {
            self.draw(done);
        }
    }

    fn draw(&self, done: u64) {
        let percent = done * 100 / self.planned.max(1);
        let (done, planned) = (grouped(done), grouped(self.planned));
        let line = format!("{percent:3} % {}: {done} of {planned} runs", self.name);
        let mut err = stderr().lock();
        // Progress that cannot be shown is no reason to stop.
        let _ = match self.is_terminal {
            true => write!(err, "\r\u{1b}[K{line}"),
            false => writeln!(err, "{line}"),
        };
        let _ = err.flush();
        self.is_drawn.store(true, Ordering::Relaxed);
    }

    /// Takes the line away again.
    pub(super) fn finish(&self) {
        if self.is_terminal && self.is_drawn.load(Ordering::Relaxed) {
            let _ = write!(stderr(), "\r\u{1b}[K");
        }
    }
}
