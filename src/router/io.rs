//! What goes into the core and what comes out: inputs, actions, events. Facts only, never bodies.
//!
//! The forms are serialisable so that a driver's log of inputs can be kept, and replayed into a
//! fresh core.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{AttemptId, RequestId, RequestKey, VersionId};
use crate::protocol::headers;
use crate::protocol::outcome::Outcome;
use crate::router::config::{Features, RouterConfig, ThresholdAction};
use crate::router::control::{Control, ControlId, Refusal};
use crate::router::deployment::{Change, Checkpoint, Deployment};
use crate::router::ramp::Phase;
use crate::time::Timestamp;

/// What the router knows of a request: everything that routing may depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestFacts {
    /// The caller's tier.
    pub tier: Option<String>,
    /// The caller's tenant.
    pub tenant: Option<String>,
    /// Who is calling.
    pub user: Option<String>,
    /// The model that was asked for.
    pub model: String,
    /// The headers that routing looks at: names in lower case.
    pub headers: Vec<(String, String)>,
    /// The version that the gateway's own embedder forces; callers cannot.
    pub forced: Option<VersionId>,
    /// The version that a caller who may choose one asks for.
    pub chosen: Option<Chosen>,
    /// What a version must be able to do to answer it.
    pub needs: Features,
}

/// The version that a caller with the right to choose asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Chosen {
    /// This one.
    Version(VersionId),
    /// One that does not exist.
    Unknown,
}

impl RequestFacts {
    /// Collects what routing may depend on. `header` looks a header up by its lower-case name;
    /// `body_user` is the body's `user`, which counts when no header names the caller.
    pub fn collect<'h>(
        config: &RouterConfig,
        model: &str,
        body_user: Option<&str>,
        header: impl Fn(&str) -> Option<&'h str>,
    ) -> Self {
        let looked_at = config.headers_looked_at();
        let user = header(headers::USER_ID).or(body_user);
        Self {
            tier: header(headers::USER_TIER).map(str::to_owned),
            tenant: header(headers::TENANT).map(str::to_owned),
            user: user.map(str::to_owned),
            model: model.to_owned(),
            headers: looked_at
                .filter_map(|name| Some((name.to_owned(), header(name)?.to_owned())))
                .collect(),
            ..Self::default()
        }
    }

    /// Notes the caller's choice of a version, if it makes one and may. `has_key` says whether it
    /// showed one of the keys that may choose. What others ask for is not even looked at, so that it
    /// changes nothing.
    #[must_use]
    pub fn with_choice(
        mut self,
        config: &RouterConfig,
        wanted: Option<&str>,
        has_key: bool,
    ) -> Self {
        let Some((policy, wanted)) = config.overrides.as_ref().zip(wanted) else {
            return self;
        };
        let tier = self.tier.as_ref();
        if has_key || tier.is_some_and(|tier| policy.tiers.contains(tier)) {
            let version = config.version_named(wanted);
            self.chosen = Some(version.map_or(Chosen::Unknown, Chosen::Version));
        }
        self
    }

    /// The value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Something that happened outside the core.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// A caller sent a request.
    Arrival {
        /// Chosen by the driver, never used before.
        request: RequestId,
        /// The key of all random draws for it.
        key: RequestKey,
        /// What routing may depend on.
        facts: Arc<RequestFacts>,
    },
    /// An attempt produced something a caller could be given: the first content of a stream, or a
    /// whole successful answer. Answered by [`Action::Forward`].
    FirstContent {
        /// The attempt.
        attempt: AttemptId,
    },
    /// An attempt ended. For a success, after its `FirstContent`.
    AttemptEnded {
        /// The attempt.
        attempt: AttemptId,
        /// How.
        outcome: Outcome,
        /// The wait the upstream asked for, as a duration from now.
        retry_after: Option<Duration>,
    },
    /// The caller hung up.
    ClientGone {
        /// The request nobody waits for any more.
        request: RequestId,
    },
    /// Somebody who may asks for a change of the release. Answered by [`Action::Answer`].
    Control {
        /// Chosen by the driver, never used before.
        id: ControlId,
        /// What is asked.
        control: Control,
    },
    /// The answer to [`Action::Persist`].
    Persisted {
        /// Which one.
        op: u64,
        /// Will it survive a restart?
        ok: bool,
    },
    /// What an earlier process kept is known at last: the answer that a router which
    /// [was started without it](crate::router::gray::GrayRouter::unknown) waits for.
    Found {
        /// The release; none when nothing was kept.
        kept: Option<Box<Deployment>>,
        /// Its checkpoints, oldest first.
        checkpoints: Vec<Checkpoint>,
    },
}

