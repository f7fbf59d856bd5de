//! What an upstream wrote down: who came, which try it was, and how it ended. The ledgers are the
//! truth that everybody else's numbers are compared with.
//!
//! Which try it was needs memory, and memory is bounded: in a run a request is forgotten once its
//! client is done with it; otherwise an upstream remembers its newest 100,000 keys.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

use crate::fault::inject::Response;
use crate::id::{IdMap, RequestKey, VersionId};
use crate::live::clock::Clock;
use crate::live::mock::book::{Book, Line};
use crate::live::mock::places::Held;
use crate::live::outbox::Outbox;
use crate::observe::event::{Accepted, UpstreamEnded, What};
use crate::protocol::drift::Drift;
use crate::protocol::openai::Usage;
use crate::protocol::outcome::Outcome;
use crate::time::Timestamp;

/// How many keys an upstream remembers when nobody says that their requests are over. A key that
/// comes back after so many others counts as a first try.
pub const KEYS_REMEMBERED: usize = 100_000;

/// What ledgers remember of the requests that a load client has under way. One for all upstreams of a
/// run; without a client, nothing is ever under way.
#[derive(Clone, Debug, Default)]
pub struct Underway(Arc<Mutex<Memory>>);

#[derive(Debug, Default)]
struct Memory {
    requests: IdMap<RequestKey, Request>,
    /// Who got the answer with this id.
    answers: BTreeMap<Box<str>, Answer>,
}

#[derive(Debug)]
struct Answer {
    /// Which request; none when several did.
    key: Option<RequestKey>,
    /// Requests under way that got one with this id, each as often as it did.
    holders: usize,
}

#[derive(Debug)]
struct Request {
    /// The fingerprint of the body that the client sent.
    digest: Option<u64>,
    /// How often it came to each version's upstream, by the version's position.
    tries: SmallVec<[u32; 2]>,
    /// The ids of the answers that real upstreams gave it.
    answers: Vec<Box<str>>,
}

impl Underway {
    /// Notes a request that is sent, with the fingerprint of its body.
    pub fn note(&self, key: RequestKey, digest: Option<u64>) {
        let request = Request {
            digest,
            tries: SmallVec::new(),
            answers: Vec::new(),
        };
        self.lock().requests.insert(key, request);
    }

    /// Forgets a request that is over.
    pub fn forget(&self, key: RequestKey) {
        let mut memory = self.lock();
        let request = memory.requests.remove(key);
        for id in request.into_iter().flat_map(|request| request.answers) {
            if let Some(answer) = memory.answers.get_mut(&id) {
                answer.holders -= 1;
                if answer.holders == 0 {
                    memory.answers.remove(&id);
                }
            }
        }
    }

    /// Notes that a request was given the answer with this id, by an upstream whose ids do not say so themselves.
    fn note_answer(&self, key: RequestKey, id: &str) {
        let mut memory = self.lock();
        let Some(request) = memory.requests.get_mut(key) else {
            return;
        };
        request.answers.push(id.into());
        let answer = memory.answers.entry(id.into()).or_insert(Answer {
            key: Some(key),
            holders: 0,
        });
        // Some servers give the same id again and again.
        answer.key = answer.key.filter(|one| *one == key);
        answer.holders += 1;
    }

    /// The request under way that was given the answer with this id, if that is certain.
    pub fn answered(&self, id: &str) -> Option<RequestKey> {
        self.lock().answers.get(id)?.key
    }

    /// How many requests are under way.
    pub fn len(&self) -> usize {
        self.lock().requests.len()
    }

    /// True when no request is under way.
    pub fn is_empty(&self) -> bool {
        self.lock().requests.is_empty()
    }

    /// Counts a try: how many were there before at this upstream? None for a request of which no
    /// client said that it is under way.
    fn next_try(&self, key: RequestKey, version: VersionId) -> Option<u32> {
        let mut memory = self.lock();
        let tries = &mut memory.requests.get_mut(key)?.tries;
        if tries.len() <= version.index() {
            tries.resize(version.index() + 1, 0);
        }
        let next = &mut tries[version.index()];
        *next += 1;
        Some(*next - 1)
    }

