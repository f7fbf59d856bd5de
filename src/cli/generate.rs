//! `graygate generate`: a log of made-up traffic, however long.

use std::path::PathBuf;

use clap::Args;

use crate::cli::output::{error, say};
use crate::cli::writing::output::Output;
use crate::cli::writing::{self, tell, writer};
use crate::cli::{exit, signals};
use crate::id::Seed;
use crate::scenario::conversion::lines::Written;
use crate::scenario::generation::{self, GenerateRequest};
use crate::traffic::format::write::Writer;

/// Write a log of made-up traffic, the same one for the same seed
///
/// Requests come on schedule; how long they and their answers are is drawn, by default like Azure's conversations of 2023. Data
/// goes to stdout or to --out; what was written is said on stderr.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct GenerateArgs {
    /// How many requests
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rows: u64,
    /// The format to write: graygate, litellm, otel, azure, burstgpt or mooncake
    #[arg(long, value_name = "FORMAT", value_parser = writer)]
    to: &'static Writer,
    /// Where it is written, at once when all of it is there [default: stdout]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How many come in a second, at random: short for --arrivals 'poisson: RATE'
    #[arg(long, default_value = "3500/s", conflicts_with = "arrivals")]
    rate: String,
    /// When they come, as in the traffic of a scenario: 'gamma: {rate: 50/s, cv: 3}', 'stages: [...]'
    #[arg(long, value_name = "ARRIVALS")]
    arrivals: Option<String>,
    /// Tokens of a prompt: a number, or a distribution as in a scenario
    #[arg(
        long,
        value_name = "DIST",
        default_value = "lognormal: {median: 1020, p99: 4142}"
    )]
    input_tokens: String,
    /// Tokens of an answer: a number, or a distribution
    #[arg(
        long,
        value_name = "DIST",
        default_value = "lognormal: {median: 129, p99: 601}"
    )]
    output_tokens: String,
    /// Seed of all random draws
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

const AFTER_HELP: &str = "\
Examples:
  graygate generate --rows 10000000 --to azure --out big.csv
  graygate generate --rows 1000 --to litellm --arrivals 'bursts: {base: 20/s, rate: 200/s, every: 1m, for: 5s}' | head

Exit codes:
  0    written (or whoever read it went away)
  2    wrong usage, or arrivals that end before all rows are there: --out is not written
  5    it could not be written
  130  interrupted: --out is not written";

pub(super) fn run(args: &GenerateArgs) -> u8 {
    let pattern = match generation::compile(&request(args)) {
        Ok(pattern) => pattern,
        Err(mistakes) => {
            say(mistakes);
            return exit::USAGE;
        }
    };
    // Before there is anything to be left behind.
    let stop = signals::install();
    let out = args.out.as_deref();
    let output = match Output::open(out) {
        Ok(output) => output,
        Err(trouble) => return writing::cannot_write(out, &trouble),
    };
    let (rows, to) = (args.rows, args.to);
    let ending = writing::apart(&output, &stop, move |output| {
        generation::generate(pattern, rows, to, output)
    });
    match ending {
        Ok(Ok(Ok(written))) => finish(args, output, &written),
        Ok(Ok(Err(trouble))) => writing::failed(out, &trouble),
        Ok(Err(code)) => code,
        Err(trouble) => writing::cannot_write(out, &trouble),
    }
}

fn request(args: &GenerateArgs) -> GenerateRequest {
    let arrivals = match &args.arrivals {
        Some(arrivals) => ("--arrivals", arrivals.clone()),
        None => ("--rate", format!("poisson: {}", args.rate)),
    };
    GenerateRequest {
        arrivals,
        input_tokens: args.input_tokens.clone(),
        output_tokens: args.output_tokens.clone(),
        seed: Seed(args.seed),
    }
}

fn finish(args: &GenerateArgs, output: Output, written: &Written) -> u8 {
    let records = tell::records(written.records);
    say(format_args!("{records} written as {}", args.to.name));
    tell::losses(args.to, written);
    if written.records < args.rows {
        error(format_args!(
            "the arrivals end before there are {}",
            tell::records(args.rows)
        ));
        return exit::USAGE;
    }
    writing::put(args.out.as_deref(), output)
}
