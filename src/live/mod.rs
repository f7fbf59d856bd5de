//! The live driver: real sockets, real time. The same core as in [`crate::sim`], behind a real HTTP
//! gateway, between a real load generator and mock upstreams on ports of their own.

pub mod admin;
pub mod clock;
pub mod gateway;
pub mod http;
pub mod load;
pub mod mock;
pub mod outbox;
pub mod pacer;
pub mod real;
pub mod store;
mod target;
mod tested;
mod upstreams;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::experiment::{Experiment, MockServer, Traffic};
use crate::fault::kind::FaultKind;
use crate::id::{PerVersion, VersionId};
use crate::observe::event::{Sink, What};
use crate::observe::meta::Ending;
use crate::protocol::chat::Forward;
use crate::router::core::Core;
use crate::time::Timestamp;
use crate::traffic::log::book::Book;
use crate::traffic::source::Source;
use crate::upstream::profile::Profile;

use clock::{BothClocks, Clock};
use gateway::driver::Driver;
use gateway::server::Gateway;
use gateway::{FindChoosers, FindEndpoints, GatewayConfig};
use http::files;
use http::server::Limits;
use load::client::LoadClient;
use mock::ledger::{Ledger, Underway};
use outbox::{Outbox, outbox};
use real::RealEndpoints;
use real::purse::SharedPurse;
use tested::{Opened, Tested};
use upstreams::{Acting, Means, Servers};

/// Most planned requests for which wiremock is chosen: it holds a lock per request and copies every
/// one it matches.
pub const WIREMOCK_LIMIT: f64 = 20_000.0;
/// Most concurrent callers for which wiremock is chosen, for the same reason.
pub const WIREMOCK_CALLERS: u32 = 200;
/// From everything being ready to the first request: time to wire it up and to come to rest.
const LEAD: Duration = Duration::from_millis(250);
/// Time for the last ledger lines to be closed once all answers are in.
const SETTLING: Duration = Duration::from_secs(5);

/// What stands for a version's upstream in a live run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Player {
    /// A mock.
    Mock(MockServer),
    /// A real one, behind a proxy.
    Real,
}

impl Player {
    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mock(server) => server.name(),
            Self::Real => "real",
        }
    }
}

/// How a live run is set up: what stands for which upstream.
#[derive(Clone, Debug)]
pub struct Plan {
    players: PerVersion<Player>,
}

impl Plan {
    /// wiremock where it can play the upstream and the run is small enough, else the native server;
    /// what the scenario asks for wins.
    pub fn new(experiment: &Experiment) -> Self {
        let is_small = is_small(&experiment.traffic);
        let has_streams = experiment.traffic.has_streams();
        let players = experiment.servers.iter().map(|(version, asked)| {
            if experiment.real[version].is_some() {
                return Player::Real;
            }
            // Who hangs up, and when, is of interest in a gateway that nobody here has written.
            let can_wiremock = experiment.gateway.is_none()
                && is_small
                && !has_streams
                && needs_native(experiment, version).is_none()
                && can_wiremock_play(&experiment.upstreams.profiles[version]);
            Player::Mock(asked.unwrap_or(match can_wiremock {
                true => MockServer::Wiremock,
                false => MockServer::Native,
            }))
        });
        Self {
            players: players.collect(),
        }
    }

    /// What stands for which upstream.
    pub fn players(&self) -> &PerVersion<Player> {
        &self.players
    }
}

/// wiremock sees nobody hang up, and so not when a place is free again; and it cannot break off an answer, as recorded ones
/// may.
fn can_wiremock_play(profile: &Profile) -> bool {
    profile.capacity.is_none() && !profile.answers.are_recorded()
}

/// Is it little enough traffic for wiremock?
fn is_small(traffic: &Traffic) -> bool {
    let is_short = traffic
        .expected_requests()
        .is_some_and(|n| n <= WIREMOCK_LIMIT);
    is_short && traffic.callers().is_none_or(|n| n <= WIREMOCK_CALLERS)
}

