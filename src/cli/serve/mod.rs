//! `graygate serve`: the gray router as an OpenAI-compatible gateway.

pub(super) mod admin;
mod dotenv;
pub(super) mod endpoints;
mod input_file;
mod keys;
mod life;
mod news;
mod reload;
mod roll_call;
mod state;

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

use crate::canonical;
use crate::cli::output::{error, say};
use crate::cli::signals::Signals;
use crate::cli::{env, exit};
use crate::config::diagnostic::{Diagnostics, Problems};
use crate::config::redact::redact;
use crate::id::{PerVersion, Seed};
use crate::live::admin::Check;
use crate::live::admin::tally::Counter;
use crate::live::clock::{Clock, fresh_seed};
use crate::live::gateway::driver::Driver;
use crate::live::gateway::server::Gateway;
use crate::live::gateway::{Endpoint, GatewayConfig};
use crate::live::http::client::Trust;
use crate::live::http::drain::Drain;
use crate::live::http::server::Limits;
use crate::live::outbox::outbox;
use crate::live::{self, StartError};
use crate::protocol::chat;
use crate::router::config::RouterConfig;
use crate::router::control::Order;
use crate::scenario::compile;
use crate::scenario::load::Loader;

use admin::{AdminDesk, AdminPlan, Both, ServeAdminArgs, Served};
use input_file::InputFile;
use keys::KeyRule;
use life::{End, Life, stop_signal};
use news::News;
use reload::{Reload, Stamp};
use roll_call::{Canary, RollCall};
use state::Kept;

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// The router's configuration
    router: PathBuf,
    /// Where callers connect
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    #[command(flatten)]
    admin: ServeAdminArgs,
    /// Seed of the split [default: a fresh one]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Write what goes into the router's core, a JSON object a line: fed to a fresh core, it repeats
    /// every decision
    #[arg(long, value_name = "FILE")]
    input_log: Option<PathBuf>,
    /// Where the release, its checkpoints and its history are kept; `none` forgets them at the end
    #[arg(long, value_name = "FILE", default_value = "graygate.db")]
    state: PathBuf,
    /// Time for requests under way to end after SIGTERM or Ctrl-C
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    drain: Duration,
    /// Time for a caller to send the headers of a request, and to come back on an idle connection
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time_above_zero)]
    header_timeout: Duration,
    /// Time for a caller to send the body of a request
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time_above_zero)]
    body_timeout: Duration,
    /// Most connections of callers at once; further ones wait
    #[arg(long, value_name = "N", default_value = "10000", value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: u32,
    /// How often a canary that was missing at the start is looked for
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = time_above_zero)]
    probe_every: Duration,
    /// Accept API keys of any form, not only those that begin with hs_ or sk-
    #[arg(long)]
    any_key_format: bool,
    /// Only warnings and errors
    #[arg(long, short)]
    quiet: bool,
}

fn time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|e| e.to_string())
}

fn time_above_zero(text: &str) -> Result<Duration, String> {
    let time = time(text)?;
    let is_zero = time.is_zero();
    (!is_zero)
        .then_some(time)
        .ok_or_else(|| "no time at all".to_owned())
}

impl ServeArgs {
    fn limits(&self) -> Limits {
        let most = live::most_connections();
        let asked = usize::try_from(self.max_connections).unwrap_or(usize::MAX);
        Limits {
            connections: asked.min(most),
            header_time: self.header_timeout,
            body_time: self.body_timeout,
            ..Limits::default()
        }
    }

    fn key_rule(&self) -> KeyRule {
        match self.any_key_format {
            true => KeyRule::Any,
            false => KeyRule::Known,
        }
    }
}

pub(super) fn run(args: &ServeArgs) -> u8 {
    // Before the file is read: a change that comes while the gateway starts is a change.
    let known = Stamp::of(&args.router);
    let file = match load(&args.router, args.key_rule()) {
        Ok((router, endpoints)) => RouterFile {
            known,
            router,
            endpoints,
        },
        Err(problems) => {
            say(problems);
            return exit::USAGE;
        }
    };
    let admin = match args.admin.plan() {
        Ok(admin) => admin,
        Err(why) => {
            error(why);
            return exit::USAGE;
        }
    };
    start_log(args.quiet);
    match serve(args, file, admin) {
        Ok(end) => end.exit_code(),
        Err(failure) => {
            error(failure);
            exit::BROKEN
        }
    }
}

