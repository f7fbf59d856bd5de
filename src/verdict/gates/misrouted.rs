//! Requests that a rule pins to a version, or that are forced there, and met another one first.
//!
//! The canary's are owed to it only until it is closed. Of another gateway that is heard late, from the ledgers, so whoever went
//! elsewhere is kept until the end.

use crate::id::{RequestKey, VersionId};
use crate::observe::event::RollbackFacts;
use crate::observe::story::Story;
use crate::time::Timestamp;

/// Those that were looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Misrouted {
    arrived: u64,
    astray: Vec<Astray>,
}

#[derive(Clone, Copy, Debug)]
struct Astray {
    key: RequestKey,
    pinned: VersionId,
    started_at: Option<Timestamp>,
}

impl Astray {
    /// Was its version closed by then?
    fn is_turned_away(&self, rollback: &RollbackFacts) -> bool {
        let at = self.started_at;
        rollback.from == self.pinned && at.is_some_and(|at| rollback.decided_at <= at)
    }
}

impl Misrouted {
    /// Looks at a request; `rollback` is the one that was told until now.
    pub(super) fn note(&mut self, story: &Story, rollback: Option<&RollbackFacts>) {
        let named = story.sent.and_then(|(_, sent)| sent.intent.named());
        // What never arrived counts as well: a refused connection, then a fallback.
        let (Some(pinned), Some(first)) = (named, story.attempts.first()) else {
            return;
        };
        let here = Astray {
            key: story.key,
            pinned,
            started_at: first.started_at(),
        };
        match first.version == pinned {
            _ if rollback.is_some_and(|rollback| here.is_turned_away(rollback)) => {}
            true => self.arrived += 1,
            false => self.astray.push(here),
        }
    }

    /// Those that went elsewhere although their version was open, and how many were looked at.
    pub(super) fn finish(&self, rollback: Option<&RollbackFacts>) -> (Vec<RequestKey>, u64) {
        let is_owed = |astray: &&Astray| !rollback.is_some_and(|r| astray.is_turned_away(r));
        let owed = self.astray.iter().filter(is_owed);
        let keys: Vec<RequestKey> = owed.map(|astray| astray.key).collect();
        let looked_at = self.arrived + keys.len() as u64;
        (keys, looked_at)
    }
}