/// The fault on a version that only the native server can play.
pub fn needs_native(experiment: &Experiment, version: VersionId) -> Option<FaultKind> {
    let faults = experiment.upstreams.faults.iter();
    faults
        .filter(|fault| fault.on.contains(&version))
        .map(|fault| fault.kind)
        .find(|kind| !kind.is_whole_reply())
}

/// Why the live machinery could not be started.
#[derive(Debug)]
pub enum StartError {
    /// The async runtime.
    Runtime(io::Error),
    /// An upstream that is not there, or not of use.
    Upstream {
        /// What is wrong with it.
        trouble: String,
        /// What to do.
        hint: String,
    },
    /// The certificates that upstreams are believed by.
    Certificates(io::Error),
    /// The gateway that is tested, which is none of ours.
    Gateway {
        /// What is wrong with it.
        what: String,
        /// What it printed last.
        last_lines: Vec<String>,
    },
    /// A port.
    Bind {
        /// The address that was asked for.
        address: String,
        /// What the system said.
        error: io::Error,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runtime(error) => write!(f, "cannot start the async runtime: {error}"),
            Self::Upstream { trouble, hint } => write!(f, "{trouble}\n   = hint: {hint}"),
            Self::Certificates(error) => write!(
                f,
                "cannot load the system's certificates, which https:// endpoints need: {error}\n   = \
                 hint: install the package ca-certificates, or name a file by SSL_CERT_FILE"
            ),
            Self::Gateway { what, last_lines } => {
                f.write_str(what)?;
                let mut lines = last_lines.iter();
                lines.try_for_each(|line| write!(f, "\n   | {line}"))
            }
            Self::Bind { address, error } => {
                write!(f, "cannot listen on {address}: {error}")?;
                let hint = match error.kind() {
                    io::ErrorKind::AddrInUse => {
                        "another program uses this port: choose another one, or 0 to let the \
                         system choose"
                    }
                    io::ErrorKind::PermissionDenied => "choose a port above 1023",
                    io::ErrorKind::AddrNotAvailable => "this machine has no such address",
                    _ => return Ok(()),
                };
                write!(f, "\n   = hint: {hint}")
            }
        }
    }
}

impl std::error::Error for StartError {}

/// Binds a port.
///
/// # Errors
/// When the port cannot be had.
pub async fn bind(address: &str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|error| StartError::Bind {
            address: address.to_owned(),
            error,
        })
}

/// The async runtime of a live run or a server, with as many sockets as the system allows.
///
/// # Errors
/// When the runtime cannot be started.
pub fn runtime() -> Result<Runtime, StartError> {
    raise_socket_limit();
    Runtime::new().map_err(StartError::Runtime)
}

/// Raises the limit of open files to the highest value that needs no privilege: a request in flight
/// takes up to five of them, and many systems begin with 1,024 files or fewer.
fn raise_socket_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// How many callers a server may have at once: each takes a connection to an upstream as well, and some
/// files must be left for everything else.
pub fn most_connections() -> usize {
    match getrlimit(Resource::Nofile).current {
        Some(files) => usize::try_from(files / 3).unwrap_or(usize::MAX).max(1),
        None => usize::MAX,
    }
}

/// What is tested.
pub enum Subject {
    /// The built-in gateway around this core; this is how it turns a caller's body into an upstream's.
    BuiltIn(Box<dyn Core>, Forward),
    /// The other gateway that the experiment speaks of.
    External {
        /// Where what it prints is kept.
        log: Option<PathBuf>,
    },
}

