//! The upstreams of a live run: ports that are open before the clock starts, and what stands behind each of them:
//! a mock, a proxy before a real upstream, or a door that is closed.

use std::os::fd::AsFd;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::experiment::{Experiment, MockServer};
use crate::fault::inject::Upstreams;
use crate::fault::kind::FaultKind;
use crate::fault::schedule::Fault;
use crate::id::{PerVersion, VersionId};
use crate::live::clock::{self, Clock};
use crate::live::gateway::upstream::UpstreamClient;
use crate::live::gateway::{Endpoint, Secret};
use crate::live::http::client::Trust;
use crate::live::http::drain::Drain;
use crate::live::mock::door::{ClosedDoor, Doorway};
use crate::live::mock::keys::KeyCounts;
use crate::live::mock::ledger::Ledger;
use crate::live::mock::veil::Veil;
use crate::live::mock::{self, MockUpstream};
use crate::live::outbox::Outbox;
use crate::live::real::RealEndpoints;
use crate::live::real::caps::Caps;
use crate::live::real::proxy::{self, Proxy};
use crate::live::real::purse::SharedPurse;
use crate::live::{Plan, Player, StartError, base_url, bind};
use crate::time::Timestamp;
use crate::traffic::log::book::Book;
use crate::upstream::real::RealUpstream;

/// What plays an upstream.
#[derive(Clone)]
pub(super) enum Acting {
    Mock(Arc<MockUpstream>),
    Real(Arc<Proxy>),
}

impl Acting {
    /// The key that the gateway must show.
    fn api_key(&self) -> Option<Secret> {
        match self {
            Self::Mock(mock) => mock.api_key.clone().map(Secret::new),
            Self::Real(proxy) => Some(proxy.door_key.clone()),
        }
    }

    async fn serve(self, listener: TcpListener, drain: Arc<Drain>) {
        match self {
            Self::Mock(mock) => mock::native::serve(listener, mock, drain).await,
            Self::Real(proxy) => proxy::serve(listener, proxy, drain).await,
        }
    }

    fn clock(&self) -> Clock {
        match self {
            Self::Mock(mock) => mock.clock,
            Self::Real(proxy) => proxy.clock,
        }
    }

    /// Does nobody reach it at this moment?
    fn is_shut(&self) -> impl Fn(Timestamp) -> bool + use<> {
        let (version, upstreams) = match self {
            Self::Mock(mock) => (mock.version, mock.switch.in_force().upstreams.clone()),
            Self::Real(proxy) => (proxy.version, (*proxy.upstreams).clone()),
        };
        move |at| upstreams.is_shut(version, at)
    }

    /// Plays in a doorway that opens and shuts as the faults say.
    fn stand_in(self, doorway: Doorway) {
        tokio::spawn(async move {
            let serve = |listener, drain| self.clone().serve(listener, drain);
            doorway.stand(self.clock(), self.is_shut(), serve).await;
        });
    }

    /// Plays behind a veil that is torn as the faults say.
    fn stand_behind(self, veil: Veil, listener: TcpListener) {
        let (clock, is_torn) = (self.clock(), self.is_shut());
        let Ok(target) = listener.local_addr() else {
            return;
        };
        tokio::spawn(self.serve(listener, Arc::default()));
        tokio::spawn(veil.stand(clock, is_torn, target));
    }
}

/// What those who play upstreams need.
pub(super) struct Means {
    pub(super) experiment: Arc<Experiment>,
    pub(super) clock: Clock,
    pub(super) outbox: Outbox,
    /// What real upstreams may cost.
    pub(super) purse: SharedPurse,
    /// Which keys requests still bear that come by way of another gateway.
    pub(super) keys: Option<KeyCounts>,
    upstreams: Arc<Upstreams>,
    asker: Arc<UpstreamClient>,
    /// How requests had been answered when they were recorded, where upstreams are to know.
    book: Option<Arc<Book>>,
}

