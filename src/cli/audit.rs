//! `graygate audit`: judges from a log alone that says who served.

use std::io::stderr;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Args;

use crate::cli::arguments::percent;
use crate::cli::output::{self, Results, error, say};
use crate::cli::{OutputFormat, RecordsArg, exit, signals};
use crate::config::values;
use crate::live::clock::Clock;
use crate::progress::Progress;
use crate::runner::audit::{self, AuditError};
use crate::scenario::audit::{AuditRequest, compile};
use crate::scenario::recorded::LogFormat;

/// Judge a release from a log alone that says who served: nothing is sent
///
/// Shows the split over time, fallbacks and retries, how canary and stable compare, when the literal and the sequential
/// judge would have rolled back and whom the canary had met by then, and what each version cost.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct AuditArgs {
    /// The log: LiteLLM, OpenTelemetry, Langfuse, Helicone, attempts.csv of a run … (docs/formats.md)
    log: PathBuf,
    /// The router file that says what should have been: versions, weights, judge, prices
    #[arg(long, value_name = "FILE")]
    router: Option<PathBuf>,
    /// What the log calls the stable version: a model, a deployment (repeatable)
    #[arg(long, value_name = "NAME")]
    stable: Vec<String>,
    /// What the log calls the canary (repeatable)
    #[arg(long, value_name = "NAME")]
    canary: Vec<String>,
    /// The canary's share, like 10% [default: that of the router file]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    share: Option<f64>,
    /// Another share from a time of the audit on, like 1h=15% (repeatable)
    #[arg(long, value_name = "TIME=SHARE", value_parser = step)]
    step: Vec<(Duration, f64)>,
    /// The format of the log: auto, or a name that docs/formats.md lists
    #[arg(long, default_value = "auto", value_parser = LogFormat::from_argument, value_name = "FORMAT")]
    format: LogFormat,
    /// From this time of the log on, counted from the whole second in which it begins
    #[arg(long, value_name = "TIME", value_parser = duration)]
    from: Option<Duration>,
    /// Up to, but not including, this time of the log
    #[arg(long, value_name = "TIME", value_parser = duration)]
    to: Option<Duration>,
    /// How long after a failed attempt another one of its trace still belongs to its request [default: 5s, and
    /// 10m in graygate's own logs, whose traces are requests]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    within: Option<Duration>,
    /// A file with gates; by default the split is right, 95 % are served, and the canary would have been kept
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// Where reports are written
    #[arg(long, value_name = "DIR", default_value = "reports")]
    out: PathBuf,
    /// Which rows requests.csv and attempts.csv get [default: all below 1,000,000 requests, else failures]
    #[arg(long, value_enum)]
    records: Option<RecordsArg>,
    /// Also write a JUnit file
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// No progress, and only what did not pass
    #[arg(long, short)]
    quiet: bool,
}

const EXAMPLES: &str = "\
Examples:
  graygate audit litellm.jsonl.gz --stable gpt-4.1 --canary gpt-4.1-new --share 10%
  graygate audit spans.jsonl --router router.yaml --expect gates.yaml

Exit codes: as of `graygate run` (graygate --help).";

fn share(text: &str) -> Result<f64, String> {
    percent(text)
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "a share is written like 10%, from 0% to 100%".to_owned())
}

fn step(text: &str) -> Result<(Duration, f64), String> {
    let expected = || "a step is written like 1h=15%".to_owned();
    let (at, of) = text.split_once('=').ok_or_else(expected)?;
    Ok((duration(at).map_err(|_| expected())?, share(of)?))
}

fn duration(text: &str) -> Result<Duration, String> {
    values::parse_duration(text).ok_or_else(|| "a time is written like 90s, 10m or 1h".to_owned())
}

fn request(args: &AuditArgs) -> AuditRequest {
    let mut steps = args.step.clone();
    steps.sort_by_key(|(at, _)| *at);
    AuditRequest {
        log: args.log.clone(),
        format: args.format,
        router: args.router.clone(),
        stable: args.stable.clone(),
        canary: args.canary.clone(),
        share: args.share,
        steps,
        from: args.from.unwrap_or_default(),
        to: args.to,
        within: args.within,
        expect: args.expect.clone(),
    }
}

pub(super) fn run(args: &AuditArgs) -> u8 {
    // The first look through a long log can be stopped, too.
    let cancel = signals::install();
    let compiled = compile(&request(args), &cancel);
    if cancel.load(Ordering::Relaxed) {
        error("interrupted before the log was looked through");
        return exit::INTERRUPTED;
    }
    let audit = match compiled {
        Ok((audit, warnings)) => {
            if !args.quiet {
                warnings.list.iter().for_each(say);
            }
            audit
        }
        Err(problems) => {
            say(problems);
            return exit::USAGE;
        }
    };
    let mut results = match Results::new(OutputFormat::Pretty, args.quiet, args.junit.as_deref()) {
        Ok(results) => results,
        Err(trouble) => {
            error(trouble);
            return exit::BROKEN;
        }
    };
    let clock = Clock::starting_now();
    let mut progress = Progress::new(
        output::progress_mode(args.quiet, 1),
        stderr(),
        &audit.name,
        Some(audit.survey.end),
        false,
        Box::new(move || clock.now()),
    );
    let records = args.records.map(Into::into);
    let done = audit::run(
        &audit,
        Some(args.out.clone()),
        records,
        &mut progress,
        &cancel,
    );
    progress.finish();
    match done {
        Ok(done) => {
            results.add_audit(&audit.command_here, done);
            results.finish()
        }
        Err(AuditError::Log(problem)) => {
            say(problem);
            exit::USAGE
        }
        Err(AuditError::Output(trouble)) => {
            error(trouble);
            exit::BROKEN
        }
    }
}
