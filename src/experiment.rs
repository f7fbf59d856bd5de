//! What is run, before anybody says on which engine: router, upstreams, faults, traffic, seed.

pub mod external;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::experiment::external::External;
use crate::fault::inject::Upstreams;
use crate::id::{PerVersion, Seed};
use crate::router::config::RouterConfig;
use crate::router::io::RequestFacts;
use crate::router::{routes, split};
use crate::traffic::arrivals::Arrivals;
use crate::traffic::body::Bodies;
use crate::traffic::caller::{Caller, Intent};
use crate::traffic::log::RecordedLog;
use crate::traffic::replay::{MAX_SPEED_CONCURRENCY, Replay, Speed};
use crate::traffic::source::Source;
use crate::traffic::synthetic::{Synthetic, SyntheticConfig};
use crate::upstream::real::{Budget, RealUpstream};
use crate::upstream::recorded::Answers;

/// A complete experiment. Everything in it is plain data; both engines run the same one.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// Decides every random draw.
    pub seed: Seed,
    /// The router's configuration.
    pub router: Arc<RouterConfig>,
    /// Another gateway that is tested instead of the built-in one; the router's configuration then only says what is
    /// expected of it.
    pub gateway: Option<Arc<External>>,
    /// The upstreams and the faults on them.
    pub upstreams: Upstreams,
    /// Which kind of server plays each upstream in a live run; chosen by graygate when absent.
    pub servers: PerVersion<Option<MockServer>>,
    /// On what terms the upstreams are asked that are real; none for mocks.
    pub real: PerVersion<Option<RealUpstream>>,
    /// What all of the real ones together may cost.
    pub budget: Budget,
    /// Who sends requests.
    pub callers: Vec<Caller>,
    /// What they ask.
    pub bodies: Bodies,
    /// When.
    pub traffic: Traffic,
}

/// The kinds of mock servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MockServer {
    /// The wiremock library: whole replies only.
    Wiremock,
    /// graygate's own: everything.
    Native,
}

impl MockServer {
    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wiremock => "wiremock",
            Self::Native => "native",
        }
    }
}

/// Where requests come from.
#[derive(Clone, Debug)]
pub enum Traffic {
    /// Made up.
    Synthetic(SyntheticConfig),
    /// Recorded.
    Replay {
        /// The log.
        log: Arc<RecordedLog>,
        /// How fast it is sent.
        speed: Speed,
        /// Requests scheduled at or after this are left out.
        duration: Option<Duration>,
    },
}

impl Traffic {
    /// The number of requests to expect; none when answers set the pace without a limit.
    pub fn expected_requests(&self) -> Option<f64> {
        match self {
            Self::Synthetic(config) => {
                let by_time = config.arrivals.expected(config.duration);
                let by_time = by_time.filter(|n| n.is_finite());
                let by_number = config.requests.map(|n| n as f64);
                by_time.into_iter().chain(by_number).reduce(f64::min)
            }
            Self::Replay { log, .. } => Some(log.len() as f64),
        }
    }

    /// Does any request ask for a stream?
    pub fn has_streams(&self) -> bool {
        match self {
            Self::Synthetic(config) => config.stream > 0.0,
            Self::Replay { log, .. } => log.has_streams,
        }
    }

    /// How many requests are under way at once, when answers set the pace.
    pub fn callers(&self) -> Option<u32> {
        match self {
            Self::Synthetic(config) => match &config.arrivals {
                Arrivals::Closed(closed) => Some(closed.callers),
                Arrivals::Open(_) | Arrivals::Sessions(_) => None,
            },
            Self::Replay { speed, .. } => match speed {
                Speed::Max => Some(MAX_SPEED_CONCURRENCY),
                Speed::Times(_) => None,
            },
        }
    }

    /// How long requests are sent for, as far as the plan says.
    pub fn planned_length(&self) -> Option<Duration> {
        match self {
            Self::Synthetic(config) => (config.duration < Duration::MAX).then_some(config.duration),
            Self::Replay {
                log,
                speed,
                duration,
            } => {
                let natural = match speed {
                    Speed::Times(factor) => Some(log.span().div_f64(*factor)),
                    Speed::Max => None,
                };
                natural.into_iter().chain(*duration).min()
            }
        }
    }
}

/// How much longer than the router's own deadline a caller waits for an answer.
const EXTRA_PATIENCE: Duration = Duration::from_secs(5);

impl Experiment {
    /// Is any of its upstreams real?
    pub fn has_real_upstreams(&self) -> bool {
        self.real.values().any(Option::is_some)
    }

    /// Does any upstream answer as the very request was answered when it was recorded?
    fn asks_for_recorded_answers(&self) -> bool {
        let mut profiles = self.upstreams.profiles.values();
        profiles.any(|profile| profile.answers == Answers::OfTheRequest)
    }

    /// How long a caller waits before it gives up. A router that keeps its own deadline is never
    /// given up on.
    pub fn patience(&self) -> Duration {
        self.router.timeouts.request.saturating_add(EXTRA_PATIENCE)
    }

    /// The same experiment with another seed.
    pub fn with_seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self.upstreams.seed = seed;
        match &mut self.traffic {
            Traffic::Synthetic(config) => self.callers = config.users.callers(seed),
            Traffic::Replay { log, .. } => *log = Arc::new((**log).clone().with_seed(seed)),
        }
        self
    }

    /// The source of its requests, from the beginning.
    pub fn source(&self) -> Box<dyn Source> {
        match &self.traffic {
            Traffic::Synthetic(config) => {
                Box::new(Synthetic::new(config, self.bodies.templates(), self.seed))
            }
            Traffic::Replay {
                log,
                speed,
                duration,
            } => {
                let replay = Replay::new(log, *speed, *duration);
                match self.asks_for_recorded_answers() {
                    true => Box::new(replay.with_book()),
                    false => Box::new(replay),
                }
            }
        }
    }

    /// What the router learns of each caller's requests.
    pub fn facts(&self) -> Vec<Arc<RequestFacts>> {
        let model = self.bodies.model();
        let of = |caller: &Caller| {
            let header = |name: &str| caller.header(name);
            Arc::new(RequestFacts::collect(&self.router, model, None, header))
        };
        self.callers.iter().map(of).collect()
    }

    /// Where the configuration obliges each caller's requests to go.
    pub fn intents(&self) -> Vec<Intent> {
        let sticky = self.router.split.sticky.as_ref();
        let mut names = Names::default();
        let of = |(number, facts): (usize, &Arc<RequestFacts>)| {
            if let Some((_, version)) = routes::find(&self.router.routes, facts) {
                return Intent::Pinned(version);
            }
            match sticky.and_then(|by| split::caller(by, facts)) {
                Some(name) => Intent::Sticky(names.number(name, number)),
                None => Intent::Random,
            }
        };
        self.facts().iter().enumerate().map(of).collect()
    }

    /// Who each caller is by what they send in a header: one number for all of one name, none for those who
    /// send nothing there.
    pub fn callers_by(&self, header: &str) -> Vec<Option<u32>> {
        let mut names = Names::default();
        let callers = self.callers.iter().enumerate();
        callers
            .map(|(number, caller)| Some(names.number(caller.header(header)?, number)))
            .collect()
    }
}

/// Callers of one name (a tenant's, say) stay together: the first of them stands for all.
#[derive(Default)]
struct Names(BTreeMap<String, u32>);

impl Names {
    fn number(&mut self, name: &str, caller: usize) -> u32 {
        // More callers than u32 holds do not exist: their number is read as a u32.
        let first = self.0.entry(name.to_owned());
        *first.or_insert(caller as u32)
    }
}