/// Something the driver must do now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Send the request to this version. Answered by `FirstContent` and `AttemptEnded`.
    Send {
        /// The new attempt.
        attempt: AttemptId,
        /// Where to.
        version: VersionId,
    },
    /// Stop an attempt: close its connection, expect nothing more of it.
    Cancel {
        /// The attempt; inputs about it are ignored from now on.
        attempt: AttemptId,
    },
    /// Let the answer of this attempt through to the caller.
    Forward {
        /// The attempt whose answer the caller gets.
        attempt: AttemptId,
        /// For the response headers.
        served: Served,
    },
    /// Answer the caller with an error.
    Fail {
        /// The request.
        request: RequestId,
        /// What the error says.
        failure: Failure,
    },
    /// Requests that arrive from now on belong to this configuration; those under way keep theirs.
    Adopt {
        /// Its revision.
        revision: u64,
        /// The configuration.
        config: Arc<RouterConfig>,
    },
    /// Make a change survive a restart: all of it or nothing. Answered by `Persisted`, in the order
    /// they were asked for. A driver without a store answers at once that it is done.
    Persist {
        /// Counts them.
        op: u64,
        /// What to keep.
        change: Box<Change>,
    },
    /// The answer to [`Input::Control`].
    Answer {
        /// Which one.
        id: ControlId,
        /// Where the release stands now, or why nothing was done.
        answer: Result<Standing, Refusal>,
    },
}

/// Where a release stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Counts changes of configuration and weights.
    pub revision: u64,
    /// The phase.
    pub phase: Phase,
    /// The step of the ramp: its position and name; none without a ramp.
    pub step: Option<(usize, String)>,
    /// The share of the randomly split requests that goes to the canary right now, 0 to 1.
    pub share: f64,
    /// How long the step has been held.
    pub held: Duration,
    /// What made it stand there.
    pub cause: Cause,
}

/// Why the standing of a release changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The process started.
    Started,
    /// The judge's yes: the next step.
    Judged,
    /// A step's limit passed without an answer of the judge.
    Inconclusive,
    /// By hand.
    ByHand,
    /// Another configuration.
    Applied,
    /// A rollback.
    RolledBack,
    /// What happens can no longer be kept: the canary gets nothing until it can.
    StoreFailed,
    /// What happens is kept again.
    StoreBack,
    /// The canary's upstream does not know its model.
    ModelMissing,
}

impl Cause {
    /// The name in files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Judged => "judged",
            Self::Inconclusive => "inconclusive",
            Self::ByHand => "by_hand",
            Self::Applied => "applied",
            Self::RolledBack => "rolled_back",
            Self::StoreFailed => "store_failed",
            Self::StoreBack => "store_back",
            Self::ModelMissing => "model_missing",
        }
    }
}

/// Who serves an answer, for `x-version`, `x-fallback`, `x-attempts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// The version whose answer it is.
    pub version: VersionId,
    /// True when stable answers after the canary failed.
    pub fallback: bool,
    /// Attempts so far, this one included.
    pub attempts: u32,
    /// What became of the caller's choice of a version; none when it made none.
    pub choice: Option<ChoiceNote>,
}

/// What became of a caller's choice of a version, for `x-override`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChoiceNote {
    /// It got it.
    Honoured,
    /// Stable serves instead: the canary is closed, cannot do what is needed, or does not exist.
    Refused,
}

impl ChoiceNote {
    /// The value of the header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Honoured => "honoured",
            Self::Refused => "refused",
        }
    }
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// How the request ended.
    pub outcome: Outcome,
    /// The last failure of each version that was tried, in the order they were tried.
    pub causes: Causes,
    /// The wait to tell the caller, after a rate limit.
    pub retry_after: Option<Duration>,
    /// The last version that was tried; none when none was.
    pub version: Option<VersionId>,
    /// True when stable was tried after the canary failed.
    pub fallback: bool,
    /// Attempts made.
    pub attempts: u32,
    /// Pass the last upstream answer on as it is: the refusal was of the caller's own request.
    pub relay: bool,
    /// What became of the caller's choice of a version; none when it made none.
    pub choice: Option<ChoiceNote>,
}

/// The last failure of each version that was tried: at most the canary's and stable's.
pub type Causes = smallvec::SmallVec<[(VersionId, Outcome); 2]>;

/// Why an attempt was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptKind {
    /// The first of its request.
    First,
    /// The same version again.
    Retry,
    /// Stable after the canary failed (its own retries count as `Retry`).
    Fallback,
}

