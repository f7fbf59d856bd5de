//! What a run is expected to show: gates as plain data.

use std::sync::Arc;
use std::time::Duration;

use crate::id::{PerVersion, VersionId};
use crate::observe::orders::OrderFacts;
use crate::pricing::Cost;
use crate::protocol::outcome::Outcome;
use crate::stats::compare::{Comparison, Ratio, Share};
use crate::stats::quantile::Quantile;
use crate::time::Timestamp;
use crate::upstream::real::Budget;

/// One gate with its conditions.
#[derive(Clone, Debug, PartialEq)]
pub enum GateSpec {
    /// The share of a version among randomised requests (an equivalence test).
    Split(SplitSpec),
    /// Stable answers what the canary failed.
    Fallback(FallbackSpec),
    /// The canary is rolled back, in time.
    Rollback(RollbackSpec),
    /// The canary is not rolled back.
    NoRollback(NoRollbackSpec),
    /// Nothing reaches the canary after its rollback.
    AfterRollback(AfterRollbackSpec),
    /// Webhooks and peers are told of the rollback once, with its record.
    Notification,
    /// Shares and percentiles over requests, or over a version's attempts.
    Requests(RequestsSpec),
    /// The router's own numbers agree with the upstreams' ledgers.
    Attribution {
        /// Fewest attempts to compare.
        min_n: u64,
    },
    /// Streams are what one upstream sent: not two in one, not cut short and called whole, nothing twice.
    Stream(StreamSpec),
    /// The load generator kept its schedule.
    Generator(GeneratorSpec),
    /// The log that is judged says enough. It takes the place of the load generator in an audit.
    Log(LogSpec),
    /// Trying again does not multiply the load.
    Retries(RetriesSpec),
    /// No window sees more attempts arrive at a version than this.
    RateLimit(RateLimitSpec),
    /// Callers stay on the version they met.
    Stickiness(StickinessSpec),
    /// The router keeps to its own configuration: tries, waits, limits.
    Policy(PolicySpec),
    /// The canary goes up by its steps.
    Ramp(RampSpec),
    /// What the attempts cost stays within bounds.
    Cost(CostSpec),
    /// Answers have the OpenAI shape, whichever version gives them.
    Contract(ContractSpec),
    /// What real upstreams cost stays within this. Every run with such has it.
    Budget(Budget),
    /// Another gateway did what it was told. Every run with orders has it.
    Orders(OrdersSpec),
    /// The router's memory stays bounded.
    Memory {
        /// Most bytes it may hold at any time.
        router: Comparison<u64>,
    },
    /// A gate that cannot be judged of what is tested.
    Unsupported {
        /// Which one.
        name: &'static str,
        /// Why not.
        why: &'static str,
    },
}

impl GateSpec {
    /// The name in files.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Split(_) => "split",
            Self::Fallback(_) => "fallback",
            Self::Rollback(_) => "rollback",
            Self::NoRollback(_) => "no_rollback",
            Self::AfterRollback(_) => "after_rollback",
            Self::Notification => "notification",
            Self::Requests(_) => "requests",
            Self::Attribution { .. } => "attribution",
            Self::Stream(_) => "stream",
            Self::Generator(_) => "generator",
            Self::Log(_) => "log",
            Self::Retries(_) => "retries",
            Self::RateLimit(_) => "rate_limit",
            Self::Stickiness(_) => "stickiness",
            Self::Policy(_) => "policy",
            Self::Ramp(spec) => spec.name,
            Self::Cost(_) => "cost",
            Self::Contract(_) => "contract",
            Self::Budget(_) => "budget",
            Self::Orders(_) => "orders",
            Self::Memory { .. } => "memory",
            Self::Unsupported { name, .. } => name,
        }
    }

    /// Is it an estimate, which takes its part of the scenario's error budget?
    pub fn is_statistical(&self) -> bool {
        matches!(self, Self::Split(_) | Self::Ramp(_))
    }
}

/// A stretch of the run, by the scheduled time of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// From here on.
    pub from: Timestamp,
    /// Up to, but not including, here; to the end when absent.
    pub to: Option<Timestamp>,
}

impl Scope {
    /// Is this moment inside?
    pub fn contains(&self, at: Timestamp) -> bool {
        self.from <= at && self.to.is_none_or(|to| at < to)
    }
}

