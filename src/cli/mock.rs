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
use crate::id::VersionId;
use crate::live;
use crate::live::clock::Clock;
use crate::live::mock::MockUpstream;
use crate::live::mock::book::Book;
use crate::live::mock::house::{self, House};
use crate::live::mock::ledger::{Ledger, Underway};
use crate::live::mock::switch::Switch;
use crate::live::outbox::{Outbox, outbox};
use crate::observe::event::{RunEvent, Sink, What};
use crate::runner::run_dir::OutputError;
use crate::scenario::mock::{self as told, MockRequest, MockSpec};

#[derive(Debug, Args)]
pub(super) struct MockArgs {
    /// Where callers connect
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9001")]
    listen: SocketAddr,
    /// A model it serves (repeatable)
    #[arg(long, default_value = "gpt-4.1")]
    model: Vec<String>,
    /// How it answers, like 'latency: {lognormal: {median: 40ms, p99: 180ms}}, output_tokens: 120';
    /// one for all models, or one for each in their order
    #[arg(long, value_name = "PROFILE")]
    profile: Vec<String>,
    /// A YAML file of models with their profiles, and faults
    #[arg(long, value_name = "FILE", conflicts_with_all = ["model", "profile"])]
    models: Option<PathBuf>,
    /// A fault, like 'kind: rate_limited, share: 30%, retry_after: 2s, at: 1m, for: 30s' (repeatable;
    /// times run from the start of the mock; on all models unless it says `on`)
    #[arg(long, value_name = "FAULT")]
    fault: Vec<String>,
    /// Seed of all random draws [default: the file's, else 1]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Write who came and how it ended, a JSON object a line
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// Requests that GET /admin/ledger remembers, the newest
    #[arg(long, value_name = "N", default_value = "100000")]
    ledger_rows: u32,
    /// Only warnings and errors
    #[arg(long, short)]
    quiet: bool,
}

pub(super) fn run(args: &MockArgs) -> u8 {
    let request = MockRequest {
        models: &args.model,
        profiles: &args.profile,
        file: args.models.as_deref(),
        faults: &args.fault,
        seed: args.seed,
    };
    let spec = match told::read(request) {
        Ok(spec) => spec,
        Err(problems) => {
            say(problems);
            return exit::USAGE;
        }
    };
    start_log(args.quiet);
    let cancel = signals::install();
    match serve(args, spec, &cancel) {
        Ok(()) => exit::PASS,
        Err(failure) => {
            error(failure);
            exit::BROKEN
        }
    }
}

fn serve(args: &MockArgs, spec: MockSpec, cancel: &Arc<AtomicBool>) -> Result<(), Box<dyn Error>> {
    let runtime = live::runtime()?;
    let listener = runtime.block_on(live::bind(&args.listen.to_string()))?;
    let base = live::base_url(&listener)?;
    let switch = Arc::new(Switch::new(spec.upstreams));
    // Only now, so that a port that is taken leaves no empty file behind.
    let mut file = LedgerFile::create(args.ledger.as_deref(), &switch, &spec.models)?;
    tracing::info!(
        models = spec.models.join(", "),
        faults = switch.in_force().upstreams.faults.len(),
        "serving {base}"
    );
    let (outbox, inbox) = outbox();
    let clock = Clock::starting_now();
    let book = Arc::new(Book::new(args.ledger_rows as usize));
    let house = house(spec.models, switch, book, clock, outbox);
    runtime.spawn(house::serve(listener, Arc::new(house)));
    inbox.record(clock, &mut file, || cancel.load(Ordering::Relaxed));
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(())
}

fn house(
    names: Vec<String>,
    switch: Arc<Switch>,
    book: Arc<Book>,
    clock: Clock,
    outbox: Outbox,
) -> House {
    let ledger = Ledger::new(VersionId(0), clock, outbox, Underway::default());
    let models = (0..).zip(&names).map(|(position, name)| {
        let version = VersionId(position);
        let ledger = ledger.beside(version);
        let model = MockUpstream::under(version, name.clone(), switch.clone(), clock, ledger);
        model.standing_alone(book.clone())
    });
    House {
        models: models.collect(),
        switch,
        book,
        clock,
        read_faults: Box::new(move |text| {
            told::faults(text, &names).map_err(|problems| problems.to_string())
        }),
    }
}

/// The ledger as a file, if one was asked for.
struct LedgerFile {
    file: Option<BufWriter<File>>,
    switch: Arc<Switch>,
    models: Vec<String>,
}

impl LedgerFile {
    fn create(
        path: Option<&Path>,
        switch: &Arc<Switch>,
        models: &[String],
    ) -> Result<Self, OutputError> {
        let open = |path| File::create(path).map_err(|e| OutputError::file(path, e));
        Ok(Self {
            file: path.map(open).transpose()?.map(BufWriter::new),
            switch: switch.clone(),
            models: models.to_vec(),
        })
    }

    fn model(&self, version: VersionId) -> Option<&String> {
        self.models.get(version.index())
    }
}

impl Sink for LedgerFile {
    fn event(&mut self, event: &RunEvent) {
        let at = event.at.as_secs_f64();
        let line = match &event.what {
            What::Accepted(row) => {
                let fault = row.fault.and_then(|number| self.switch.name(number));
                json!({
                    "at_s": at, "event": "accepted", "row": row.row,
                    "model": self.model(row.version), "key": row.key, "try": row.ordinal,
                    "fault": fault,
                })
            }
            What::UpstreamEnded(row) => json!({
                "at_s": at, "event": "ended", "row": row.row,
                "model": self.model(row.version), "key": row.key, "try": row.ordinal,
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
            | What::Told(_)
            | What::NotPromoted(_)
            | What::Standing(_)
            | What::Fault { .. }
            | What::Gaps(_)
            | What::HeldBack { .. }
            | What::Purse(_)
            | What::Ordered(_)
            | What::OrderEnded(_)
            | What::OutOfFiles
            | What::ClockJumped(_)
            | What::Machine(_)
            | What::Keys(_)
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
