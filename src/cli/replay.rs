//! `graygate replay`: a recorded log through the router.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::cli::arguments::percent;
use crate::cli::output::{self, Results, error, say};
use crate::cli::{OutputFormat, RunFlags, exit, signals};
use crate::config::values::parse_speed;
use crate::id::Seed;
use crate::scenario::compile::DEFAULT_SEED;
use crate::scenario::recorded::{self, LogFormat, LogRequest, Spread};
use crate::scenario::replay::{self, ReplayRequest};
use crate::traffic::replay::Speed;

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// The recorded log
    log: PathBuf,
    /// The router's configuration
    #[arg(long, value_name = "FILE")]
    router: PathBuf,
    /// The format of the log: auto, or a name that docs/formats.md lists
    #[arg(long, default_value = "auto", value_parser = LogFormat::from_argument, value_name = "FORMAT")]
    format: LogFormat,
    /// How fast it is sent: 1x, 60x, 0.5x, or max (as fast as it is answered, 64 at a time)
    #[arg(long, default_value = "1x", value_parser = speed)]
    speed: Speed,
    /// Leave out what comes after this much of the replay's own time
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,
    /// From this time of the log on, counted from its first row
    #[arg(long, value_name = "TIME", value_parser = duration)]
    from: Option<Duration>,
    /// Up to, but not including, this time of the log
    #[arg(long, value_name = "TIME", value_parser = duration)]
    to: Option<Duration>,
    /// This share of its conversations (of its rows, where it knows none), like 10%
    #[arg(long, value_name = "SHARE", value_parser = share)]
    sample: Option<f64>,
    /// So many times its requests, with its shape in time kept: 2, 0.5 (whole conversations, seeded)
    #[arg(long, value_name = "FACTOR", value_parser = scale_rate)]
    scale_rate: Option<f64>,
    /// So many times the log, one after the other
    #[arg(long = "loop", value_name = "N", value_parser = rounds)]
    rounds: Option<u32>,
    /// Move every row by up to so much, seeded, as if the log's clock had been finer: a duration, or auto for the
    /// grain that the log shows
    #[arg(long, value_name = "TIME|auto", value_parser = spread)]
    spread: Option<Spread>,
    /// A file with gates; by default the router's numbers must agree with the upstreams' ledgers
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// A fault, like 'kind: unauthorized, on: v2, share: 30%, at: 2m, for: 3m' (repeatable)
    #[arg(long, value_name = "FAULT")]
    fault: Vec<String>,
    /// How the upstreams answer, like 'latency: {lognormal: {median: 40ms, p99: 180ms}}'
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
    /// How the canary answers, where it differs
    #[arg(long, value_name = "PROFILE")]
    canary_profile: Option<String>,
    /// Stable answers as the log says of the very request; what it does not say, the profile does. So does the canary,
    /// unless it is described
    #[arg(long, value_name = "recorded", value_parser = ["recorded"])]
    upstream: Option<String>,
    /// A log whose answers the canary gives, drawn by chance
    #[arg(long, value_name = "FILE")]
    canary_upstream: Option<PathBuf>,
    /// The format of that log
    #[arg(long, requires = "canary_upstream", value_parser = LogFormat::from_argument, value_name = "FORMAT")]
    canary_format: Option<LogFormat>,
    #[command(flatten)]
    flags: RunFlags,
}

fn speed(text: &str) -> Result<Speed, String> {
    parse_speed(text)
        .map(|factor| factor.map_or(Speed::Max, Speed::Times))
        .ok_or_else(|| "a speed is written 1x, 60x, 0.5x or max".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let is_share = |share: &f64| *share > 0.0 && *share <= 1.0;
    percent(text)
        .filter(is_share)
        .ok_or_else(|| "a share is written like 10%, above 0% and at most 100%".to_owned())
}

fn scale_rate(text: &str) -> Result<f64, String> {
    recorded::parse_scale(text).ok_or_else(|| format!("it is {}", recorded::SCALE_EXPECTED))
}

fn rounds(text: &str) -> Result<u32, String> {
    recorded::parse_rounds(text).ok_or_else(|| format!("it is {}", recorded::ROUNDS_EXPECTED))
}

fn spread(text: &str) -> Result<Spread, String> {
    Spread::parse(text).ok_or_else(|| "it is written auto, or as a duration like 1s".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|e| e.to_string())
}

pub(super) fn run(args: &ReplayArgs) -> u8 {
    let request = ReplayRequest {
        log: LogRequest {
            path: args.log.clone(),
            speed: args.speed,
            format: args.format,
            duration: args.duration,
            from: args.from,
            to: args.to,
            sample: args.sample,
            scale_rate: args.scale_rate,
            rounds: args.rounds,
            spread: args.spread.unwrap_or_default(),
        },
        router: args.router.clone(),
        expect: args.expect.clone(),
        faults: args.fault.clone(),
        profile: args.profile.clone(),
        canary_profile: args.canary_profile.clone(),
        is_stable_recorded: args.upstream.is_some(),
        canary_log: args.canary_upstream.clone().map(|path| {
            let format = args.canary_format.unwrap_or(LogFormat::Auto);
            (path, format)
        }),
        seed: args.flags.seed.map_or(DEFAULT_SEED, Seed),
    };
    let scenario = match replay::compile(&request) {
        Ok((scenario, warnings)) => {
            if !args.flags.quiet {
                warnings.list.iter().for_each(say);
            }
            scenario
        }
        Err(problems) => {
            say(problems);
            return exit::USAGE;
        }
    };
    let junit = args.flags.junit.as_deref();
    let mut results = match Results::new(OutputFormat::Pretty, args.flags.quiet, junit) {
        Ok(results) => results,
        Err(trouble) => {
            error(trouble);
            return exit::BROKEN;
        }
    };
    let cancel = signals::install();
    let mode = output::progress_mode(args.flags.quiet, 1);
    let outcome = output::run_one(&scenario, &args.flags, None, mode, &cancel);
    results.add(&scenario, outcome);
    results.finish()
}
