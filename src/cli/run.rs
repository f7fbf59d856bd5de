//! `graygate run`: scenario files, or all scenarios in a folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use clap::Args;
use serde_json::Value;

use crate::cli::files::scenario_files;
use crate::cli::output::{self, Results, data, error, say};
use crate::cli::repeat::{self, RepeatFlags};
use crate::cli::{OutputFormat, RunFlags, ci, exit, real, signals};
use crate::config::diagnostic::{Diagnostic, Diagnostics};
use crate::id::Seed;
use crate::live::real::RealEndpoints;
use crate::observe::meta::Engine;
use crate::report::json;
use crate::runner::{RunError, RunOutput};
use crate::scenario::{Scenario, compile};

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Scenario files, or folders of them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    flags: RunFlags,
    /// How verdicts are written to stdout
    #[arg(long, value_enum, default_value = "pretty")]
    format: OutputFormat,
    /// How many virtual scenarios run at once [default: one a core]; live ones run one by one
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Only scenarios whose name contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Stop after the first scenario that did not pass
    #[arg(long)]
    fail_fast: bool,
    /// Let scenarios with real upstreams send requests to them, within their budgets
    #[arg(long)]
    allow_real: bool,
    /// A scenario that cannot run here is an error (exit code 5), and not just skipped
    #[arg(long)]
    require_all: bool,
    #[command(flatten)]
    repeat: RepeatFlags,
}

pub(super) fn run(args: &RunArgs) -> u8 {
    let scenarios = match load(args) {
        Ok(scenarios) => scenarios,
        Err(mistakes) => {
            mistakes.show(args.format);
            return exit::USAGE;
        }
    };
    if let Some(runs) = args.repeat.runs() {
        return repeat::run(&repetition(args, runs), &scenarios, &signals::install());
    }
    let junit = args.flags.junit.as_deref();
    let mut results = match Results::new(args.format, args.flags.quiet, junit) {
        Ok(results) => results.requiring_all(args.require_all),
        Err(trouble) => {
            error(trouble);
            return exit::BROKEN;
        }
    };
    let cancel = signals::install();
    let is_live = |s: &Scenario| output::engine(&args.flags, s) == Engine::Live;
    let (mut live, mut virtuals) = (Vec::new(), Vec::new());
    for scenario in scenarios {
        match real::look(&scenario, is_live(&scenario), args.allow_real) {
            Err(why) => results.skip(&scenario, &why),
            Ok(real) if is_live(&scenario) => live.push((scenario, real)),
            Ok(_) => virtuals.push(scenario),
        }
    }
    let is_stopped = run_virtuals(args, &virtuals, &cancel, &mut results);
    if !is_stopped {
        run_live(args, &live, &cancel, &mut results);
    }
    results.finish()
}

fn repetition(args: &RunArgs, runs: u64) -> repeat::Request<'_> {
    repeat::Request {
        runs,
        repeat: args.repeat,
        flags: &args.flags,
        format: args.format,
        jobs: args.jobs.map(usize::from),
        fail_fast: args.fail_fast,
        require_all: args.require_all,
    }
}

/// Why nothing is run: mistakes, by the file (or the arguments) that they make useless.
#[derive(Default)]
struct Mistakes(Vec<(String, Diagnostics)>);

impl Mistakes {
    fn add(&mut self, file: String, mistakes: impl Into<Diagnostics>) {
        self.0.push((file, mistakes.into()));
    }

    /// Shows them to people, and where programs read stdout, to them.
    fn show(self, format: OutputFormat) {
        if format == OutputFormat::Json {
            let all = self.0.iter().map(|(file, mistakes)| {
                let name = compile::file_stem(Path::new(file));
                let all: Vec<&Diagnostic> = mistakes.list.iter().collect();
                json::not_run(&name, "the scenario is invalid", &all)
            });
            data(&format!("{:#}\n", all.collect::<Value>()));
        }
        let mut all = Diagnostics::default();
        self.0.into_iter().for_each(|(_, one)| all.extend(one));
        if format == OutputFormat::Github {
            data(&all.list.iter().map(ci::mistake).collect::<String>());
        }
        say(all);
    }
}