/// See [`GateSpec::Log`].
#[derive(Clone, Debug, PartialEq)]
pub struct LogSpec {
    /// Records of chats, usable or not.
    pub records: u64,
    /// Those that say too little, or are damaged, by reason.
    pub useless: Vec<(&'static str, u64)>,
    /// Those of them that may have been failures.
    pub failures: u64,
    /// Attempts at the canary.
    pub at_canary: u64,
    /// Attempts that stood too far from their place to be put in order of time.
    pub too_late: u64,
    /// Failed attempts that were not waited for, because too many others were.
    pub forgotten: u64,
}

/// See [`GateSpec::Split`].
#[derive(Clone, Debug, PartialEq)]
pub struct SplitSpec {
    /// The version.
    pub version: VersionId,
    /// Its intended share θ, 0 to 1.
    pub share: f64,
    /// Half the width of the tolerated band around θ.
    pub tolerance: f64,
    /// One-sided confidence of each limit.
    pub confidence: f64,
    /// When.
    pub scope: Scope,
    /// Does this share hold from the start? Else from when a ramp's step brings it.
    pub from_the_start: bool,
    /// Is `version` the canary, whose share the router tells?
    pub of_canary: bool,
}

/// See [`GateSpec::Fallback`].
#[derive(Clone, Debug, PartialEq)]
pub struct FallbackSpec {
    /// Of the requests that the canary failed, the share that stable must answer.
    pub succeeds: Comparison<Share>,
    /// Fewest such requests.
    pub min_n: u64,
    /// When.
    pub scope: Scope,
    /// Stable has a key of its own, so that even a refused key must fall back.
    pub other_credentials: bool,
}

/// See [`GateSpec::Rollback`].
#[derive(Clone, Debug, PartialEq)]
pub struct RollbackSpec {
    /// The measure that must be the reason.
    pub reason: Option<String>,
    /// When the trouble starts; the rollback must not come before.
    pub since: Timestamp,
    /// The longest time from the start of the trouble to the decision.
    pub within: Option<Duration>,
    /// Requests that may meet the canary in that time.
    pub canary_requests: Option<Comparison<u64>>,
    /// Requests that met the canary since, and may fail for the caller.
    pub user_errors: Option<Comparison<u64>>,
    /// The canary's share in the beginning, 0 to 1, where the upstreams' ledgers alone show a rollback; none where the
    /// router tells of it.
    pub in_ledgers: Option<f64>,
}

/// See [`GateSpec::Orders`].
#[derive(Clone, Debug, PartialEq)]
pub struct OrdersSpec {
    /// When each is given, and what it is, in order.
    pub orders: Vec<(Timestamp, OrderFacts)>,
    /// The longest time to an answer.
    pub within: Duration,
}

/// See [`GateSpec::NoRollback`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoRollbackSpec {
    /// Fewest requests at the canary.
    pub min_n: u64,
    /// The canary's share of the requests that chance assigns, 0 to 1.
    pub share: f64,
    /// Do the upstreams' ledgers alone tell?
    pub in_ledgers: bool,
}

/// See [`GateSpec::AfterRollback`].
#[derive(Clone, Debug, PartialEq)]
pub struct AfterRollbackSpec {
    /// Requests that may meet the canary afterwards.
    pub canary_requests: Comparison<u64>,
    /// Time for what was on its way at the decision.
    pub grace: Duration,
    /// Fewest randomised requests afterwards; by default so many that an open canary would have
    /// been met with probability 99.9 %.
    pub min_n: u64,
}

/// See [`GateSpec::Requests`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestsSpec {
    /// Judge the attempts at this version instead of requests.
    pub version: Option<VersionId>,
    /// When.
    pub scope: Scope,
    /// Share of successes.
    pub success: Option<Comparison<Share>>,
    /// Shares of other outcomes.
    pub outcomes: Vec<(Outcome, Comparison<Share>)>,
    /// Quantiles of the latency of successes.
    pub quantiles: Vec<(Quantile, Comparison<Duration>)>,
    /// When the tokens of whole streams came.
    pub tokens: TokenSpec,
    /// How many there are.
    pub count: Option<Comparison<u64>>,
    /// How many reached an upstream altered in more than their model.
    pub altered: Option<Comparison<u64>>,
    /// How many that a rule pins, or that are forced, to a version met another one first.
    pub misrouted: Option<Comparison<u64>>,
    /// How many were tried again where they had been refused for good: after a refused key, a missing
    /// model or a bad request on the same version, or on stable with the key that was refused.
    pub hopeless_retries: Option<Comparison<u64>>,
    /// Stable has a key of its own.
    pub other_credentials: bool,
    /// Fewest of them.
    pub min_n: u64,
}

