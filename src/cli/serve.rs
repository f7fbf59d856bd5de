//! `graygate serve`: the gray router as an OpenAI-compatible gateway.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;

use crate::canonical;
use crate::cli::output::{error, say};
use crate::cli::serve_admin::{AdminDesk, AdminPlan, Both, ServeAdminArgs};
use crate::cli::{env, exit, signals};
use crate::config::diagnostic::{Diagnostic, Diagnostics, Problems};
use crate::id::{PerVersion, Seed};
use crate::live::admin::records;
use crate::live::clock::{Clock, fresh_seed};
use crate::live::gateway::driver::Driver;
use crate::live::gateway::input_log::{self, LogHeader};
use crate::live::gateway::server::Gateway;
use crate::live::gateway::upstream::probe;
use crate::live::gateway::{Endpoint, GatewayConfig, Secret};
use crate::live::outbox::outbox;
use crate::live::{self, StartError};
use crate::observe::event::{Finding, RunEvent, Sink, What};
use crate::protocol::chat;
use crate::router::config::{RouterConfig, VersionConfig};
use crate::router::gray::GrayRouter;
use crate::runner::run_dir::OutputError;
use crate::scenario::compile;
use crate::scenario::load::Loader;
use crate::time::Timestamp;

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
    /// Only warnings and errors
    #[arg(long, short)]
    quiet: bool,
}