/// Reads all scenarios, and gives all mistakes of all of them.
fn load(args: &RunArgs) -> Result<Vec<Scenario>, Mistakes> {
    let mut problems = Mistakes::default();
    let mut files = Vec::new();
    for path in &args.paths {
        match scenario_files(path) {
            Ok(found) => files.extend(found),
            Err(problem) => problems.add(path.display().to_string(), problem),
        }
    }
    let is_wanted = |path: &PathBuf| {
        let name = compile::file_stem(path);
        args.filter.as_ref().is_none_or(|text| name.contains(text))
    };
    files.retain(is_wanted);
    let mut scenarios = Vec::new();
    for path in &files {
        match compile::file(path) {
            Ok((scenario, warnings)) => {
                if !args.flags.quiet {
                    warnings.list.iter().for_each(say);
                }
                scenarios.push(match args.flags.seed {
                    Some(seed) => scenario.with_seed(Seed(seed)),
                    None => scenario,
                });
            }
            Err(mistakes) => problems.add(path.display().to_string(), mistakes),
        }
    }
    for problem in namesakes(&scenarios) {
        problems.add(problem.file.clone(), problem);
    }
    if problems.0.is_empty() && scenarios.is_empty() {
        let message = match &args.filter {
            Some(text) => format!("no scenario's name contains `{text}`"),
            None => "there is no scenario here".to_owned(),
        };
        let paths: Vec<String> = args.paths.iter().map(|p| p.display().to_string()).collect();
        let paths = paths.join(", ");
        problems.add(paths.clone(), Diagnostic::file(paths, message));
    }
    match problems.0.is_empty() {
        true => Ok(scenarios),
        false => Err(problems),
    }
}

/// Two scenarios of one name would overwrite each other's reports.
fn namesakes(scenarios: &[Scenario]) -> Vec<Diagnostic> {
    let mut seen: BTreeMap<&str, &Path> = BTreeMap::new();
    let mut found = Vec::new();
    for scenario in scenarios {
        if let Some(first) = seen.insert(&scenario.name, &scenario.path) {
            let message = format!("{} has the same file name", first.display());
            let hint = "reports are kept by file name: rename one of them";
            let name = scenario.path.display().to_string();
            found.push(Diagnostic::file(name, message).hint(hint));
        }
    }
    found
}

type Outcome = Result<RunOutput, RunError>;

/// Runs virtual scenarios on several threads, and shows them in order. Returns whether to stop.
fn run_virtuals(
    args: &RunArgs,
    scenarios: &[Scenario],
    cancel: &Arc<AtomicBool>,
    results: &mut Results,
) -> bool {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = args.jobs.map_or(cores, usize::from).min(scenarios.len());
    let mode = output::progress_mode(args.flags.quiet, scenarios.len());
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (sender, receiver) = channel::<(usize, Outcome)>();
        for _ in 0..jobs {
            let (sender, next, stop) = (sender.clone(), &next, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(scenario) = scenarios.get(index) else {
                        break;
                    };
                    let outcome = output::run_one(scenario, &args.flags, None, mode, cancel);
                    if sender.send((index, outcome)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let mut waiting: BTreeMap<usize, Outcome> = BTreeMap::new();
        let mut shown = 0;
        for (index, outcome) in receiver {
            waiting.insert(index, outcome);
            while let Some(outcome) = waiting.remove(&shown) {
                let code = results.add(&scenarios[shown], outcome);
                shown += 1;
                if is_end(args, code) {
                    stop.store(true, Ordering::Relaxed);
                }
            }
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
        stop.load(Ordering::Relaxed)
    })
}

fn run_live(
    args: &RunArgs,
    scenarios: &[(Scenario, Option<RealEndpoints>)],
    cancel: &Arc<AtomicBool>,
    results: &mut Results,
) {
    let mode = output::progress_mode(args.flags.quiet, 1);
    for (scenario, real) in scenarios {
        let outcome = output::run_one(scenario, &args.flags, real.clone(), mode, cancel);
        let code = results.add(scenario, outcome);
        if is_end(args, code) {
            break;
        }
    }
}

/// Is this result the last one that is wanted?
fn is_end(args: &RunArgs, code: u8) -> bool {
    code == exit::INTERRUPTED || (args.fail_fast && code != exit::PASS)
}
