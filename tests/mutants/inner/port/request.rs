//! A request under way.

use std::sync::Arc;
use std::time::Duration;

use graygate::id::{PerVersion, RequestKey, VersionId};
use graygate::protocol::outcome::Outcome;
use graygate::router::io::{AttemptKind, Causes, RequestFacts};
use graygate::time::Timestamp;

/// An attempt that is out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Out {
    pub(super) n: u32,
    pub(super) version: VersionId,
    pub(super) since: Timestamp,
    pub(super) kind: AttemptKind,
    /// Has its caller seen any of it?
    pub(super) committed: bool,
    /// When it was heard of last.
    pub(super) heard: Timestamp,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) key: RequestKey,
    pub(super) facts: Arc<RequestFacts>,
    pub(super) deadline: Timestamp,
    /// The version that it is at.
    pub(super) version: VersionId,
    pub(super) kind: AttemptKind,
    /// Was stable asked after the canary failed?
    pub(super) fallback: bool,
    pub(super) tries: PerVersion<u32>,
    pub(super) attempts: u32,
    pub(super) out: Option<Out>,
    pub(super) tried: Option<VersionId>,
    pub(super) causes: Causes,
    pub(super) retry_after: Option<Duration>,
}

impl Request {
    /// Notes how an attempt failed: the last failure of each version counts.
    pub(super) fn note(&mut self, version: VersionId, outcome: Outcome, asked: Option<Duration>) {
        match self.causes.iter_mut().find(|(v, _)| *v == version) {
            Some(cause) => cause.1 = outcome,
            None => self.causes.push((version, outcome)),
        }
        self.retry_after = asked.filter(|_| outcome == Outcome::RateLimited);
        self.tried = Some(version);
    }
}
