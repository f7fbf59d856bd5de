//! `graygate convert`: a recorded log in another format.

mod tell;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;

use crate::cli::output::{error, say};
use crate::cli::writing::output::{self, Output};
use crate::cli::writing::{self, writer};
use crate::cli::{exit, signals};
use crate::scenario::conversion::redactor::Redactor;
use crate::scenario::conversion::{Converted, Failed, Source, convert};
use crate::scenario::recorded::LogFormat;
use crate::traffic::format::write::Writer;

/// Write a recorded log in another format, without what was said in it
///
/// What was said becomes as many words of nothing (`tok tok …`), and names of sessions, users, tenants and traces become
/// pseudonyms. Data goes to stdout or to --out; what was left out and why is said on stderr.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ConvertArgs {
    /// The recorded log, packed by gzip or zstd or not; - is stdin
    log: PathBuf,
    /// The format to write: graygate, litellm, otel, azure, burstgpt or mooncake
    #[arg(long, value_name = "FORMAT", value_parser = writer)]
    to: &'static Writer,
    /// The format of the log: auto, or a name that docs/formats.md lists
    #[arg(long, default_value = "auto", value_parser = LogFormat::from_argument, value_name = "FORMAT")]
    format: LogFormat,
    /// Where it is written, at once when all of it is there [default: stdout]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Keep messages, answers and names. API keys are cut out all the same
    #[arg(long)]
    contents: bool,
    /// What pseudonyms are made with: the same text makes the same ones of the same names [default: a new one each time]
    #[arg(long, value_name = "TEXT", conflicts_with = "contents")]
    salt: Option<String>,
}

const AFTER_HELP: &str = "\
Examples:
  graygate convert spend.jsonl.gz --to graygate --out log.jsonl
  zcat spans.json.gz | graygate convert - --to litellm | head

Exit codes:
  0    written (or whoever read it went away)
  2    wrong usage, or a log of which more than 1 % or everything is lost: --out is not written
  5    it could not be written
  130  interrupted: --out is not written";

type Ending = Result<Converted, Failed>;

pub(super) fn run(args: ConvertArgs) -> u8 {
    let log = match args.log.as_os_str() == "-" {
        true => PathBuf::from("/dev/stdin"),
        false => args.log.clone(),
    };
    if output::is_same(&log, args.out.as_deref()) {
        error(format_args!(
            "{}: a log cannot be written onto itself",
            log.display()
        ));
        return exit::USAGE;
    }
    // Before there is anything to be left behind.
    let stop = signals::install();
    let out = args.out.as_deref();
    let output = match Output::open(out) {
        Ok(output) => output,
        Err(trouble) => return writing::cannot_write(out, &trouble),
    };
    match start(&args, log, &output, &stop) {
        Ok(Ok(ending)) => finish(&args, output, ending),
        Ok(Err(code)) => code,
        Err(trouble) => writing::cannot_write(out, &trouble),
    }
}

fn start(
    args: &ConvertArgs,
    log: PathBuf,
    output: &Output,
    stop: &Arc<AtomicBool>,
) -> io::Result<Result<Ending, u8>> {
    let (to, format) = (args.to, args.format);
    let redactor = redactor(args);
    // Its own flag: what ends here because of a broken pipe was not interrupted.
    let ended = Arc::new(AtomicBool::new(stop.load(Ordering::Relaxed)));
    writing::apart(output, stop, move |output| {
        let source = Source::open(&log, format).map_err(Failed::Log)?;
        tell::source(&log, &source);
        convert(source, to, &redactor, output, &ended)
    })
}

fn redactor(args: &ConvertArgs) -> Redactor {
    match (&args.salt, args.contents) {
        (_, true) => Redactor::Keys,
        (Some(salt), false) => Redactor::Contents(salt.clone().into_bytes()),
        (None, false) => Redactor::Contents(fresh_salt()),
    }
}

/// 128 bits that nobody else has: from the keys that the standard library draws for its hashes.
fn fresh_salt() -> Vec<u8> {
    let state = RandomState::new();
    let halves = [0_u8, 1].map(|half| state.hash_one(half).to_be_bytes());
    halves.concat()
}

fn finish(args: &ConvertArgs, output: Output, ending: Ending) -> u8 {
    let out = args.out.as_deref();
    match ending {
        Ok(converted) => put(args, output, &converted),
        Err(Failed::Log(diagnostic)) => {
            say(diagnostic);
            exit::USAGE
        }
        Err(Failed::Output(trouble)) => writing::failed(out, &trouble),
    }
}

fn put(args: &ConvertArgs, output: Output, converted: &Converted) -> u8 {
    tell::converted(&args.log, args.to, converted, args.contents);
    if converted.is_useless() {
        tell::useless(converted, args.out.as_deref());
        return exit::USAGE;
    }
    writing::put(args.out.as_deref(), output)
}