/// Runs an experiment to its end, or until `cancel` is set. Returns once everything is settled.
///
/// # Errors
/// When gateway, mocks or client cannot be started, or a gateway that is none of ours ends during the run.
pub fn run(
    experiment: &Experiment,
    plan: Plan,
    subject: Subject,
    real: &RealEndpoints,
    sink: &mut dyn Sink,
    cancel: &Arc<AtomicBool>,
) -> Result<Ending, StartError> {
    let runtime = runtime()?;
    let (outbox, inbox) = outbox();
    let experiment = Arc::new(experiment.clone());
    let source = experiment.source();
    let set = Stage::set(
        experiment,
        (&plan, subject),
        real,
        outbox,
        source.book(),
        cancel,
    );
    let stage = runtime.block_on(set)?;
    let clock = stage.clock;
    let is_over = Arc::new(AtomicBool::new(false));
    let play = runtime.spawn(stage.play(source, cancel.clone(), Over(is_over.clone())));
    inbox.record(clock, sink, || is_over.load(Ordering::Acquire));
    let ending = runtime.block_on(play);
    runtime.shutdown_timeout(Duration::from_secs(1));
    ending.unwrap_or(Ok(Ending::Interrupted))
}

/// Says that the play is over when it is dropped: at its end, or when it panics or is stopped.
struct Over(Arc<AtomicBool>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Everything that takes part in a live run, started.
struct Stage {
    experiment: Arc<Experiment>,
    clock: Clock,
    outbox: Outbox,
    tested: Tested,
    ledgers: Vec<Ledger>,
    client: Arc<LoadClient>,
    /// What real upstreams may cost, where there are any.
    purse: Option<SharedPurse>,
    /// How often files were missing before it began.
    missed: u64,
    /// They stop when dropped.
    wiremocks: Vec<::wiremock::MockServer>,
}

impl Stage {
    async fn set(
        experiment: Arc<Experiment>,
        (plan, subject): (&Plan, Subject),
        real: &RealEndpoints,
        outbox: Outbox,
        book: Option<Arc<Book>>,
        cancel: &Arc<AtomicBool>,
    ) -> Result<Self, StartError> {
        // What takes long comes before the clock is set: time 0 must find everything ready.
        let trust = real::trust(real)?;
        real::call_the_roll(&experiment.router, real, &trust).await?;
        let servers = Servers::open(&experiment, plan).await?;
        let opened = Opened::new(&experiment, subject, &servers, cancel).await?;
        let asked = opened.asked()?;
        let clock = Clock::starting_in(LEAD);
        let underway = Underway::default();
        let ledgers = plan
            .players
            .iter()
            .map(|(version, _)| Ledger::new(version, clock, outbox.clone(), underway.clone()));
        let ledgers: PerVersion<Ledger> = ledgers.collect();
        let means = Means::new(
            experiment.clone(),
            real,
            &trust,
            clock,
            outbox.clone(),
            book,
        );
        let players = ledgers.iter();
        let players = players.map(|(version, ledger)| means.player(version, ledger.clone()));
        let players: PerVersion<Acting> = players.collect();
        let keys = means.keys.clone();
        let purse = experiment.has_real_upstreams().then_some(means.purse);
        let (endpoints, trust) = (servers.endpoints(&players), servers.trust());
        let wiremocks = servers.play(players).await;
        let tested = match opened {
            Opened::BuiltIn(core, forward, listener) => {
                let router = experiment.router.clone();
                let driver = Driver::new(core, router.clone(), clock, outbox.clone(), false);
                let config = GatewayConfig {
                    router,
                    endpoints: FindEndpoints::fixed(endpoints),
                    choosers: FindChoosers::nobody(),
                    is_harness: true,
                    forward,
                    limits: Limits::default(),
                    trust,
                };
                tokio::spawn(Gateway::new(config, driver.clone()).serve(listener));
                Tested::BuiltIn(driver)
            }
            Opened::External(target) => Tested::External {
                target,
                keys: keys.unwrap_or_default(),
            },
        };
        let client = LoadClient::new(experiment.clone(), asked, clock, outbox.clone(), underway);
        Ok(Self {
            experiment,
            clock,
            outbox,
            tested,
            ledgers: ledgers.values().cloned().collect(),
            client: Arc::new(client),
            purse,
            missed: files::missed(),
            wiremocks,
        })
    }

    async fn play(
        self,
        source: Box<dyn Source>,
        cancel: Arc<AtomicBool>,
        over: Over,
    ) -> Result<Ending, StartError> {
        let clocks = BothClocks::now();
        self.announce_faults();
        let way = (self.clock, &self.outbox);
        let giving = self.tested.give_orders(&self.experiment, way);
        let load = load::send(source, self.client.clone(), self.clock);
        let mut ending = tokio::select! {
            () = load => Ok(Ending::Complete),
            () = cancelled(&cancel) => Ok(Ending::Interrupted),
            () = self.measure_memory() => Ok(Ending::Interrupted),
            () = self.purse_is_shut() => Ok(Ending::OutOfBudget),
            trouble = self.target_died() => Err(trouble),
        };
        if matches!(ending, Ok(Ending::Complete)) {
            if let Some(giving) = giving {
                giving.finish().await;
            }
            self.settle().await;
        }
        if let Tested::External { target, keys } = self.tested {
            self.outbox.send(self.clock.now(), What::Keys(keys.seen()));
            if let Some(trouble) = target.ended() {
                // It is of no interest how the run went on without it.
                ending = ending.and(Err(trouble));
            }
            target.stop().await;
        }
        if let Some(purse) = &self.purse {
            purse.tell();
        }
        if files::missed() > self.missed {
            self.outbox.send(self.clock.now(), What::OutOfFiles);
        }
        if let Some(by) = clocks.jump() {
            self.outbox.send(self.clock.now(), What::ClockJumped(by));
        }
        drop(self.wiremocks);
        drop(over);
        ending
    }

    /// Faults go on and off by the clock; the events are told in advance and recorded in time.
    fn announce_faults(&self) {
        let faults = (0..).zip(&self.experiment.upstreams.faults);
        for (index, fault) in faults {
            self.outbox
                .send(fault.from, What::Fault { index, on: true });
            if let Some(until) = fault.until {
                self.outbox.send(until, What::Fault { index, on: false });
            }
        }
    }

    async fn target_died(&self) -> StartError {
        match &self.tested {
            Tested::BuiltIn(_) => std::future::pending().await,
            Tested::External { target, .. } => target.died().await,
        }
    }

    async fn measure_memory(&self) {
        let Tested::BuiltIn(driver) = &self.tested else {
            return std::future::pending().await;
        };
        let mut due = Timestamp::ZERO;
        loop {
            self.clock.sleep_until(due).await;
            let footprint = driver.footprint();
            let (in_flight, bytes) = (footprint.in_flight, footprint.bytes);
            self.outbox
                .send(self.clock.now(), What::Memory { in_flight, bytes });
            due = due + Duration::from_secs(1);
        }
    }

    async fn purse_is_shut(&self) {
        match &self.purse {
            Some(purse) => purse.shut().await,
            None => std::future::pending().await,
        }
    }

    /// Waits until the core and the ledgers have had their last word.
    async fn settle(&self) {
        let give_up = self.clock.now() + SETTLING;
        let is_open = || {
            let rows: usize = self.ledgers.iter().map(Ledger::open_rows).sum();
            let in_flight = match &self.tested {
                Tested::BuiltIn(driver) => driver.footprint().in_flight,
                Tested::External { .. } => 0,
            };
            rows + in_flight > 0
        };
        while is_open() && self.clock.now() < give_up {
            self.clock.sleep(Duration::from_millis(2)).await;
        }
    }
}

/// `http://127.0.0.1:PORT/v1`
pub fn base_url(listener: &TcpListener) -> Result<String, StartError> {
    let address = listener.local_addr().map_err(StartError::Runtime)?;
    Ok(format!("http://{address}/v1"))
}

/// Waits until a flag is set. Looked at often enough for a person not to notice.
async fn cancelled(flag: &AtomicBool) {
    while !flag.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_sockets_are_allowed_as_the_system_gives() {
        raise_socket_limit();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