/// When the tokens of whole streams must come.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenSpec {
    /// Quantiles of what is measured.
    pub quantiles: Vec<(TokenMeasure, Quantile, Comparison<Duration>)>,
    /// Tokens a second after the first, over all streams together.
    pub speed: Option<Comparison<u64>>,
}

impl TokenSpec {
    /// Is nothing asked for?
    pub fn is_empty(&self) -> bool {
        self.quantiles.is_empty() && self.speed.is_none()
    }
}

/// A time that is measured of streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenMeasure {
    /// To the first token (TTFT), a stream.
    First,
    /// From one token to the next (ITL), a token.
    Inter,
    /// The mean time of a token after the first one (TPOT), a stream.
    Mean,
}

impl TokenMeasure {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::First, Self::Inter, Self::Mean];

    /// The name in scenarios, before `_p99`.
    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first_token",
            Self::Inter => "inter_token",
            Self::Mean => "tpot",
        }
    }
}

/// See [`GateSpec::Stream`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamSpec {
    /// Fewest streams that must have begun.
    pub min_n: u64,
    /// When.
    pub scope: Scope,
}

/// See [`GateSpec::Cost`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CostSpec {
    /// Only the attempts at this version.
    pub version: Option<VersionId>,
    /// What all attempts cost.
    pub total: Option<Comparison<Cost>>,
    /// What those cost whose answer no caller got.
    pub wasted: Option<Comparison<Cost>>,
    /// How many may have used tokens that nobody states. Without it, such attempts leave the costs open.
    pub unknown: Option<Comparison<u64>>,
}

/// See [`GateSpec::Contract`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContractSpec {
    /// The versions' names.
    pub names: PerVersion<String>,
    /// Only the answers of this version.
    pub version: Option<VersionId>,
    /// When.
    pub scope: Scope,
    /// How many answers of an upstream may differ from the shape.
    pub drift: Option<Comparison<u64>>,
    /// How many answers that callers got of a version may differ from it.
    pub answers: Option<Comparison<u64>>,
    /// Fewest answers of each version.
    pub min_n: u64,
}

/// See [`GateSpec::Retries`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RetriesSpec {
    /// Only the attempts at this version, and the requests that reached it.
    pub version: Option<VersionId>,
    /// Attempts that arrived, for each request that reached an upstream.
    pub amplification: Option<Comparison<Ratio>>,
    /// The most attempts that a single request made.
    pub per_request: Option<Comparison<u64>>,
    /// Fewest requests that must have reached an upstream.
    pub min_n: u64,
    /// When.
    pub scope: Scope,
}

/// See [`GateSpec::RateLimit`].
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimitSpec {
    /// The version.
    pub version: VersionId,
    /// Its name.
    pub name: String,
    /// So many attempts at most …
    pub most: u32,
    /// … in any window of this length.
    pub window: Duration,
    /// How full the fullest window must have been, as a share of `most`, to show anything of a limit.
    pub fullest: Share,
    /// Fewest attempts that must have arrived.
    pub min_n: u64,
    /// When they arrive.
    pub scope: Scope,
    /// How late a busy machine may be: 0 in virtual time.
    pub tolerance: Duration,
}

/// See [`GateSpec::Stickiness`].
#[derive(Clone, Debug, PartialEq)]
pub struct StickinessSpec {
    /// The header by whose value callers are told apart.
    pub header: String,
    /// Who each caller of the run is by that header: one number for all of one name. Known when the run
    /// begins; nobody is anybody before.
    pub callers: Arc<[Option<u32>]>,
    /// The share of the requests that chance gives to the canary in the beginning, 0 to 1.
    pub canary_share: f64,
    /// How long another gateway may take to follow what it has said it does, and requests to overtake each other there.
    pub grace: Duration,
    /// May the canary be closed with nobody saying so?
    pub may_close_in_silence: bool,
    /// May callers stay for good where a closing of the canary put them?
    pub closing_moves: bool,
    /// How many callers may move.
    pub moved: Comparison<u64>,
    /// Fewest callers who must have been seen twice.
    pub min_n: u64,
    /// When.
    pub scope: Scope,
}