impl Means {
    pub(super) fn new(
        experiment: Arc<Experiment>,
        real: &RealEndpoints,
        trust: &Trust,
        clock: Clock,
        outbox: Outbox,
        book: Option<Arc<Book>>,
    ) -> Self {
        // Nobody asks those who are not real.
        let nowhere = || Endpoint {
            base: String::new(),
            api_key: None,
        };
        let endpoints = real.values().cloned();
        let endpoints = endpoints.map(|endpoint| endpoint.unwrap_or_else(nowhere));
        let asker = UpstreamClient::new(&experiment.router, &endpoints.collect(), trust);
        Self {
            purse: SharedPurse::new(experiment.budget, clock, outbox.clone()),
            upstreams: Arc::new(experiment.upstreams.clone()),
            asker: Arc::new(asker),
            keys: experiment.gateway.is_some().then(KeyCounts::default),
            experiment,
            clock,
            outbox,
            book,
        }
    }

    /// Who plays the upstream of a version.
    pub(super) fn player(&self, version: VersionId, ledger: Ledger) -> Acting {
        match &self.experiment.real[version] {
            None => Acting::Mock(Arc::new(self.mock(version, ledger))),
            Some(terms) => Acting::Real(Arc::new(self.proxy(version, terms, ledger))),
        }
    }

    fn mock(&self, version: VersionId, ledger: Ledger) -> MockUpstream {
        let config = &self.experiment.router.versions[version];
        let model = config.model.clone();
        // Versions that share a variable share a key, as in service.
        let variable = config.api_key_env.as_deref().unwrap_or("none");
        let key = format!("sk-mock-{}", variable.to_lowercase());
        let mock = MockUpstream::new(version, model, self.upstreams.clone(), self.clock, ledger)
            .with_recorded(self.book.clone())
            .with_keys(self.keys.clone());
        match self.experiment.gateway {
            None => mock.with_api_key(key),
            // Which keys another gateway shows is its own matter.
            Some(_) => mock,
        }
    }

    fn proxy(&self, version: VersionId, terms: &RealUpstream, ledger: Ledger) -> Proxy {
        // Whoever else is on this machine cannot guess it.
        let key = format!("sk-run-{}", clock::secret_word());
        Proxy {
            version,
            door_key: Secret::new(key),
            upstreams: self.upstreams.clone(),
            clock: self.clock,
            ledger,
            client: self.asker.clone(),
            terms: terms.clone(),
            price: self.experiment.router.versions[version].price,
            caps: Caps::new(terms, self.clock),
            purse: self.purse.clone(),
            outbox: self.outbox.clone(),
        }
    }
}

/// The faults that keep everybody out of a version, all the time or now and then.
fn doors(experiment: &Experiment, version: VersionId) -> impl Iterator<Item = &Fault> {
    let faults = experiment.upstreams.faults.iter();
    faults.filter(move |fault| fault.kind.keeps_out() && fault.on.contains(&version))
}

fn is_tls(kind: FaultKind) -> bool {
    kind == FaultKind::TlsFailure
}

/// The same port, listened on once more.
fn again(listener: &TcpListener) -> Option<TcpListener> {
    let copy = listener.as_fd().try_clone_to_owned().ok()?;
    TcpListener::from_std(copy.into()).ok()
}

/// The port of an upstream that may have any.
const ANY: u16 = 0;

fn taken(port: u16, error: std::io::Error) -> StartError {
    let address = format!("127.0.0.1:{port}");
    StartError::Bind { address, error }
}

/// The servers of a run's upstreams: ports that are open, before anybody plays on them.
pub(super) struct Servers(Vec<Server>);

struct Server {
    base: String,
    kind: ServerKind,
}

enum ServerKind {
    Closed(ClosedDoor),
    /// graygate's own server, which is not always there.
    Doorway(Doorway),
    /// graygate's own server, behind TLS that is not always to be believed.
    Veiled(Veil, TcpListener),
    /// graygate's own server.
    Own(TcpListener),
    Wiremock(::wiremock::MockServer),
}

impl Servers {
    pub(super) async fn open(experiment: &Experiment, plan: &Plan) -> Result<Self, StartError> {
        let mut servers = Vec::new();
        for (version, player) in plan.players().iter() {
            let mut always = doors(experiment, version).filter(|fault| fault.is_always_on());
            let mut kinds = doors(experiment, version).map(|fault| fault.kind);
            let port = experiment.gateway.as_ref().and_then(|g| g.ports[version]);
            let port = port.unwrap_or(ANY);
            servers.push(match (always.next(), kinds.next()) {
                (Some(fault), _) => Server::closed(fault.kind, port)?,
                (None, None) => Server::open(*player, port).await?,
                // To whom no handshake succeeds, nobody listens: both are told as one.
                (None, Some(first)) => match first == FaultKind::TlsFailure || kinds.any(is_tls) {
                    true => Server::veiled().await?,
                    false => Server::doorway(port)?,
                },
            });
        }
        Ok(Self(servers))
    }

