//! What all commands share: where people look, what data goes to stdout, one run after the other.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::cli::{OutputFormat, RunFlags, ci, env, exit};
use crate::config::redact::redact;
use crate::live::clock::Clock;
use crate::live::real::RealEndpoints;
use crate::observe::meta::Engine;
use crate::progress::{Mode, Progress};
use crate::report::junit::{self, NotRun};
use crate::report::pretty::{self, Style};
use crate::report::{Report, json};
use crate::runner::run_dir::OutputError;
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

/// Set once something could not be written to stdout, so that it is said once, and the exit code tells it.
static LOST: AtomicBool = AtomicBool::new(false);

/// Writes data to stdout. A reader that went away is no trouble of ours; a disk that is full is, and
/// [`is_lost`] tells it.
pub(super) fn data(text: &str) {
    let mut out = stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    if let Err(trouble) = written {
        lost(&trouble);
    }
}

/// Says that stdout cannot be written, unless only its reader went away. The exit code of that alone.
pub(super) fn lost(trouble: &io::Error) -> u8 {
    if trouble.kind() == ErrorKind::BrokenPipe {
        return exit::PASS;
    }
    if !LOST.swap(true, Ordering::Relaxed) {
        error(format_args!("stdout: cannot be written: {trouble}"));
    }
    exit::BROKEN
}