pub(super) fn run(args: &ServeArgs) -> u8 {
    let (router, endpoints) = match load(&args.router) {
        Ok(loaded) => loaded,
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
    let cancel = signals::install();
    match serve(args, router, endpoints, admin, &cancel) {
        Ok(()) => exit::PASS,
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
        .with_writer(std::io::stderr)
        .with_max_level(level)
        .with_target(false)
        .with_ansi(!env::no_color() && std::io::stderr().is_terminal())
        // Nobody reads it: then there is nobody to tell either, and no reason to panic.
        .log_internal_errors(false)
        .try_init();
}

fn load(path: &Path) -> Result<(RouterConfig, PerVersion<Endpoint>), Diagnostics> {
    let problems = Problems::default();
    let config = compile::router_from_file(&problems, path, &Loader::default());
    let endpoints = config.as_ref().map(|config| {
        let all = config.versions.values();
        let read: Vec<_> = all
            .map(|version| endpoint(path, version, &problems))
            .collect();
        read
    });
    let endpoints: Option<Vec<Endpoint>> = endpoints.and_then(|e| e.into_iter().collect());
    match (config, endpoints) {
        (Some(config), Some(endpoints)) if !problems.has_errors() => {
            Ok((config, endpoints.into_iter().collect()))
        }
        _ => Err(problems.into_diagnostics()),
    }
}

/// The address and key of a version, from the file and the environment.
fn endpoint(path: &Path, version: &VersionConfig, problems: &Problems) -> Option<Endpoint> {
    let file = path.display().to_string();
    let name = &version.name;
    let problem = |message: String, hint: &str| {
        problems.add(Diagnostic::file(&file, message).hint(hint));
    };
    let base = match version.endpoint.as_deref() {
        Some(base) if base.starts_with("http://") => Some(base.to_owned()),
        Some(_) => {
            let hint = "serve a local http:// proxy, or wait for the release that speaks TLS";
            problem(
                format!("`{name}`: https:// is not supported by this version"),
                hint,
            );
            None
        }
        None => {
            let hint = "add endpoint: http://127.0.0.1:9001/v1 to the version";
            problem(
                format!("`{name}` has no endpoint to send requests to"),
                hint,
            );
            None
        }
    };
    let api_key = match version.api_key_env.as_deref() {
        None => None,
        Some(variable) => match env::variable(variable) {
            // What a header cannot carry would fail at every request, with words that say nothing.
            Some(key) if !key.chars().all(|c| c.is_ascii_graphic()) => {
                let hint = "export the key alone, without quotes, spaces or line breaks";
                problem(
                    format!("`{name}`: the key in {variable} holds characters that no key has"),
                    hint,
                );
                return None;
            }
            Some(key) => Some(Secret::new(key)),
            None => {
                let hint = "export the version's API key under this name";
                problem(
                    format!("`{name}`: the variable {variable} is not set"),
                    hint,
                );
                return None;
            }
        },
    };
    Some(Endpoint {
        base: base?,
        api_key,
    })
}

fn serve(
    args: &ServeArgs,
    router: RouterConfig,
    endpoints: PerVersion<Endpoint>,
    admin: AdminPlan,
    cancel: &Arc<AtomicBool>,
) -> Result<(), Box<dyn Error>> {
    let runtime = live::runtime()?;
    let (sender, changes) = records::way();
    let (outbox, inbox) = outbox();
    let router = Arc::new(router);
    let seed = Seed(args.seed.unwrap_or_else(fresh_seed));
    let clock = runtime.block_on(async { Clock::starting_now() });
    let core = GrayRouter::new(router.clone(), seed, Timestamp::ZERO);
    let log = args.input_log.is_some();
    let driver = Driver::with_store(
        Box::new(core),
        router.clone(),
        clock,
        outbox,
        log,
        Some(sender),
    );
    runtime.block_on(look_for_upstreams(&router, &endpoints))?;
    let listener = runtime.block_on(live::bind(&args.listen.to_string()))?;
    let base = live::base_url(&listener)?;
    let admin = AdminDesk::open(admin, &runtime, changes)?;
    // Only now, so that a port that is taken leaves no empty file behind.
    let input_log = args.input_log.as_deref();
    let mut input_log = input_log.map(InputFile::create).transpose()?;
    let path = args.router.clone();
    let counter = admin.attend(
        &runtime,
        &driver,
        clock,
        &router,
        move |config, problems| {
            let versions = config.versions.values();
            versions.for_each(|version| drop(endpoint(&path, version, problems)));
        },
    )?;
    tracing::info!(
        share = router.canary_share(),
        stable = router.name(router.stable),
        canary = router.name(router.canary),
        "serving {base}"
    );
    let config = GatewayConfig {
        router: router.clone(),
        endpoints,
        is_harness: false,
        forward: chat::forward,
    };
    if let Some(file) = &mut input_log {
        file.begin(seed, &router);
    }
    runtime.spawn(Gateway::new(config, driver.clone()).serve(listener));
    let mut news = Both(News { router }, counter);
    let is_over = || cancel.load(Ordering::Relaxed);
    std::thread::scope(|scope| {
        if let Some(file) = input_log {
            scope.spawn(|| file.keep_up(&driver, is_over));
        }
        inbox.record(clock, &mut news, is_over);
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(())
}

/// Without stable there is nothing to serve; without the canary there is stable.
async fn look_for_upstreams(
    router: &RouterConfig,
    endpoints: &PerVersion<Endpoint>,
) -> Result<(), StartError> {
    for (version, endpoint) in endpoints.iter() {
        let Err(error) = probe(endpoint).await else {
            continue;
        };
        let trouble = StartError::Unreachable {
            version: router.name(version).to_owned(),
            endpoint: endpoint.base.clone(),
            error,
        };
        if version == router.stable {
            return Err(trouble);
        }
        tracing::warn!("{trouble}");
    }
    Ok(())
}

/// The file of the input log. It is written outside the core's lock.
struct InputFile {
    file: BufWriter<File>,
    path: PathBuf,
}

impl InputFile {
    fn create(path: &Path) -> Result<Self, OutputError> {
        let file = File::create(path).map_err(|e| OutputError::file(path, e))?;
        Ok(Self {
            file: BufWriter::new(file),
            path: path.to_owned(),
        })
    }

    fn begin(&mut self, seed: Seed, router: &RouterConfig) {
        let header = LogHeader {
            format: input_log::FORMAT.to_owned(),
            seed,
            router_sha256: canonical::sha256(router),
        };
        let line = serde_json::to_string(&header).unwrap_or_default();
        // The header fits the buffer; whether the file takes it shows with the first calls.
        let _ = writeln!(self.file, "{line}");
    }

    /// Writes the calls of the core as they come, until `is_over` says so or calls are lost. The
    /// gateway goes on without its log.
    fn keep_up(mut self, driver: &Driver, is_over: impl Fn() -> bool) {
        loop {
            // Asked before the calls are taken, so that the last ones are not missed.
            let is_last = is_over();
            let (calls, is_truncated) = driver.take_calls().unwrap_or_default();
            let written = input_log::write(&mut self.file, &calls, is_truncated);
            let written = written.and_then(|()| match is_truncated {
                true => Err(io::Error::other(
                    "too many calls at once: calls are missing",
                )),
                false => Ok(()),
            });
            if let Err(trouble) = written {
                driver.stop_log();
                let trouble = OutputError::file(&self.path, trouble);
                tracing::warn!("the input log is incomplete and ends here: {trouble}");
                return;
            }
            if is_last {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }
}

/// Tells the log what happens to the canary.
struct News {
    router: Arc<RouterConfig>,
}

impl News {
    fn finding(&self, finding: &Finding) -> String {
        format!(
            "{} of {} is {:.4} (bound {}) over {} attempts",
            finding.measure,
            self.router.name(finding.version),
            finding.value.unwrap_or_default(),
            finding.bound,
            finding.samples
        )
    }
}

impl Sink for News {
    fn event(&mut self, event: &RunEvent) {
        match &event.what {
            What::RolledBack(record) => tracing::error!(
                id = record.id,
                affected_requests = record.affected_requests,
                "rolled back from {} to {}: {}",
                self.router.name(record.from),
                self.router.name(record.to),
                record.because()
            ),
            What::Standing(standing) => tracing::info!(
                revision = standing.revision,
                share = standing.share,
                step = standing.step,
                "the release is {} ({})",
                standing.phase,
                standing.cause
            ),
            What::Judged(finding) => {
                if finding.violated {
                    tracing::warn!(action = finding.action, "{}", self.finding(finding));
                }
            }
            What::Sent(_)
            | What::Assigned { .. }
            | What::Dispatched { .. }
            | What::Cancelled { .. }
            | What::Accepted(_)
            | What::UpstreamEnded(_)
            | What::Booked(_)
            | What::Settled(_)
            | What::Answered(_)
            | What::Fault { .. }
            | What::Memory { .. } => {}
        }
    }
}
