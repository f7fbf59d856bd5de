//! `graygate mock`: a stand-alone mock upstream.

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::cli::output::{error, say};
use crate::cli::serve::start_log;
use crate::cli::{exit, signals};
use crate::config::diagnostic::{Diagnostics, Problems};
use crate::config::fields::Cx;
use crate::config::node::Node;
use crate::fault::inject::Upstreams;
use crate::id::{PerVersion, Seed, VersionId};
use crate::live;
use crate::live::clock::Clock;
use crate::live::mock::MockUpstream;
use crate::live::mock::ledger::{Ledger, Underway};
use crate::live::mock::native;
use crate::live::outbox::outbox;
use crate::observe::event::{RunEvent, Sink, What};
use crate::runner::run_dir::OutputError;
use crate::scenario::distributions::Files;
use crate::scenario::load::Loader;
use crate::scenario::replay::{argument, read_fault};
use crate::scenario::upstreams::{default_profile, read_profile};

#[derive(Debug, Args)]
pub(super) struct MockArgs {
    /// Where callers connect
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9001")]
    listen: SocketAddr,
    /// The model it serves
    #[arg(long, default_value = "gpt-4.1")]
    model: String,
    /// How it answers, like 'latency: {lognormal: {median: 40ms, p99: 180ms}}, output_tokens: 120'
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
    /// A fault, like 'kind: rate_limited, share: 30%, retry_after: 2s, at: 1m, for: 30s' (repeatable;
    /// times run from the start of the mock)
    #[arg(long, value_name = "FAULT")]
    fault: Vec<String>,
    /// Seed of all random draws
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
    /// Write who came and how it ended, a JSON object a line
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// Only warnings and errors
    #[arg(long, short)]
    quiet: bool,
}

pub(super) fn run(args: &MockArgs) -> u8 {
    let upstreams = match upstreams(args) {
        Ok(upstreams) => upstreams,
        Err(problems) => {
            say(problems);
            return exit::USAGE;
        }
    };
    start_log(args.quiet);
    let cancel = signals::install();
    match serve(args, upstreams, &cancel) {
        Ok(()) => exit::PASS,
        Err(failure) => {
            error(failure);
            exit::BROKEN
        }
    }
}

fn upstreams(args: &MockArgs) -> Result<Upstreams, Diagnostics> {
    let problems = Problems::default();
    let profile = args.profile.as_deref();
    let loader = Loader::default();
    let files = Files {
        from: Path::new(""),
        loader: &loader,
    };
    let read = |cx: Cx<'_>, node: &Node| read_profile(cx, node, files);
    let profile = profile.and_then(|text| argument("--profile", text, &problems, read));
    let faults: Vec<_> = args
        .fault
        .iter()
        .filter_map(|text| read_fault(text, &problems, None))
        .collect();
    if problems.has_errors() {
        return Err(problems.into_diagnostics());
    }
    let profile = profile.unwrap_or_else(default_profile);
    Ok(Upstreams {
        seed: Seed(args.seed),
        profiles: PerVersion::from_fn(1, |_| profile.clone()),
        faults,
    })
}

fn serve(
    args: &MockArgs,
    upstreams: Upstreams,
    cancel: &Arc<AtomicBool>,
) -> Result<(), Box<dyn Error>> {
    let runtime = live::runtime()?;
    let listener = runtime.block_on(live::bind(&args.listen.to_string()))?;
    let base = live::base_url(&listener)?;
    // Only now, so that a port that is taken leaves no empty file behind.
    let mut file = LedgerFile::create(args.ledger.as_deref(), &upstreams)?;
    tracing::info!(
        model = args.model,
        faults = upstreams.faults.len(),
        "serving {base}"
    );
    let (outbox, inbox) = outbox();
    let clock = Clock::starting_now();
    let version = VersionId(0);
    let ledger = Ledger::new(version, clock, outbox, Underway::default());
    let upstream = MockUpstream::new(
        version,
        args.model.clone(),
        Arc::new(upstreams),
        clock,
        ledger,
    );
    runtime.spawn(native::serve(listener, Arc::new(upstream)));
    inbox.record(clock, &mut file, || cancel.load(Ordering::Relaxed));
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(())
}

/// The ledger as a file, if one was asked for.
struct LedgerFile {
    file: Option<BufWriter<File>>,
    faults: Vec<&'static str>,
}

impl LedgerFile {
    fn create(path: Option<&Path>, upstreams: &Upstreams) -> Result<Self, OutputError> {
        let open = |path| File::create(path).map_err(|e| OutputError::file(path, e));
        Ok(Self {
            file: path.map(open).transpose()?.map(BufWriter::new),
            faults: upstreams.faults.iter().map(|f| f.kind.name()).collect(),
        })
    }
}

impl Sink for LedgerFile {
    fn event(&mut self, event: &RunEvent) {
        let at = event.at.as_secs_f64();
        let line = match &event.what {
            What::Accepted(row) => {
                let fault = row.fault.and_then(|i| self.faults.get(usize::from(i)));
                json!({
                    "at_s": at, "event": "accepted", "row": row.row, "key": row.key,
                    "try": row.ordinal,
                    "fault": fault,
                })
            }
            What::UpstreamEnded(row) => json!({
                "at_s": at, "event": "ended", "row": row.row, "key": row.key, "try": row.ordinal,
                "outcome": row.outcome.name(),
            }),
            What::Sent(_)
            | What::Assigned { .. }
            | What::Dispatched { .. }
            | What::Cancelled { .. }
            | What::Booked(_)
            | What::Settled(_)
            | What::Answered(_)
            | What::Judged(_)
            | What::RolledBack(_)
            | What::Held(_)
            | What::NotPromoted(_)
            | What::Standing(_)
            | What::Fault { .. }
            | What::Memory { .. } => return,
        };
        let Some(file) = &mut self.file else {
            return;
        };
        let written = writeln!(file, "{line}").and_then(|()| file.flush());
        if let Err(error) = written {
            tracing::error!(%error, "the ledger cannot be written any more");
            self.file = None;
        }
    }
}
