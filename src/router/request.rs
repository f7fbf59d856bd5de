//! One request on its way: which attempt is out, what it waits for, when it must be over.

use std::sync::Arc;
use std::time::Duration;

use crate::id::{RequestKey, VersionId};
use crate::protocol::outcome::Outcome;
use crate::router::config::RouterConfig;
use crate::router::io::{AttemptKind, Causes, ChoiceNote};
use crate::time::Timestamp;

/// What a request is doing right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// An attempt is out.
    Trying {
        /// When it was sent.
        since: Timestamp,
        /// When its own time is up.
        until: Timestamp,
        /// Has the caller been given any of its answer?
        committed: bool,
    },
    /// In the queue of a rate limiter.
    Queued {
        /// When its longest wait is over.
        until: Timestamp,
    },
    /// Backing off before the next try.
    Waiting {
        /// When the wait is over.
        until: Timestamp,
    },
}

/// The state of one request.
#[derive(Clone, Debug)]
pub struct RequestMachine {
    /// The traffic's key.
    pub key: RequestKey,
    /// The configuration it arrived under, whose limits it keeps.
    pub config: Arc<RouterConfig>,
    /// The release it arrived under.
    pub release: u64,
    /// What became of the caller's choice of a version.
    pub choice: Option<ChoiceNote>,
    /// The version that is being tried, or will be after the wait.
    pub version: VersionId,
    /// Attempts so far, over all versions.
    pub attempts: u32,
    /// Attempts so far at `version`.
    pub tries: u32,
    /// Why the attempt that is out was made.
    pub kind: AttemptKind,
    /// The version that was tried last; none while none was.
    pub tried: Option<VersionId>,
    /// Was stable tried after the canary failed?
    pub fallback: bool,
    /// Does the caller want the answer as a stream?
    pub is_stream: bool,
    /// The last failure of each version tried.
    pub causes: Causes,
    /// The wait an upstream asked for last.
    pub retry_after: Option<Duration>,
    /// When the request must be over.
    pub expires: Timestamp,
    /// What it is doing.
    pub stage: Stage,
}

impl RequestMachine {
    /// A request that has just been given to `version`, before its first attempt.
    pub fn new(
        key: RequestKey,
        config: Arc<RouterConfig>,
        release: u64,
        version: VersionId,
        now: Timestamp,
    ) -> Self {
        let limit = config.timeouts.request;
        Self {
            key,
            config,
            release,
            choice: None,
            version,
            attempts: 0,
            tries: 0,
            kind: AttemptKind::First,
            tried: None,
            fallback: false,
            is_stream: false,
            causes: Causes::new(),
            retry_after: None,
            expires: now + limit,
            stage: Stage::Waiting { until: now },
        }
    }

    /// The earliest moment at which something must happen by itself.
    pub fn deadline(&self) -> Timestamp {
        let (Stage::Trying { until, .. } | Stage::Queued { until } | Stage::Waiting { until }) =
            self.stage;
        until.min(self.expires)
    }

    /// Is it being tried at, or waiting for, the canary of its configuration?
    pub fn is_at_canary(&self) -> bool {
        self.version == self.config.canary
    }

    /// Notes that an attempt is sent; returns its number within the request.
    pub fn begin_attempt(&mut self, now: Timestamp) -> u32 {
        let limit = self.first_limit();
        self.kind = match (self.tries, self.attempts) {
            (0, 0) => AttemptKind::First,
            (0, _) => AttemptKind::Fallback,
            _ => AttemptKind::Retry,
        };
        self.tried = Some(self.version);
        self.fallback |= self.kind == AttemptKind::Fallback;
        let n = self.attempts;
        self.attempts += 1;
        self.tries += 1;
        self.stage = Stage::Trying {
            since: now,
            until: now + limit,
            committed: false,
        };
        n
    }

    /// The time of an attempt until its whole answer, or the first token of one.
    fn first_limit(&self) -> Duration {
        let timeouts = &self.config.timeouts;
        let whole = timeouts.of_try(self.tries);
        let first = timeouts.first_token.filter(|_| self.is_stream);
        first.map_or(whole, |first| first.min(whole))
    }

    /// Notes that the stream of the attempt that is out goes on. Is it the first that the caller gets of
    /// it?
    pub fn goes_on(&mut self, now: Timestamp) -> bool {
        let timeouts = &self.config.timeouts;
        let whole = timeouts.of_try(self.tries.saturating_sub(1));
        // A driver tells of progress at least four times per limit, so what it told last may be older than
        // the last event by a quarter. No stream is ended that was not silent for the whole limit.
        let idle = timeouts.idle.map(|idle| idle.saturating_add(idle / 4));
        let Stage::Trying {
            since,
            until,
            committed,
        } = &mut self.stage
        else {
            return false;
        };
        if self.is_stream {
            let total = *since + whole;
            *until = idle.map_or(total, |idle| total.min(now + idle));
        }
        !std::mem::replace(committed, true)
    }

    /// Is an attempt out of which no caller has seen anything?
    pub fn is_uncommitted(&self) -> bool {
        matches!(
            self.stage,
            Stage::Trying {
                committed: false,
                ..
            }
        )
    }

    /// Is the attempt with this number the one that is out?
    pub fn is_trying(&self, n: u32) -> bool {
        matches!(self.stage, Stage::Trying { .. }) && n.checked_add(1) == Some(self.attempts)
    }

    /// Notes a failure as the last one of the version that was tried.
    pub fn note_failure(&mut self, outcome: Outcome, retry_after: Option<Duration>) {
        self.retry_after = retry_after;
        match self.causes.iter_mut().find(|(v, _)| *v == self.version) {
            Some((_, last)) => *last = outcome,
            None => self.causes.push((self.version, outcome)),
        }
    }

    /// Hands the request over to stable. A caller whose choice was not even tried did not get it.
    pub fn fall_back(&mut self) {
        self.version = self.config.stable;
        self.tries = 0;
        if self.tried.is_none() {
            self.choice = self.choice.map(|_| ChoiceNote::Refused);
        }
    }
}
