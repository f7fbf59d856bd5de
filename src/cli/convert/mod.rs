//! `graygate convert`: a recorded log in another format.

mod output;
mod tell;

use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use clap::Args;

use crate::cli::output::{error, say};
use crate::cli::{exit, signals};
use crate::scenario::conversion::redactor::Redactor;
use crate::scenario::conversion::{Converted, Failed, Source, convert};
use crate::scenario::recorded::LogFormat;
use crate::traffic::format::write::{self, Writer};
use output::Output;

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

fn writer(name: &str) -> Result<&'static Writer, String> {
    let names = write::WRITERS.iter().map(|writer| writer.name);
    let known = || {
        format!(
            "formats that can be written are {}",
            names.collect::<Vec<_>>().join(", ")
        )
    };
    write::named(name).ok_or_else(known)
}

/// How often it is looked whether somebody wants an end.
const LOOK: Duration = Duration::from_millis(20);

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
    let output = match Output::open(args.out.as_deref()) {
        Ok(output) => output,
        Err(trouble) => return cannot_write(args.out.as_deref(), &trouble),
    };
    match start(&args, log, &output, &stop) {
        Ok(endings) => finish(&args, output, &endings, &stop),
        Err(trouble) => cannot_write(args.out.as_deref(), &trouble),
    }
}

/// Converts on a thread of its own: who waits for a pipe cannot hear a signal.
fn start(
    args: &ConvertArgs,
    log: PathBuf,
    output: &Output,
    stop: &Arc<AtomicBool>,
) -> io::Result<Receiver<Ending>> {
    let (to, format, stop) = (args.to, args.format, stop.clone());
    let redactor = redactor(args);
    let mut output = BufWriter::with_capacity(1 << 16, output.writer()?);
    let (sender, endings) = channel();
    let work = move || {
        let source = Source::open(&log, format).map_err(Failed::Log);
        let ending = source.and_then(|source| {
            // Its own flag: what ends here because of a broken pipe was not interrupted.
            let ended = Arc::new(AtomicBool::new(stop.load(Ordering::Relaxed)));
            tell::source(&log, &source);
            convert(source, to, &redactor, &mut output, &ended)
        });
        // Nobody listens any more when it was interrupted.
        let _ = sender.send(ending);
    };
    thread::Builder::new()
        .name("convert".to_owned())
        .spawn(work)?;
    Ok(endings)
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

fn finish(
    args: &ConvertArgs,
    output: Output,
    endings: &Receiver<Ending>,
    stop: &Arc<AtomicBool>,
) -> u8 {
    let ending = loop {
        let ending = endings.recv_timeout(LOOK);
        if stop.load(Ordering::Relaxed) {
            say("interrupted");
            return exit::INTERRUPTED;
        }
        match ending {
            Ok(ending) => break ending,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return exit::BROKEN,
        }
    };
    match ending {
        Ok(converted) => put(args, output, &converted),
        Err(Failed::Log(diagnostic)) => {
            say(diagnostic);
            exit::USAGE
        }
        // Whoever read it has seen enough.
        Err(Failed::Output(trouble)) if args.out.is_none() && is_gone(&trouble) => exit::PASS,
        Err(Failed::Output(trouble)) => cannot_write(args.out.as_deref(), &trouble),
    }
}

fn put(args: &ConvertArgs, output: Output, converted: &Converted) -> u8 {
    tell::converted(&args.log, args.to, converted, args.contents);
    if converted.is_useless() {
        tell::useless(converted, args.out.as_deref());
        return exit::USAGE;
    }
    match output.finish() {
        Ok(()) => exit::PASS,
        Err(trouble) => cannot_write(args.out.as_deref(), &trouble),
    }
}

fn is_gone(trouble: &io::Error) -> bool {
    trouble.kind() == io::ErrorKind::BrokenPipe
}

fn cannot_write(out: Option<&Path>, trouble: &io::Error) -> u8 {
    let name = out.unwrap_or(Path::new("stdout")).display();
    error(format_args!("{name}: cannot be written: {trouble}"));
    exit::BROKEN
}
