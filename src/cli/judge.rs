//! `graygate judge`: a run is judged again by other expectations, from its files.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::cli::output::{JunitFile, data, error, say, style};
use crate::cli::{ci, exit};
use crate::report::read::summary;
use crate::report::{Report, json as format, junit, markdown, pretty};
use crate::runner::judge::{self, JudgeError};
use crate::runner::run_dir::{OutputError, RunDir};
use crate::scenario::compile::shell_word;
use crate::scenario::rejudging;
use crate::verdict::result::Status;

/// Judge a run again by other expectations, from its files
///
/// Nothing is run, and nothing is written but what --out and --junit ask for. The run must have kept all its rows. What every run is asked (policy, generator, join,
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
    /// Also write judge.json, report.md and junit.xml into DIR/SCENARIO/RUN-judged
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Also write a JUnit file
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Pretty,
    /// As one JSON object (docs/judge.md)
    Json,
    /// For people, with annotations for GitHub Actions
    Github,
}

/// The name and version of the format.
const FORMAT: &str = "graygate.judge/1";

const AFTER_HELP: &str = "\
Examples:
  graygate judge reports/healthy-canary/virtual-seed7 --expect stricter.yaml
  graygate judge reports/healthy-canary/virtual-seed7 --expect gates.yaml --scenario scenarios/healthy-canary.yaml
  graygate judge reports/healthy-canary/virtual-seed7 --expect stricter.yaml --format github --junit junit.xml

Exit codes: as of `graygate run` (graygate --help).";

pub(super) fn run(args: &JudgeArgs) -> u8 {
    // Whoever names no run should not hear of expectations first.
    if let Err(trouble) = summary(&args.run) {
        error(trouble);
        return exit::USAGE;
    }
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
    let code = exit::of(&report.verdict);
    let (folder, code) = match write(args, &report) {
        Ok(folder) => (folder.map(|folder| folder.display().to_string()), code),
        Err(trouble) => {
            error(trouble);
            (None, exit::worst([code, exit::BROKEN]))
        }
    };
    match args.format {
        Format::Pretty | Format::Github => {
            data(&pretty::render(&report, folder.as_deref(), style()));
        }
        Format::Json => data(&json(args, &report)),
    }
    if args.format == Format::Github {
        data(&ci::gates(&report));
    }
    code
}

/// The files that were asked for; gives the folder of --out.
fn write(args: &JudgeArgs, report: &Report) -> Result<Option<PathBuf>, OutputError> {
    if let Some(path) = &args.junit {
        JunitFile::create(path)?.write_reports(&[report], &[])?;
    }
    let folder = args.out.as_ref().map(|out| fill(args, report, out));
    folder.transpose()
}

/// The run's own folder stays as it is, even where both are in one.
fn fill(args: &JudgeArgs, report: &Report, out: &Path) -> Result<PathBuf, OutputError> {
    let run = run_name(&args.run);
    let dir = RunDir::create(out, &report.meta.scenario, &format!("{run}-judged"))?;
    dir.write("judge.json", json(args, report).as_bytes())?;
    dir.write("report.md", markdown::render_verdict(report).as_bytes())?;
    let xml = junit::render(&[report], &[]).map_err(io::Error::other);
    let xml = xml.map_err(|e| OutputError::new(&dir.path("junit.xml"), e))?;
    dir.write("junit.xml", xml.as_bytes())?;
    dir.finish()
}

/// The name of the run's folder, also where it was named as `.`.
fn run_name(run: &Path) -> String {
    let whole = run.canonicalize();
    let whole = whole.as_deref().unwrap_or(run);
    let name = whole.file_name();
    name.map_or("run".to_owned(), |name| name.to_string_lossy().into_owned())
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
        "gates": format::gates(report),
    });
    format!("{value:#}\n")
}
