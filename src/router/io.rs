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
use crate::router::config::{RouterConfig, ThresholdAction};
use crate::time::Timestamp;

/// What the router knows of a request: everything that routing may depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestFacts {
    /// The caller's tier.
    pub tier: Option<String>,
    /// Who is calling.
    pub user: Option<String>,
    /// The model that was asked for.
    pub model: String,
    /// The headers that routing looks at: names in lower case.
    pub headers: Vec<(String, String)>,
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
            user: user.map(str::to_owned),
            model: model.to_owned(),
            headers: looked_at
                .filter_map(|name| Some((name.to_owned(), header(name)?.to_owned())))
                .collect(),
        }
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
    pub reason: Evidence,
    /// When.
    pub at: Timestamp,
    /// Requests that had been given to the closed version until then.
    pub affected_requests: u64,
}
