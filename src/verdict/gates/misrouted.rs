//! Requests that a rule pins to a version, or that are forced there, and met another one first.
//!
//! The canary's are owed to it only until it is closed, and again after an order that opens it, as long as it is in use. Of another
//! gateway that is heard late, from the ledgers, so whoever went elsewhere is kept until the end.

use std::collections::BTreeMap;

use crate::id::{RequestKey, VersionId};
use crate::observe::event::{RollbackFacts, RunEvent, Sent, What};
use crate::observe::story::Story;
use crate::time::Timestamp;
use crate::verdict::gates::reopened::Reopened;

/// Those that were looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Misrouted {
    arrived: u64,
    astray: Vec<Astray>,
    open: Openings,
}

/// What is known of a version that was opened again.
#[derive(Clone, Debug, Default)]
struct Openings {
    by_order: Reopened,
    /// The last arrival at each version: later, it may have been closed once more in silence.
    last_at: BTreeMap<VersionId, Timestamp>,
}

impl Openings {
    fn is_open(&self, rollback: &RollbackFacts, at: Timestamp) -> bool {
        let is_in_use = self
            .last_at
            .get(&rollback.from)
            .is_some_and(|last| at <= *last);
        is_in_use && self.by_order.share(rollback.decided_at, at).is_some()
    }
}

#[derive(Clone, Copy, Debug)]
struct Astray {
    key: RequestKey,
    pinned: VersionId,
    sent_at: Timestamp,
    started_at: Option<Timestamp>,
}

impl Astray {
    /// Was its version closed by then, and not opened again before it was sent?
    fn is_turned_away(&self, rollback: &RollbackFacts, open: &Openings) -> bool {
        let closed_at = rollback.decided_at;
        let is_open = |at| open.is_open(rollback, at);
        let is_closed = |at| closed_at <= at && !(is_open(self.sent_at) && is_open(at));
        rollback.from == self.pinned && self.started_at.is_some_and(is_closed)
    }
}

impl Misrouted {
    /// Takes an event in, if it is of an order to another gateway.
    pub(super) fn event(&mut self, event: &RunEvent) {
        self.open.by_order.event(event.at, &event.what);
        if let What::Accepted(row) = &event.what {
            self.open.last_at.insert(row.version, event.at);
        }
    }

    /// Looks at a request; `rollback` is the one that was told until now.
    pub(super) fn note(&mut self, story: &Story, rollback: Option<&RollbackFacts>) {
        let named = |(at, sent): (Timestamp, Sent)| Some((at, sent.intent.named()?));
        // What never arrived counts as well: a refused connection, then a fallback.
        let (Some((sent_at, pinned)), Some(first)) =
            (story.sent.and_then(named), story.attempts.first())
        else {
            return;
        };
        let here = Astray {
            key: story.key,
            pinned,
            sent_at,
            started_at: first.started_at(),
        };
        let is_turned_away = rollback.is_some_and(|r| here.is_turned_away(r, &self.open));
        match first.version == pinned {
            true => self.arrived += u64::from(!is_turned_away),
            // Whether a version that was opened again was closed is shown later.
            false if is_turned_away && self.open.by_order.is_never() => {}
            false => self.astray.push(here),
        }
    }

    /// Those that went elsewhere although their version was open, and how many were looked at.
    pub(super) fn finish(&self, rollback: Option<&RollbackFacts>) -> (Vec<RequestKey>, u64) {
        let is_turned_away =
            |astray: &&Astray| rollback.is_some_and(|r| astray.is_turned_away(r, &self.open));
        let is_owed = |astray: &&Astray| !is_turned_away(astray);
        let owed = self.astray.iter().filter(is_owed);
        let keys: Vec<RequestKey> = owed.map(|astray| astray.key).collect();
        let looked_at = self.arrived + keys.len() as u64;
        (keys, looked_at)
    }
}
