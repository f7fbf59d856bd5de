//! What goes into the core and what comes out: inputs, actions, events. Facts only, never bodies.
//!
//! The forms are serialisable so that a driver's log of inputs can be kept, and replayed into a
//! fresh core.

mod facts;
mod news;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{AttemptId, RequestId, RequestKey, VersionId};
use crate::protocol::drift::Drift;
use crate::protocol::openai::Usage;
use crate::protocol::outcome::Outcome;
use crate::router::config::RouterConfig;
use crate::router::control::{Control, ControlId, Refusal};
use crate::router::deployment::{Change, Checkpoint, Deployment};
use crate::router::judge::lack::Lack;
use crate::router::judge::sequential::HoldReason;

pub use facts::{Chosen, RequestFacts};
pub use news::{Cause, Closed, Evidence, Measure, Reason, Rollback, Standing};

/// What the router may know of an answer, besides how it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerTraits {
    /// The tokens, when the answer states them.
    pub usage: Option<Usage>,
    /// How it differs from the OpenAI shape.
    pub drift: Drift,
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
        /// What else is known of its answer.
        #[serde(default)]
        answer: AnswerTraits,
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
        /// Was it made after the request fell back to stable?
        fallback: bool,
        /// How it ended.
        outcome: Outcome,
        /// From sending to the end.
        latency: Duration,
        /// What else is known of its answer.
        answer: AnswerTraits,
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
    /// The judge holds, for this reason, or no longer does.
    Held(Option<HoldReason>),
    /// The ramp looked after its step's hold, and did not go on: all that is missing.
    NotPromoted(Vec<Lack>),
    /// The canary is closed for good.
    RolledBack(Rollback),
    /// The release stands elsewhere: another configuration, weight, step or phase.
    Standing(Standing),
}