/// See [`GateSpec::Policy`].
#[derive(Clone, Debug, PartialEq)]
pub struct PolicySpec {
    /// Retries after the first try, per version.
    pub max_retries: u32,
    /// The shortest wait before the first retry.
    pub base: Duration,
    /// Each further wait is this many times the one before.
    pub factor: f64,
    /// The share of each wait that chance may take off, 0 to 1.
    pub jitter: f64,
    /// No own wait is longer.
    pub max_wait: Duration,
    /// The longest time of a first try at a version.
    pub attempt: Duration,
    /// What later tries get: the second twice this, and so on; the same as the first when absent.
    pub escalation: Option<Duration>,
    /// The longest time of a streamed try to its first token; that of the whole try when absent.
    pub first_token: Option<Duration>,
    /// The longest silence of a stream.
    pub idle: Option<Duration>,
    /// Does nothing but tokens come with a stream? A real upstream may send signs of life, which nobody here sees.
    pub is_only_tokens: bool,
    /// How many retries there may be over all requests; any number when absent.
    pub budget: Option<BudgetSpec>,
    /// The rate limit of each version: at most so many attempts in any window.
    pub limits: PerVersion<Option<(u32, Duration)>>,
    /// The version whose attempts out may be cancelled by a rollback; none when they must drain.
    pub recalled: Option<VersionId>,
    /// The longest time of a request.
    pub request: Duration,
    /// How much later than its limit something may end: 0 in virtual time.
    pub tolerance: Duration,
}

impl PolicySpec {
    /// The longest time of the try with this number at its version, from 0.
    pub fn limit(&self, nth: u32) -> Duration {
        match self.escalation {
            Some(step) if nth > 0 => step.saturating_mul(nth.saturating_add(1)),
            Some(_) | None => self.attempt,
        }
    }
}

/// How many retries there may be over all requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BudgetSpec {
    /// Retries for each first attempt.
    pub share: f64,
    /// Retries a second that need no first attempts; a memory's worth of them may come at once.
    pub reserve_per_second: f64,
    /// How long both are remembered.
    pub memory: Duration,
}

/// See [`GateSpec::Ramp`].
#[derive(Clone, Debug, PartialEq)]
pub struct RampSpec {
    /// `ramp` or `promotion`.
    pub name: &'static str,
    /// The steps, as configured; at least one.
    pub steps: Vec<StepSpec>,
    /// The position of the step that must be reached.
    pub reaches: usize,
    /// Must it be the last one that is begun?
    pub stays: bool,
    /// By when.
    pub within: Option<Duration>,
    /// By how much times may be off: 0 in virtual time.
    pub tolerance: Duration,
}

impl SplitSpec {
    /// 30 % of the way to nothing, or to everything if that is nearer; none where one of them is what is expected.
    pub fn default_tolerance(share: f64) -> Option<f64> {
        let room = Self::room(share);
        (room > 0.0).then_some(0.3 * room)
    }

    /// How far a share is from nothing, or from everything if that is nearer.
    pub fn room(share: f64) -> f64 {
        let room = share.min(1.0 - share);
        // What only binary dust puts above zero is none.
        if room > 1e-9 { room } else { 0.0 }
    }
}

/// A step of a ramp, as configured.
#[derive(Clone, Debug, PartialEq)]
pub struct StepSpec {
    /// Its name.
    pub name: String,
    /// The canary's share, 0 to 1.
    pub share: f64,
    /// How long it must be held.
    pub hold: Duration,
}

/// See [`GateSpec::Generator`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GeneratorSpec {
    /// Largest 99th percentile of the dispatch delay.
    pub dispatch_delay_p99: Duration,
    /// Largest deviation of the rate from the schedule, as a fraction of 1.
    pub rate_error: f64,
    /// Longest time in which nobody may have been woken; as the time limits of the run allow when nobody says.
    pub stall: Option<Duration>,
    /// Largest 99th percentile of how late whoever waits is woken; as the dispatch delay allows when nobody says.
    pub wake_delay_p99: Option<Duration>,
}

impl Default for GeneratorSpec {
    fn default() -> Self {
        Self {
            dispatch_delay_p99: Duration::from_millis(10),
            rate_error: 0.01,
            stall: None,
            wake_delay_p99: None,
        }
    }
}