/// Why a request was given to its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// The embedder forced it.
    Forced,
    /// The caller chose it, and may.
    Override,
    /// The caller's choice could not be met: stable.
    OverrideRefused,
    /// The canary cannot do what the request needs: stable.
    Features,
    /// The rule with this position matched.
    Route(u16),
    /// The caller's key decided.
    Sticky,
    /// The random split decided.
    Random,
    /// The canary was meant, but is closed.
    CanaryClosed,
}

/// Something worth knowing that happened inside the core.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A request got its version.
    Assigned {
        /// The router's id of the request.
        request: RequestId,
        /// The traffic's key of it.
        key: RequestKey,
        /// The version.
        version: VersionId,
        /// Why that one.
        choice: Choice,
    },
    /// An attempt ended, and was booked on the version that was tried.
    AttemptEnded {
        /// The attempt.
        attempt: AttemptId,
        /// The traffic's key of the request.
        key: RequestKey,
        /// The version it was tried at, and is booked on.
        version: VersionId,
        /// Why it was made.
        kind: AttemptKind,
        /// How it ended.
        outcome: Outcome,
        /// From sending to the end.
        latency: Duration,
    },
    /// A request ended: exactly once an arrival.
    RequestEnded {
        /// The request.
        request: RequestId,
        /// The traffic's key of it.
        key: RequestKey,
        /// How it ended for the caller.
        outcome: Outcome,
        /// The version that answered; none when the request failed.
        served_by: Option<VersionId>,
        /// True when stable answered after the canary failed.
        fallback: bool,
        /// Attempts made.
        attempts: u32,
    },
    /// The judge looked: on regular ticks, and whenever its finding changed.
    Judged(Evidence),
    /// The canary is closed for good.
    RolledBack(Rollback),
    /// The release stands elsewhere: another configuration, weight, step or phase.
    Standing(Standing),
}

/// What the judge saw of one threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The version that is judged.
    pub version: VersionId,
    /// The measure.
    pub measure: Measure,
    /// Its value over the window; none while the window is empty.
    pub value: Option<f64>,
    /// The bound it must not cross, in the same unit.
    pub bound: f64,
    /// Judged attempts in the window.
    pub samples: u64,
    /// Fewest judged attempts for the threshold to apply.
    pub min_samples: u64,
    /// What a violation causes.
    pub action: ThresholdAction,
    /// True when the bound is crossed on enough samples.
    pub violated: bool,
}

/// What a threshold is about. Rates are shares of 1; latencies are seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Failures over judged attempts.
    ErrorRate,
    /// Successes over judged attempts.
    SuccessRate,
    /// 99th percentile of the latency, in seconds.
    P99,
}

impl Measure {
    /// The name in files: `error_rate`, `success_rate`, `p99`.
    pub fn name(self) -> &'static str {
        match self {
            Self::ErrorRate => "error_rate",
            Self::SuccessRate => "success_rate",
            Self::P99 => "p99",
        }
    }
}

/// The record of a rollback.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollback {
    /// Unique within the router's life.
    pub id: String,
    /// The version that was closed.
    pub from: VersionId,
    /// The version that gets everything from now on.
    pub to: VersionId,
    /// What decided it.
    pub reason: Reason,
    /// When.
    pub at: Timestamp,
    /// The same in milliseconds since 1970; none in virtual time.
    pub unix_ms: Option<u64>,
    /// Requests that had been given to the closed version until then.
    pub affected_requests: u64,
    /// The revision that was rolled back.
    pub revision: u64,
    /// The step of the ramp that it was in.
    pub step: Option<String>,
    /// The checkpoint whose configuration is in force now; none when there was no other one, and the
    /// configuration stayed but for its weights.
    pub restored: Option<String>,
    /// SHA-256 of the configuration in force now, verified.
    pub sha256: String,
}

/// Why the canary was rolled back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The judge's evidence.
    Judged(Evidence),
    /// A person's, in their words.
    ByHand(String),
    /// A step's limit passed without an answer of the judge.
    Inconclusive,
}

impl Reason {
    /// The name in files: the measure, `by_hand` or `inconclusive`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Judged(evidence) => evidence.measure.name(),
            Self::ByHand(_) => "by_hand",
            Self::Inconclusive => "inconclusive",
        }
    }

    /// The judge's evidence, if that decided.
    pub fn evidence(&self) -> Option<&Evidence> {
        match self {
            Self::Judged(evidence) => Some(evidence),
            Self::ByHand(_) | Self::Inconclusive => None,
        }
    }
}
