//! Which of their keys requests still bear when they arrive, by way of a gateway that is none of ours.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::observe::event::KeysSeen;
use crate::protocol::marker::Found;

/// Counts the keys of all requests at all upstreams of a run.
#[derive(Clone, Debug, Default)]
pub struct KeyCounts(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    rows: AtomicU64,
    header: AtomicU64,
    user: AtomicU64,
    metadata: AtomicU64,
    prompt: AtomicU64,
}

impl KeyCounts {
    /// Counts a request: does its header bear a key, and which ones does its body bear?
    pub(super) fn count(&self, header: bool, body: Found) {
        let all = [
            (&self.0.rows, true),
            (&self.0.header, header),
            (&self.0.user, body.user.is_some()),
            (&self.0.metadata, body.metadata.is_some()),
            (&self.0.prompt, body.prompt.is_some()),
        ];
        for (counter, is) in all {
            counter.fetch_add(u64::from(is), Ordering::Relaxed);
        }
    }

    /// What was counted so far.
    pub fn seen(&self) -> KeysSeen {
        let counted = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        KeysSeen {
            rows: counted(&self.0.rows),
            header: counted(&self.0.header),
            user: counted(&self.0.user),
            metadata: counted(&self.0.metadata),
            prompt: counted(&self.0.prompt),
        }
    }
}
