//! What all commands share: where people look, what data goes to stdout, one run after the other.

use std::fmt::Display;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::Value;

use crate::cli::{OutputFormat, RunFlags, env, exit};
use crate::config::redact::redact;
use crate::live::clock::Clock;
use crate::observe::meta::Engine;
use crate::progress::{Mode, Progress};
use crate::report::pretty::{self, Style};
use crate::report::{json, junit};
use crate::runner::{self, RunError, RunOptions, RunOutput};
use crate::scenario::Scenario;
use crate::time::Timestamp;
use crate::verdict::result::Status;

/// Says something to people. Keys are cut out; when nobody listens, that is no trouble of ours.
pub(super) fn say(what: impl Display) {
    let _ = writeln!(stderr(), "{}", redact(&what.to_string()));
}

/// Reports why something could not be done.
pub(super) fn error(what: impl Display) {
    say(format_args!("error: {what}"));
}

/// Writes data to stdout. A reader that went away is no trouble of ours.
pub(super) fn data(text: &str) {
    let mut out = stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// May colours be used on stdout?
pub(super) fn style() -> Style {
    Style {
        color: !env::no_color() && stdout().is_terminal(),
    }
}

/// The engine of a run: by flag, by file, else virtual.
pub(super) fn engine(flags: &RunFlags, scenario: &Scenario) -> Engine {
    let asked = flags.engine.map(Engine::from);
    asked.or(scenario.engine).unwrap_or(Engine::Virtual)
}

/// Runs one scenario with progress on stderr.
pub(super) fn run_one(
    scenario: &Scenario,
    flags: &RunFlags,
    mode: Mode,
    cancel: &Arc<AtomicBool>,
) -> Result<RunOutput, RunError> {
    let engine = engine(flags, scenario);
    let options = RunOptions {
        out: Some(flags.out.clone()),
        records: flags.records.map(Into::into),
        ..RunOptions::new(engine)
    };
    let clock = Clock::starting_now();
    let planned = scenario.experiment.traffic.planned_length();
    let mut progress = Progress::new(
        mode,
        stderr(),
        &scenario.name,
        planned.map(Timestamp::from),
        engine == Engine::Live,
        Box::new(move || clock.now()),
    );
    let output = runner::run(scenario, &options, &mut progress, cancel);
    progress.finish();
    output
}

/// How progress is shown on this terminal.
pub(super) fn progress_mode(flags: &RunFlags) -> Mode {
    match (flags.quiet, stderr().is_terminal()) {
        (true, _) => Mode::Off,
        (false, true) => Mode::Line,
        (false, false) => Mode::Log,
    }
}

/// Collects the results of an invocation and says what they are.
pub(super) struct Results {
    format: OutputFormat,
    quiet: bool,
    style: Style,
    codes: Vec<u8>,
    done: Vec<RunOutput>,
    broken: Vec<(String, String)>,
}

impl Results {
    pub(super) fn new(format: OutputFormat, quiet: bool) -> Self {
        Self {
            format,
            quiet,
            style: style(),
            codes: Vec::new(),
            done: Vec::new(),
            broken: Vec::new(),
        }
    }

    /// Takes a result in and shows it.
    pub(super) fn add(&mut self, scenario: &Scenario, result: Result<RunOutput, RunError>) -> u8 {
        let code = match result {
            Err(failure) => {
                error(format_args!("{}: {failure}", scenario.path.display()));
                self.broken
                    .push((scenario.name.clone(), failure.to_string()));
                exit::BROKEN
            }
            Ok(output) => self.add_output(scenario, output),
        };
        self.codes.push(code);
        code
    }

    fn add_output(&mut self, scenario: &Scenario, mut output: RunOutput) -> u8 {
        let code = exit::of(&output.report.verdict);
        self.show(scenario, &output);
        let output_error = output.output_error.take();
        self.done.push(output);
        match output_error {
            None => code,
            Some(trouble) => {
                error(&trouble);
                exit::worst([code, exit::BROKEN])
            }
        }
    }

    fn show(&self, scenario: &Scenario, output: &RunOutput) {
        let verdict = &output.report.verdict;
        let is_fine = verdict.status == Status::Pass && !verdict.interrupted;
        if self.format == OutputFormat::Json || (self.quiet && is_fine) {
            return;
        }
        let mut report = output.report.clone();
        // On the terminal the command works as it stands, from this folder.
        report.reproduce = report.meta.command_line(&scenario.command_here);
        let folder = output.folder.as_ref().map(|f| f.display().to_string());
        data(&pretty::render(&report, folder.as_deref(), self.style));
        if self.format == OutputFormat::Github {
            data(&annotations(&report));
        }
    }

    /// Ends the invocation: the JSON list, the JUnit file, a last line, the exit code.
    pub(super) fn finish(self, junit_file: Option<&Path>) -> u8 {
        if self.format == OutputFormat::Json {
            let all: Vec<Value> = self.done.iter().map(|o| json::value(&o.report)).collect();
            data(&format!("{:#}\n", Value::from(all)));
        } else if self.codes.len() > 1 {
            data(&self.last_line());
        }
        let mut codes = self.codes;
        if let Some(path) = junit_file {
            let reports: Vec<_> = self.done.iter().map(|o| &o.report).collect();
            if let Err(why) = write_junit(path, &reports, &self.broken) {
                error(format_args!("cannot write {}: {why}", path.display()));
                codes.push(exit::BROKEN);
            }
        }
        exit::worst(codes)
    }

    fn last_line(&self) -> String {
        let count = |code: u8| self.codes.iter().filter(|c| **c == code).count();
        let words = [
            (exit::PASS, "passed"),
            (exit::FAIL, "failed"),
            (exit::INCONCLUSIVE, "inconclusive"),
            (exit::INVALID, "invalid"),
            (exit::BROKEN, "could not run"),
            (exit::INTERRUPTED, "interrupted"),
        ];
        let counts: Vec<String> = words
            .into_iter()
            .map(|(code, word)| (count(code), word))
            .filter(|(n, word)| *n > 0 || *word == "passed")
            .map(|(n, word)| format!("{n} {word}"))
            .collect();
        format!("\n{} scenarios: {}\n", self.codes.len(), counts.join(", "))
    }
}

fn write_junit(
    path: &Path,
    reports: &[&crate::report::Report],
    broken: &[(String, String)],
) -> Result<(), String> {
    let xml = junit::render(reports, broken)?;
    std::fs::write(path, xml).map_err(|e| e.to_string())
}

/// Workflow commands of GitHub Actions: an annotation for every gate that did not pass.
fn annotations(report: &crate::report::Report) -> String {
    let open = report
        .verdict
        .gates
        .iter()
        .filter(|g| g.status != Status::Pass);
    open.map(|gate| {
        let level = match gate.status {
            Status::Fail | Status::Invalid => "error",
            Status::Inconclusive | Status::Pass => "warning",
        };
        let title = format!(
            "{}: {} {}",
            report.meta.scenario,
            gate.name,
            gate.status.name()
        );
        let (title, message) = (property(&title), value(&junit::headline(gate)));
        format!("::{level} title={title}::{message}\n")
    })
    .collect()
}

fn value(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn property(text: &str) -> String {
    value(text).replace(':', "%3A").replace(',', "%2C")
}