    /// Does this fingerprint differ from what the client sent? None when the client's is not known.
    fn differs(&self, key: RequestKey, digest: impl FnOnce() -> Option<u64>) -> Option<bool> {
        let original = self.lock().requests.get(key)?.digest?;
        Some(digest() != Some(original))
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tries of the newest keys, for requests that nobody says the end of: those of strangers at a
/// stand-alone mock or at a mounted responder, and stragglers of a run.
#[derive(Debug, Default)]
struct Newest {
    tries: IdMap<RequestKey, u32>,
    /// The keys by age, oldest first.
    keys: VecDeque<RequestKey>,
}

impl Newest {
    fn next_try(&mut self, key: RequestKey) -> u32 {
        if let Some(tries) = self.tries.get_mut(key) {
            *tries = tries.saturating_add(1);
            return *tries - 1;
        }
        if self.keys.len() >= KEYS_REMEMBERED
            && let Some(oldest) = self.keys.pop_front()
        {
            self.tries.remove(oldest);
        }
        self.keys.push_back(key);
        self.tries.insert(key, 1);
        0
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
    underway: Underway,
    newest: Mutex<Newest>,
    /// Counts the rows of all ledgers of one house.
    rows: Arc<AtomicU64>,
    open: AtomicUsize,
}

impl Ledger {
    /// An empty ledger whose lines go to `outbox`.
    pub fn new(version: VersionId, clock: Clock, outbox: Outbox, underway: Underway) -> Self {
        Self {
            shared: Arc::new(Shared {
                version,
                clock,
                outbox,
                underway,
                newest: Mutex::default(),
                rows: Arc::default(),
                open: AtomicUsize::new(0),
            }),
        }
    }

    /// An empty ledger of another upstream, beside this one: their rows are counted together.
    pub fn beside(&self, version: VersionId) -> Self {
        let shared = &self.shared;
        let (outbox, underway) = (shared.outbox.clone(), shared.underway.clone());
        Self {
            shared: Arc::new(Shared {
                version,
                clock: shared.clock,
                outbox,
                underway,
                newest: Mutex::default(),
                rows: shared.rows.clone(),
                open: AtomicUsize::new(0),
            }),
        }
    }

    /// How many requests are not done with.
    pub fn open_rows(&self) -> usize {
        self.shared.open.load(Ordering::Acquire)
    }

    /// Opens a line. `digest` is the fingerprint of the body, asked for only when it can be compared.
    pub(in crate::live) fn accept(
        &self,
        key: Option<RequestKey>,
        digest: impl FnOnce() -> Option<u64>,
    ) -> Row {
        let ordinal = key.map_or(0, |key| self.next_try(key));
        let altered = key.and_then(|key| self.shared.underway.differs(key, digest));
        self.shared.open.fetch_add(1, Ordering::AcqRel);
        Row {
            number: self.shared.rows.fetch_add(1, Ordering::Relaxed),
            shared: self.shared.clone(),
            key,
            ordinal,
            altered,
            usage: None,
            drift: Drift::NONE,
            place: None,
            entry: None,
            is_open: true,
        }
    }

    /// Tells of a line that was opened, once it is known what happens to it.
    pub(in crate::live) fn announce(
        &self,
        at: Timestamp,
        row: &Row,
        n: Option<u32>,
        response: &Response,
    ) {
        let accepted = Accepted {
            row: row.number,
            key: row.key,
            version: self.shared.version,
            ordinal: row.ordinal,
            n,
            fault: response.fault,
            retry_after: response.plan.retry_after(),
            altered: row.altered,
            is_told: response.is_told,
        };
        self.shared.outbox.send(at, What::Accepted(accepted));
    }

    fn next_try(&self, key: RequestKey) -> u32 {
        let shared = &self.shared;
        let underway = shared.underway.next_try(key, shared.version);
        underway.unwrap_or_else(|| {
            let mut newest = shared.newest.lock().unwrap_or_else(PoisonError::into_inner);
            newest.next_try(key)
        })
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
    /// The tokens of the answer that it is to get: spent even if nobody waits for it.
    usage: Option<Usage>,
    drift: Drift,
    /// The place that it takes, until it is closed.
    place: Option<Held>,
    /// Its line in the book, where there is one.
    entry: Option<(Arc<Book>, u64)>,
    is_open: bool,
}

impl Row {
    /// Which of the request's tries at this upstream.
    pub fn ordinal(&self) -> u32 {
        self.ordinal
    }

    /// Notes the tokens that are spent on it, and the shape of its answer.
    pub(in crate::live) fn spends(&mut self, usage: Option<Usage>, drift: Drift) {
        self.usage = usage;
        self.drift = drift;
    }

    /// Notes the id of its answer, where that does not say whose it is.
    pub(in crate::live) fn gives(&self, id: &str) {
        if let Some(key) = self.key {
            self.shared.underway.note_answer(key, id);
        }
    }

    /// Takes a place of the upstream.
    pub(super) fn holds(&mut self, place: Held) {
        self.place = Some(place);
    }

    /// Writes its line in a book as well.
    pub(super) fn enter(&mut self, book: &Arc<Book>, line: Line) {
        self.entry = Some((book.clone(), book.open(line)));
    }

    /// The upstream begins on it now.
    pub(super) fn begin(&self, at: Timestamp) {
        if let Some((book, row)) = &self.entry {
            book.begin(*row, at);
        }
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
            usage: self.usage,
            cost: None,
            drift: match outcome {
                Outcome::ClientGone => Drift::NONE,
                _ => self.drift,
            },
        };
        self.shared.outbox.send(at, What::UpstreamEnded(ended));
        if let Some((book, row)) = &self.entry {
            book.close(*row, at, outcome, self.usage);
        }
        self.shared.open.fetch_sub(1, Ordering::AcqRel);
        self.place = None;
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        let now = self.shared.clock.now();
        self.close(now, Outcome::ClientGone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::outbox::outbox;

    fn ledger(version: u8, underway: &Underway) -> Ledger {
        let clock = Clock::starting_now();
        Ledger::new(VersionId(version), clock, outbox().0, underway.clone())
    }

    fn try_of(ledger: &Ledger, key: u64) -> u32 {
        ledger.accept(Some(RequestKey(key)), || None).ordinal()
    }

    #[test]
    fn tries_are_counted_for_each_upstream_and_forgotten_with_their_request() {
        let underway = Underway::default();
        let (stable, canary) = (ledger(0, &underway), ledger(1, &underway));
        underway.note(RequestKey(7), Some(1));
        assert_eq!([try_of(&canary, 7), try_of(&canary, 7)], [0, 1]);
        assert_eq!([try_of(&stable, 7), try_of(&canary, 7)], [0, 2]);
        underway.forget(RequestKey(7));
        assert!(underway.is_empty());
        underway.note(RequestKey(7), None);
        assert_eq!(try_of(&canary, 7), 0);
    }

    #[test]
    fn a_body_is_compared_with_what_its_client_sent() {
        let underway = Underway::default();
        let ledger = ledger(0, &underway);
        let altered = |key| ledger.accept(Some(RequestKey(key)), || Some(5)).altered;
        underway.note(RequestKey(1), Some(5));
        underway.note(RequestKey(2), Some(6));
        underway.note(RequestKey(3), None);
        let found = [altered(1), altered(2), altered(3), altered(4)];
        assert_eq!(found, [Some(false), Some(true), None, None]);
    }

    #[test]
    fn an_answer_is_known_by_its_id_while_its_request_is_under_way() {
        let underway = Underway::default();
        let ledger = ledger(0, &underway);
        let give = |key, id| ledger.accept(Some(RequestKey(key)), || None).gives(id);
        give(9, "of nobody");
        underway.note(RequestKey(1), None);
        underway.note(RequestKey(2), None);
        give(1, "a");
        give(2, "b");
        let found = ["a", "b", "of nobody", "c"].map(|id| underway.answered(id));
        assert_eq!(
            found,
            [Some(RequestKey(1)), Some(RequestKey(2)), None, None]
        );
        give(2, "a");
        assert_eq!(underway.answered("a"), None, "it is two answers'");
        underway.forget(RequestKey(2));
        assert_eq!(underway.answered("b"), None);
        underway.forget(RequestKey(1));
        assert!(underway.lock().answers.is_empty());
    }

    #[test]
    fn strangers_are_remembered_up_to_a_limit() {
        let ledger = ledger(0, &Underway::default());
        assert_eq!([try_of(&ledger, 0), try_of(&ledger, 0)], [0, 1]);
        (1..KEYS_REMEMBERED as u64).for_each(|key| assert_eq!(try_of(&ledger, key), 0));
        assert_eq!(try_of(&ledger, 0), 2, "still among the newest");
        try_of(&ledger, KEYS_REMEMBERED as u64);
        assert_eq!(try_of(&ledger, 0), 0, "forgotten");
        let newest = ledger.shared.newest.lock().unwrap();
        assert_eq!(newest.tries.len(), KEYS_REMEMBERED);
        assert_eq!(newest.keys.len(), KEYS_REMEMBERED);
    }
}