    /// Where the upstreams of the versions are.
    pub(super) fn bases(&self) -> PerVersion<String> {
        self.0.iter().map(|server| server.base.clone()).collect()
    }

    /// Listeners of their own on the ports of those who can be met when the run begins.
    pub(super) fn listeners(&self, experiment: &Experiment) -> Vec<(VersionId, TcpListener)> {
        let open = |(version, server): (VersionId, &Server)| {
            let listener = match &server.kind {
                ServerKind::Own(listener) => again(listener),
                ServerKind::Doorway(doorway) => {
                    let is_shut = experiment.upstreams.is_shut(version, Timestamp::ZERO);
                    (!is_shut).then(|| doorway.open().ok()).flatten()
                }
                ServerKind::Closed(_) | ServerKind::Veiled(..) | ServerKind::Wiremock(_) => None,
            };
            Some((version, listener?))
        };
        let ids = experiment.router.versions.iter().map(|(id, _)| id);
        ids.zip(&self.0).filter_map(open).collect()
    }

    /// Whose certificates the gateway must believe.
    pub(super) fn trust(&self) -> Trust {
        let certificates = self.0.iter().filter_map(|server| match &server.kind {
            ServerKind::Veiled(veil, _) => Some(veil.certificate()),
            _ => None,
        });
        Trust::only(certificates.collect())
    }

    pub(super) fn endpoints(&self, players: &PerVersion<Acting>) -> PerVersion<Endpoint> {
        let endpoint = |(server, player): (&Server, &Acting)| Endpoint {
            base: server.base.clone(),
            api_key: player.api_key(),
        };
        self.0.iter().zip(players.values()).map(endpoint).collect()
    }

    /// Plays the upstreams on them. wiremock's servers stop when dropped.
    pub(super) async fn play(self, players: PerVersion<Acting>) -> Vec<::wiremock::MockServer> {
        let mut wiremocks = Vec::new();
        for (server, player) in self.0.into_iter().zip(players.values()) {
            match (server.kind, player) {
                (ServerKind::Closed(door), _) => door.stand(),
                (ServerKind::Doorway(doorway), player) => player.clone().stand_in(doorway),
                (ServerKind::Veiled(veil, listener), player) => {
                    player.clone().stand_behind(veil, listener);
                }
                (ServerKind::Own(listener), player) => {
                    // A mock just ends.
                    tokio::spawn(player.clone().serve(listener, Arc::default()));
                }
                (ServerKind::Wiremock(server), Acting::Mock(mock)) => {
                    mock::wiremock::play(&server, mock.clone()).await;
                    wiremocks.push(server);
                }
                // No wiremock is opened for a real upstream.
                (ServerKind::Wiremock(_), Acting::Real(_)) => {}
            }
        }
        wiremocks
    }
}

impl Server {
    fn closed(fault: FaultKind, port: u16) -> Result<Self, StartError> {
        let door = ClosedDoor::new(fault, port).map_err(|error| taken(port, error))?;
        Ok(Self {
            base: door.base(),
            kind: ServerKind::Closed(door),
        })
    }

    async fn veiled() -> Result<Self, StartError> {
        let veil = Veil::new().await.map_err(StartError::Runtime)?;
        let listener = bind("127.0.0.1:0").await?;
        Ok(Self {
            base: veil.base(),
            kind: ServerKind::Veiled(veil, listener),
        })
    }

    fn doorway(port: u16) -> Result<Self, StartError> {
        let doorway = Doorway::new(port).map_err(|error| taken(port, error))?;
        Ok(Self {
            base: doorway.base(),
            kind: ServerKind::Doorway(doorway),
        })
    }

    async fn open(player: Player, port: u16) -> Result<Self, StartError> {
        let listener = bind(&format!("127.0.0.1:{port}")).await?;
        let base = base_url(&listener)?;
        let kind = match player {
            Player::Real | Player::Mock(MockServer::Native) => ServerKind::Own(listener),
            Player::Mock(MockServer::Wiremock) => {
                let listener = listener.into_std().map_err(StartError::Runtime)?;
                ServerKind::Wiremock(mock::wiremock::open(listener).await)
            }
        };
        Ok(Self { base, kind })
    }
}