/// Was anything that people or programs should have read on stdout not written?
pub(super) fn is_lost() -> bool {
    LOST.load(Ordering::Relaxed)
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
    real: Option<RealEndpoints>,
    mode: Mode,
    cancel: &Arc<AtomicBool>,
) -> Result<RunOutput, RunError> {
    let engine = engine(flags, scenario);
    let options = RunOptions {
        out: Some(flags.out.clone()),
        records: flags.records.map(Into::into),
        real,
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

/// How progress is shown on this terminal, when so many runs go on at once.
pub(super) fn progress_mode(is_quiet: bool, at_once: usize) -> Mode {
    // Several lines that are written over would write over each other.
    let can_draw = at_once <= 1 && stderr().is_terminal();
    match (is_quiet, can_draw) {
        (true, _) => Mode::Off,
        (false, true) => Mode::Line,
        (false, false) => Mode::Log,
    }
}

/// What became of a scenario.
enum Ending {
    Ran(Box<RunOutput>),
    /// It could not be run, for this reason.
    Broken {
        name: String,
        why: String,
    },
    /// It cannot be run here, for this reason.
    Skipped {
        name: String,
        why: String,
    },
}

/// Collects the results of an invocation and says what they are.
pub(super) struct Results {
    format: OutputFormat,
    quiet: bool,
    style: Style,
    codes: Vec<u8>,
    endings: Vec<Ending>,
    junit: Option<JunitFile>,
    requires_all: bool,
}

impl Results {
    /// Nothing so far. The JUnit file is opened now, so that one that cannot be written is found out
    /// before any traffic.
    pub(super) fn new(
        format: OutputFormat,
        quiet: bool,
        junit: Option<&Path>,
    ) -> Result<Self, OutputError> {
        Ok(Self {
            format,
            quiet,
            style: style(),
            codes: Vec::new(),
            endings: Vec::new(),
            junit: junit.map(JunitFile::create).transpose()?,
            requires_all: false,
        })
    }

    /// The same, where a scenario that is skipped is an error.
    pub(super) fn requiring_all(self, requires_all: bool) -> Self {
        Self {
            requires_all,
            ..self
        }
    }

    /// Notes a scenario that cannot be run here, and shows that.
    pub(super) fn skip(&mut self, scenario: &Scenario, why: &str) {
        say(format_args!("skipped: {}: {why}", scenario.path.display()));
        let (name, why) = (scenario.name.clone(), redact(why));
        if self.format == OutputFormat::Github {
            data(&ci::skipped(&name, &why));
        }
        if self.requires_all {
            self.codes.push(exit::BROKEN);
        }
        self.endings.push(Ending::Skipped { name, why });
    }

    /// Takes a result in and shows it.
    pub(super) fn add(&mut self, scenario: &Scenario, result: Result<RunOutput, RunError>) -> u8 {
        let code = match result {
            Err(failure) => self.add_broken(scenario, &failure),
            Ok(output) => self.add_output(&scenario.command_here, output),
        };
        self.codes.push(code);
        code
    }

    /// Takes an audit in, which this command does again, and shows it.
    pub(super) fn add_audit(&mut self, command_here: &str, output: RunOutput) {
        let code = self.add_output(command_here, output);
        self.codes.push(code);
    }

    fn add_broken(&mut self, scenario: &Scenario, failure: &RunError) -> u8 {
        error(format_args!("{}: {failure}", scenario.path.display()));
        let (name, why) = (scenario.name.clone(), redact(&failure.to_string()));
        if self.format == OutputFormat::Github {
            data(&ci::broken(&name, &why));
        }
        self.endings.push(Ending::Broken { name, why });
        exit::BROKEN
    }

    fn add_output(&mut self, command_here: &str, mut output: RunOutput) -> u8 {
        let code = exit::of(&output.report.verdict);
        self.show(command_here, &output);
        let output_error = output.output_error.take();
        self.endings.push(Ending::Ran(Box::new(output)));
        match output_error {
            None => code,
            Some(trouble) => {
                error(&trouble);
                exit::worst([code, exit::BROKEN])
            }
        }
    }

    fn show(&self, command_here: &str, output: &RunOutput) {
        let verdict = &output.report.verdict;
        let is_fine = verdict.status == Status::Pass && !verdict.interrupted;
        if self.format == OutputFormat::Json || (self.quiet && is_fine) {
            return;
        }
        let mut report = output.report.clone();
        // On the terminal the command works as it stands, from this folder.
        report.reproduce = report.meta.command_line(command_here);
        let folder = output.folder.as_ref().map(|f| f.display().to_string());
        data(&pretty::render(&report, folder.as_deref(), self.style));
        if self.format == OutputFormat::Github {
            data(&ci::gates(&report));
        }
    }

    /// Ends the invocation: the JSON list, the JUnit file, a last line, the exit code.
    pub(super) fn finish(self) -> u8 {
        if self.format == OutputFormat::Json {
            let all = self.endings.iter().map(|ending| match ending {
                Ending::Ran(output) => json::value(&output.report),
                Ending::Broken { name, why } => json::not_run(name, why, &[]),
                Ending::Skipped { name, why } => json::skipped(name, why),
            });
            data(&format!("{:#}\n", all.collect::<Value>()));
        } else if self.endings.len() > 1 {
            data(&self.last_line());
        }
        let mut codes = self.codes;
        if let Some(file) = self.junit
            && let Err(trouble) = file.write(&self.endings)
        {
            error(trouble);
            codes.push(exit::BROKEN);
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
        let skipped = self.endings.iter();
        let skipped = skipped.filter(|e| matches!(e, Ending::Skipped { .. }));
        let mut counts = words.map(|(code, word)| (count(code), word)).to_vec();
        counts.push((skipped.count(), "skipped"));
        let counts: Vec<String> = counts
            .into_iter()
            .filter(|(n, word)| *n > 0 || *word == "passed")
            .map(|(n, word)| format!("{n} {word}"))
            .collect();
        format!(
            "\n{} scenarios: {}\n",
            self.endings.len(),
            counts.join(", ")
        )
    }
}

/// The file of `--junit`.
pub(super) struct JunitFile {
    path: PathBuf,
    file: File,
}

impl JunitFile {
    pub(super) fn create(path: &Path) -> Result<Self, OutputError> {
        // It often goes beside the reports, into a folder that the run makes later.
        let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        let file = folder.and_then(|()| File::create(path));
        let file = file.map_err(|e| OutputError::file(path, e))?;
        let path = path.to_owned();
        Ok(Self { path, file })
    }

    fn write(self, endings: &[Ending]) -> Result<(), OutputError> {
        let (mut reports, mut others) = (Vec::new(), Vec::new());
        for ending in endings {
            match ending {
                Ending::Ran(output) => reports.push(&output.report),
                Ending::Broken { name, why } => others.push(NotRun::broken(name, why)),
                Ending::Skipped { name, why } => others.push(NotRun::skipped(name, why)),
            }
        }
        self.write_reports(&reports, &others)
    }

    /// Writes test suites of these reports, and of what could not be run.
    pub(super) fn write_reports(
        mut self,
        reports: &[&Report],
        others: &[NotRun],
    ) -> Result<(), OutputError> {
        let xml = junit::render(reports, others).map_err(std::io::Error::other);
        let written = xml.and_then(|xml| self.file.write_all(xml.as_bytes()));
        written.map_err(|e| OutputError::file(&self.path, e))
    }
}
