//! What an upstream wrote down: who came, which try it was, and how it ended. The ledgers are the
//! truth that everybody else's numbers are compared with.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::id::{IdMap, RequestKey, VersionId};
use crate::live::clock::Clock;
use crate::live::outbox::Outbox;
use crate::observe::event::{Accepted, UpstreamEnded, What};
use crate::protocol::outcome::Outcome;
use crate::time::Timestamp;

/// Fingerprints of the bodies that the client sent, by request key, while they are under way.
#[derive(Clone, Debug, Default)]
pub struct Originals(Arc<Mutex<IdMap<RequestKey, u64>>>);

impl Originals {
    /// Notes the fingerprint of a body that is sent.
    pub fn note(&self, key: RequestKey, digest: Option<u64>) {
        if let Some(digest) = digest {
            let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            map.insert(key, digest);
        }
    }

    /// Forgets a request that is over.
    pub fn forget(&self, key: RequestKey) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.remove(key);
    }

    /// Does this fingerprint differ from what the client sent? None when the client's is not known.
    fn differs(&self, key: RequestKey, digest: impl FnOnce() -> Option<u64>) -> Option<bool> {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let original = *map.get(key)?;
        drop(map);
        Some(digest() != Some(original))
    }
}

/// The ledger of one upstream.
#[derive(Clone, Debug)]
pub struct Ledger {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    version: VersionId,
    clock: Clock,
    outbox: Outbox,
    originals: Originals,
    tries: Mutex<IdMap<RequestKey, u32>>,
    rows: AtomicU64,
    open: AtomicUsize,
}

impl Ledger {
    /// An empty ledger whose lines go to `outbox`.
    pub fn new(version: VersionId, clock: Clock, outbox: Outbox, originals: Originals) -> Self {
        Self {
            shared: Arc::new(Shared {
                version,
                clock,
                outbox,
                originals,
                tries: Mutex::default(),
                rows: AtomicU64::new(0),
                open: AtomicUsize::new(0),
            }),
        }
    }

    /// How many requests are not done with.
    pub fn open_rows(&self) -> usize {
        self.shared.open.load(Ordering::Acquire)
    }

    /// Opens a line. `digest` is the fingerprint of the body, asked for only when it can be compared.
    pub(super) fn accept(
        &self,
        key: Option<RequestKey>,
        digest: impl FnOnce() -> Option<u64>,
    ) -> Row {
        let ordinal = key.map_or(0, |key| self.next_try(key));
        let altered = key.and_then(|key| self.shared.originals.differs(key, digest));
        self.shared.open.fetch_add(1, Ordering::AcqRel);
        Row {
            number: self.shared.rows.fetch_add(1, Ordering::Relaxed),
            shared: self.shared.clone(),
            key,
            ordinal,
            altered,
            is_open: true,
        }
    }

    /// Tells of a line that was opened, once it is known which fault hits it.
    pub(super) fn announce(&self, at: Timestamp, row: &Row, n: Option<u32>, fault: Option<u16>) {
        let accepted = Accepted {
            row: row.number,
            key: row.key,
            version: self.shared.version,
            ordinal: row.ordinal,
            n,
            fault,
            altered: row.altered,
        };
        self.shared.outbox.send(at, What::Accepted(accepted));
    }

    fn next_try(&self, key: RequestKey) -> u32 {
        let mut tries = self
            .shared
            .tries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let next = tries.get_or_insert_with(key, || 0);
        *next += 1;
        *next - 1
    }
}

/// An open line. Dropped without a word, it says that the other side hung up.
#[derive(Debug)]
pub struct Row {
    number: u64,
    shared: Arc<Shared>,
    key: Option<RequestKey>,
    ordinal: u32,
    altered: Option<bool>,
    is_open: bool,
}

impl Row {
    /// Which of the request's tries at this upstream.
    pub fn ordinal(&self) -> u32 {
        self.ordinal
    }

    /// Closes the line now.
    pub fn end(self, outcome: Outcome) {
        let now = self.shared.clock.now();
        self.end_at(now, outcome);
    }

    /// Closes the line at a time that may be still to come.
    pub fn end_at(mut self, at: Timestamp, outcome: Outcome) {
        self.close(at, outcome);
    }

    fn close(&mut self, at: Timestamp, outcome: Outcome) {
        if !self.is_open {
            return;
        }
        self.is_open = false;
        let ended = UpstreamEnded {
            row: self.number,
            key: self.key,
            version: self.shared.version,
            ordinal: self.ordinal,
            outcome,
        };
        self.shared.outbox.send(at, What::UpstreamEnded(ended));
        self.shared.open.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        let now = self.shared.clock.now();
        self.close(now, Outcome::ClientGone);
    }
}