/// Log lines on stderr.
pub(super) fn start_log(quiet: bool) {
    let level = if quiet {
        tracing::Level::WARN
    } else {
        tracing::Level::INFO
    };
    // A second subscriber in one process is refused; the first one is good enough.
    let _ = tracing_subscriber::fmt()
        .with_writer(|| Redacted(io::stderr()))
        .with_max_level(level)
        .with_target(false)
        .with_ansi(!env::no_color() && io::stderr().is_terminal())
        // Nobody reads it: then there is nobody to tell either, and no reason to panic.
        .log_internal_errors(false)
        .try_init();
}

/// A log without keys, wherever they come from: an upstream's error may name one. A line comes in one
/// piece.
struct Redacted<W>(W);

impl<W: Write> Write for Redacted<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let safe = redact(&String::from_utf8_lossy(line));
        self.0.write_all(safe.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn load(path: &Path, rule: KeyRule) -> Result<(RouterConfig, PerVersion<Endpoint>), Diagnostics> {
    let problems = Problems::default();
    let config = compile::router_from_file(&problems, path, &Loader::default());
    let endpoints = config
        .as_ref()
        .and_then(|config| endpoints::collect(path, config, rule, &problems));
    match (config, endpoints) {
        (Some(config), Some(endpoints)) if !problems.has_errors() => Ok((config, endpoints)),
        _ => Err(problems.into_diagnostics()),
    }
}

/// The addresses and keys of a configuration that was kept, by the router file `path` and what stands
/// beside it.
fn endpoints_of(
    path: &Path,
    router: &RouterConfig,
    rule: KeyRule,
) -> Result<PerVersion<Endpoint>, String> {
    let problems = Problems::default();
    let endpoints = endpoints::collect(path, router, rule, &problems);
    endpoints.ok_or_else(|| problems.into_diagnostics().to_string())
}

/// The router file as it was read first.
struct RouterFile {
    known: Option<Stamp>,
    router: RouterConfig,
    endpoints: PerVersion<Endpoint>,
}

fn serve(args: &ServeArgs, file: RouterFile, admin: AdminPlan) -> Result<End, Box<dyn Error>> {
    let RouterFile {
        known,
        router,
        endpoints,
    } = file;
    let runtime = live::runtime()?;
    let mut signals = runtime.block_on(async { Signals::listen() })?;
    let listener = runtime.block_on(live::bind(&args.listen.to_string()))?;
    let admin = AdminDesk::open(admin, &runtime)?;
    let said = canonical::sha256(&router);
    let kept = Kept::open(&args.state, Arc::new(router))?;
    let router = kept.config().clone();
    let endpoints = match kept.is_of_the_file() {
        true => endpoints,
        false => endpoints_of(&args.router, &router, args.key_rule())?,
    };
    let trust = trust(&endpoints)?;
    let roll_call = RollCall::new(&router, &endpoints, &trust)?;
    let canary = runtime.block_on(async {
        tokio::select! {
            canary = roll_call.call() => canary.map(Some),
            () = stop_signal(&mut signals) => Ok(None),
        }
    });
    let Some(canary) = canary? else {
        return Ok(End::Drained);
    };
    // Only now, so that what cannot be served leaves no empty file behind.
    let input_log = args.input_log.as_deref();
    let input_log = input_log.map(InputFile::create).transpose()?;
    if canary == Canary::Closed {
        runtime.spawn(roll_call.keep_asking(args.probe_every));
    }
    let config = GatewayConfig {
        router,
        endpoints: endpoints::finder(&args.router, args.key_rule()),
        choosers: endpoints::chooser_finder(&args.router),
        is_harness: false,
        forward: chat::forward,
        limits: args.limits(),
        trust,
    };
    let seed = Seed(args.seed.unwrap_or_else(fresh_seed));
    let (path, rule) = (args.router.clone(), args.key_rule());
    let start = Start {
        admin,
        check: Box::new(move |config, problems| {
            endpoints::collect(&path, config, rule, problems);
        }),
        path: args.router.clone(),
        kept,
        seed,
        canary,
        listener,
        input_log,
    };
    let reload = |driver| Reload {
        said: Arc::new(Mutex::new(said)),
        known,
        path: args.router.clone(),
        rule: args.key_rule(),
        driver,
    };
    let end = open(&runtime, config, start, |drain, driver| Life {
        reload: reload(driver),
        signals,
        limit: args.drain,
        drain,
    })?;
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(end)
}

/// The system's certificates: another configuration may need them even if this one does not.
fn trust(endpoints: &PerVersion<Endpoint>) -> Result<Trust, StartError> {
    let is_secure = |endpoint: &Endpoint| endpoint.base.starts_with("https://");
    match (Trust::system(), endpoints.values().any(is_secure)) {
        (Ok(trust), _) => Ok(trust),
        (Err(error), true) => Err(StartError::Certificates(error)),
        (Err(_), false) => Ok(Trust::nobody()),
    }
}

/// What a gateway begins with.
struct Start {
    admin: AdminDesk,
    check: Box<Check>,
    /// The router file.
    path: PathBuf,
    kept: Kept,
    seed: Seed,
    canary: Canary,
    listener: TcpListener,
    input_log: Option<InputFile>,
}

/// Serves callers until life ends.
fn open(
    runtime: &Runtime,
    config: GatewayConfig,
    start: Start,
    life: impl FnOnce(Arc<Drain>, Arc<Driver>) -> Life,
) -> Result<End, Box<dyn Error>> {
    let Start {
        admin,
        check,
        path,
        kept,
        seed,
        canary,
        listener,
        mut input_log,
    } = start;
    let base = live::base_url(&listener)?;
    let router = config.router.clone();
    let (outbox, inbox) = outbox();
    let clock = runtime.block_on(async { Clock::starting_now() });
    let core = Box::new(kept.beginning.core(seed));
    let beginning = kept.beginning.clone();
    let (changes, store) = channel();
    let log = input_log.is_some();
    let records = kept.state.clone();
    let news = outbox.only(|what| News::hears(what) || Counter::hears(what));
    let driver = Driver::with_store(core, router.clone(), clock, news, log, Some(changes));
    let keeping = kept.keep(store, &driver, clock, &path)?;
    if canary == Canary::Closed {
        // Before anybody can connect. It is never refused.
        let _ = runtime.block_on(driver.order(None, Order::Withhold));
    }
    tracing::info!(
        share = router.canary_share(),
        stable = router.name(router.stable),
        canary = router.name(router.canary),
        "serving {base}"
    );
    if let Some(file) = &mut input_log {
        file.begin(seed, &router, beginning);
    }
    let drain = Arc::new(Drain::default());
    let gateway = Gateway::new(config, driver.clone());
    let served = Served {
        driver: &driver,
        clock,
        router: &router,
        records,
        drain: drain.clone(),
        unheard: gateway.unheard(),
        check,
    };
    let counter = admin.attend(runtime, served)?;
    let gateway = runtime.spawn(gateway.serve_until(listener, drain.clone()));
    let life = runtime.spawn(life(drain, driver.clone()).lead(gateway));
    let is_over = || life.is_finished();
    std::thread::scope(|scope| {
        if let Some(file) = input_log {
            scope.spawn(|| file.keep_up(&driver, is_over));
        }
        let driver = driver.clone();
        let news = News {
            router,
            driver,
            lacked: Vec::new(),
        };
        inbox.pass_on(&mut Both(news, counter), is_over);
    });
    let end = runtime.block_on(life).unwrap_or(End::Broken);
    let is_kept = keeping.finish(&driver);
    Ok(end.with(is_kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_shows_no_key_that_somebody_else_said() {
        let mut log = Redacted(Vec::new());
        log.write_all(b"WARN no sk-0123456789abcdef here\n")
            .unwrap();
        assert_eq!(log.0, b"WARN no sk-*** here\n");
    }
}
