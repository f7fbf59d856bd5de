//! From attempts to requests. A gateway that writes a record an attempt tells more attempts than its callers made
//! requests; what it writes beside each (LiteLLM's `trace_id`) groups them, but a trace can be an agent's whole work, and
//! hold many requests.
//!
//! Attempts come in order of arrival. One continues a request of its own trace when the attempt before it failed, it begins
//! no earlier than that one ended ([`TOLERANCE`]) and no later than a [limit](Grouper::new) after it, and nothing says that they ask
//! different things: their messages are equal, or their tokens where not both have messages, and so are their sessions. Otherwise it begins a new
//! request. Requests are handed out whole, in order of their first attempts.
//!
//! Memory does not grow with the log: a request that may go on holds back those behind it, at most [`MOST_HELD`] of them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use smallvec::{SmallVec, smallvec};

use crate::protocol::outcome::Outcome;
use crate::time::nanos;
use crate::traffic::format::Record;
use crate::traffic::log::fingerprint::{fingerprint, fingerprint_of};

/// So much before the end of the attempt before it an attempt may begin: clocks are rounded.
pub const TOLERANCE: Duration = Duration::from_millis(1);
/// How long after a failure the next attempt may begin, unless somebody says otherwise.
pub const LIMIT: Duration = Duration::from_secs(600);
/// Requests that wait for others before them. Past that, the first one is taken as it is.
pub const MOST_HELD: usize = 1 << 16;
/// Requests of one trace that may go on at once. Past that, the oldest one is over.
pub const MOST_IN_TRACE: usize = 64;
/// Attempts of one request. The next one begins another request.
pub const MOST_ATTEMPTS: usize = 64;

/// One attempt, as far as it must be known to find its request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempt<T> {
    /// When it began, in nanoseconds of the log's own clock.
    pub at: i64,
    /// How long it took.
    pub latency: Option<Duration>,
    /// How it ended.
    pub end: Option<Outcome>,
    /// Its trace, by a fingerprint of the name. Without one it is a request of its own.
    pub trace: Option<u64>,
    /// Its session, by a fingerprint of the name.
    pub session: Option<u64>,
    /// What it asks, by a fingerprint of its messages.
    pub contents: Option<u64>,
    /// Tokens of its prompt, as the log states them; 0 is what gateways write when they do not know.
    pub input_tokens: Option<u32>,
    /// Whatever belongs to it.
    pub of: T,
}

impl<T> Attempt<T> {
    /// What a record says of itself.
    pub fn of(record: &Record, of: T) -> Self {
        let messages = record.body.as_ref().and_then(|body| body.get("messages"));
        Self {
            at: record.at.unwrap_or_default(),
            latency: record.latency,
            end: record.end,
            trace: record.trace.as_deref().map(fingerprint),
            session: record.session.as_deref().map(fingerprint),
            contents: messages.map(fingerprint_of),
            input_tokens: record.input_tokens,
            of,
        }
    }

    fn has_failed(&self) -> bool {
        self.end.is_some_and(|end| !end.is_success())
    }

    /// When it ended, as far as anybody knows.
    pub fn ended_at(&self) -> i64 {
        let length = nanos(self.latency.unwrap_or_default());
        self.at.saturating_add_unsigned(length)
    }

    /// Might both ask the same thing?
    fn asks_like<U>(&self, other: &Attempt<U>) -> bool {
        let is_same = |a: Option<u64>, b: Option<u64>| a.is_none() || b.is_none() || a == b;
        let stated = |tokens: Option<u32>| tokens.filter(|n| *n > 0).map(u64::from);
        // Another model may count the same messages otherwise.
        let asks = match (self.contents, other.contents) {
            (Some(a), Some(b)) => a == b,
            _ => is_same(stated(self.input_tokens), stated(other.input_tokens)),
        };
        asks && is_same(self.session, other.session)
    }

    /// May this come right after that one, at most `limit` later?
    pub fn follows<U>(&self, before: &Attempt<U>, limit: Duration) -> bool {
        let ended = before.ended_at();
        let earliest = ended.saturating_sub_unsigned(nanos(TOLERANCE));
        let latest = ended.saturating_add_unsigned(nanos(limit));
        let is_in_time = self.at >= earliest.max(before.at) && self.at <= latest;
        before.has_failed() && is_in_time && self.asks_like(before)
    }
}

/// The attempts of one request in order; there is always a first one.
pub type Request<T> = SmallVec<[Attempt<T>; 1]>;

/// What a grouper has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Attempts.
    pub attempts: u64,
    /// Those of them that continue the request of another: as many as there are requests fewer than attempts.
    pub merged: u64,
    /// Requests that might have gone on, and were taken as they were, since too much was held.
    pub cut_short: u64,
}

/// Puts attempts together. [`push`](Self::push) them in order of arrival, each time [`pop`](Self::pop) requests until there is
/// none, and do that once more after [`finish`](Self::finish).
#[derive(Debug)]
pub struct Grouper<T> {
    limit: Duration,
    most_held: usize,
    /// Requests in order, from the first one that may go on.
    held: VecDeque<Request<T>>,
    /// The number of the first of them, counted from the beginning of the log.
    first: u64,
    /// The numbers of those that may go on, by trace, the oldest first.
    open: BTreeMap<u64, VecDeque<u64>>,
    now: i64,
    is_over: bool,
    counts: Counts,
}

impl<T> Grouper<T> {
    /// Attempts of one request begin at most `limit` after the failure before them.
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            most_held: MOST_HELD,
            held: VecDeque::new(),
            first: 0,
            open: BTreeMap::new(),
            now: i64::MIN,
            is_over: false,
            counts: Counts::default(),
        }
    }

    /// What it has seen so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Is nothing held back?
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Takes the next attempt in.
    pub fn push(&mut self, attempt: Attempt<T>) {
        self.counts.attempts += 1;
        self.now = self.now.max(attempt.at);
        match self.continued_by(&attempt) {
            Some(number) => self.go_on(number, attempt),
            None => self.begin(attempt),
        }
    }

    /// The log is over: no request goes on any more.
    pub fn finish(&mut self) {
        self.is_over = true;
    }

    /// The next request that is complete, in order of first attempts.
    pub fn pop(&mut self) -> Option<Request<T>> {
        let is_cut = match self.may_go_on(self.first) {
            false => false,
            true if self.held.len() > self.most_held => true,
            true => return None,
        };
        self.counts.cut_short += u64::from(is_cut);
        let request = self.held.pop_front()?;
        let trace = request.first().and_then(|attempt| attempt.trace);
        self.close(trace, self.first);
        self.first += 1;
        Some(request)
    }

    /// The last attempt so far of a request that is held.
    fn last(&self, number: u64) -> Option<&Attempt<T>> {
        let place = number.checked_sub(self.first)?;
        self.held.get(place as usize)?.last()
    }

    /// May another attempt still belong to it?
    fn may_go_on(&self, number: u64) -> bool {
        let Some(last) = self.last(number) else {
            return false;
        };
        let open = last.trace.and_then(|trace| self.open.get(&trace));
        let until = last.ended_at().saturating_add_unsigned(nanos(self.limit));
        !self.is_over && self.now <= until && open.is_some_and(|open| open.contains(&number))
    }

    /// The request that an attempt continues: of those that it can, the one that failed last.
    fn continued_by(&self, attempt: &Attempt<T>) -> Option<u64> {
        let open = self.open.get(&attempt.trace?)?;
        let fitting = open.iter().filter_map(|n| Some((self.last(*n)?, *n)));
        let fitting = fitting.filter(|(last, _)| attempt.follows(last, self.limit));
        let latest = fitting.max_by_key(|(last, n)| (last.ended_at(), *n));
        latest.map(|(_, number)| number)
    }

    fn go_on(&mut self, number: u64, attempt: Attempt<T>) {
        self.counts.merged += 1;
        let (trace, place) = (attempt.trace, (number - self.first) as usize);
        let Some(request) = self.held.get_mut(place) else {
            return;
        };
        let is_over = !attempt.has_failed() || request.len() + 1 >= MOST_ATTEMPTS;
        request.push(attempt);
        if is_over {
            self.close(trace, number);
        }
    }

    fn begin(&mut self, attempt: Attempt<T>) {
        let number = self.first + self.held.len() as u64;
        let trace = attempt.trace.filter(|_| attempt.has_failed());
        self.held.push_back(smallvec![attempt]);
        let Some(trace) = trace else { return };
        let open = self.open.entry(trace).or_default();
        open.push_back(number);
        let oldest = open.front().copied();
        if let Some(oldest) = oldest.filter(|_| open.len() > MOST_IN_TRACE) {
            self.counts.cut_short += u64::from(self.may_go_on(oldest));
            self.close(Some(trace), oldest);
        }
    }

    /// A request of a trace does not go on.
    fn close(&mut self, trace: Option<u64>, number: u64) {
        let Some(trace) = trace else { return };
        if let Some(open) = self.open.get_mut(&trace) {
            open.retain(|n| *n != number);
            if open.is_empty() {
                self.open.remove(&trace);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: i64 = 1_000_000_000;

    fn attempt(at: i64, took: u64, end: Outcome) -> Attempt<u32> {
        Attempt {
            at: at * S,
            latency: Some(Duration::from_secs(took)),
            end: Some(end),
            trace: Some(1),
            ..Attempt::default()
        }
    }

    /// The requests that come of attempts, each with the numbers of its attempts, and the counts.
    fn grouped(attempts: &[Attempt<u32>], grouper: Grouper<u32>) -> (Vec<Vec<u32>>, Counts) {
        let mut grouper = grouper;
        let mut all = Vec::new();
        let numbers = |request: Request<u32>| request.iter().map(|a| a.of).collect::<Vec<_>>();
        for (of, attempt) in (0..).zip(attempts) {
            grouper.push(Attempt { of, ..*attempt });
            all.extend(std::iter::from_fn(|| grouper.pop()).map(numbers));
        }
        grouper.finish();
        all.extend(std::iter::from_fn(|| grouper.pop()).map(numbers));
        assert!(grouper.is_empty() && grouper.open.is_empty());
        (all, grouper.counts())
    }

    fn requests(attempts: &[Attempt<u32>]) -> Vec<Vec<u32>> {
        grouped(attempts, Grouper::new(LIMIT)).0
    }

    const FAILED: Outcome = Outcome::RateLimited;
    const SERVED: Outcome = Outcome::Success;

    #[test]
    fn what_follows_a_failure_belongs_to_its_request_and_what_follows_a_success_does_not() {
        let retried = [
            attempt(0, 2, FAILED),
            attempt(3, 2, FAILED),
            attempt(6, 1, SERVED),
        ];
        assert_eq!(requests(&retried), [[0, 1, 2]]);
        let agent = [
            attempt(0, 2, SERVED),
            attempt(3, 2, FAILED),
            attempt(6, 1, SERVED),
        ];
        assert_eq!(requests(&agent), [vec![0], vec![1, 2]]);
        let untold = [
            Attempt {
                end: None,
                ..attempt(0, 2, FAILED)
            },
            attempt(3, 1, SERVED),
        ];
        assert_eq!(requests(&untold), [[0], [1]]);
        let without = retried.map(|a| Attempt { trace: None, ..a });
        assert_eq!(requests(&without), [[0], [1], [2]]);
    }

    #[test]
    fn an_attempt_begins_after_the_one_before_it_and_not_long_after() {
        let begins = |at: i64, limit: u64| {
            let second = Attempt {
                at,
                ..attempt(0, 1, SERVED)
            };
            let grouper = Grouper::new(Duration::from_secs(limit));
            grouped(&[attempt(0, 2, FAILED), second], grouper).0.len()
        };
        let ms = S / 1_000;
        assert_eq!([begins(2 * S - ms, 9), begins(2 * S - ms - 1, 9)], [1, 2]);
        assert_eq!([begins(11 * S, 9), begins(11 * S + 1, 9)], [1, 2]);
        let unknown = Attempt {
            latency: None,
            ..attempt(0, 0, FAILED)
        };
        assert_eq!(requests(&[unknown, attempt(0, 1, SERVED)]), [[0, 1]]);
    }

    #[test]
    fn what_asks_something_else_is_another_request() {
        let first = attempt(0, 1, FAILED);
        let next = attempt(2, 1, SERVED);
        let with = |a: Option<u64>, b: Option<u64>| {
            let contents = |one: Attempt<u32>, contents| Attempt { contents, ..one };
            let session = |one: Attempt<u32>, session| Attempt { session, ..one };
            let tokens = |one: Attempt<u32>, n: Option<u64>| Attempt {
                input_tokens: n.map(|n| n as u32),
                ..one
            };
            [
                requests(&[contents(first, a), contents(next, b)]).len(),
                requests(&[session(first, a), session(next, b)]).len(),
                requests(&[tokens(first, a), tokens(next, b)]).len(),
            ]
        };
        assert_eq!(with(Some(7), Some(8)), [2, 2, 2]);
        assert_eq!(with(Some(7), Some(7)), [1, 1, 1]);
        assert_eq!(with(Some(7), None), [1, 1, 1]);
        let counted = |tokens| Attempt {
            contents: Some(5),
            input_tokens: Some(tokens),
            ..next
        };
        let same = [
            Attempt {
                end: first.end,
                at: 0,
                ..counted(7)
            },
            counted(9),
        ];
        assert_eq!(
            requests(&same).len(),
            1,
            "messages decide, not who counts them"
        );
        // A count of 0 is none at all; a fingerprint of 0 is one like any other.
        assert_eq!(with(Some(0), Some(8)), [2, 2, 1]);
    }

    #[test]
    fn requests_of_one_trace_that_overlap_are_told_apart_by_what_they_ask() {
        let asks = |one: Attempt<u32>, contents| Attempt {
            contents: Some(contents),
            ..one
        };
        let attempts = [
            asks(attempt(0, 3, FAILED), 1),
            asks(attempt(1, 1, FAILED), 2),
            asks(attempt(4, 1, SERVED), 1),
            asks(attempt(5, 1, SERVED), 2),
        ];
        assert_eq!(requests(&attempts), [[0, 2], [1, 3]]);
        // Where nobody can tell, it is the one that failed last.
        let unknown = attempts.map(|a| Attempt {
            contents: None,
            ..a
        });
        assert_eq!(requests(&unknown), [[0, 2], [1, 3]]);
    }

    #[test]
    fn no_more_is_held_than_it_may_be_and_what_is_cut_short_is_counted() {
        let lonely = |n: i64| Attempt {
            trace: Some(n as u64),
            ..attempt(n, 1, FAILED)
        };
        let attempts: Vec<_> = (0..20)
            .map(lonely)
            .chain([attempt(20, 1, SERVED)])
            .collect();
        let small = Grouper {
            most_held: 5,
            ..Grouper::new(LIMIT)
        };
        let (all, counts) = grouped(&attempts, small);
        assert_eq!((all.len(), counts.cut_short), (21, 16));
        assert_eq!(grouped(&attempts, Grouper::new(LIMIT)).1.merged, 1);
        // One name for everything: as many are open as may be, and the oldest are given up.
        let asks = |n: i64| Attempt {
            contents: Some(n as u64),
            ..attempt(0, 1, FAILED)
        };
        let attempts: Vec<_> = (0..100).map(asks).collect();
        let (all, counts) = grouped(&attempts, Grouper::new(LIMIT));
        assert_eq!(
            (all.len(), counts.cut_short),
            (100, 100 - MOST_IN_TRACE as u64)
        );
        let endless: Vec<_> = (0..130).map(|n| attempt(n, 1, FAILED)).collect();
        let lengths: Vec<usize> = requests(&endless).iter().map(Vec::len).collect();
        assert_eq!(lengths, [64, 64, 2]);
    }

    fn any_attempt() -> impl Strategy<Value = Attempt<u32>> {
        let end = prop_oneof![Just(None), Just(Some(SERVED)), Just(Some(FAILED))];
        let told = || prop::option::of(0..3_u64);
        let times = (0..20_i64, prop::option::of(0..5_u64));
        (times, end, told(), told(), told(), told()).prop_map(
            |((at, took), end, trace, session, contents, tokens)| Attempt {
                at: at * S,
                latency: took.map(Duration::from_secs),
                end,
                trace,
                session,
                contents,
                input_tokens: tokens.map(|n| n as u32),
                of: 0,
            },
        )
    }

    proptest! {
        /// Nothing is lost, nothing comes twice, requests are in order, and every attempt follows the one before it.
        #[test]
        fn requests_are_made_of_all_attempts_and_of_nothing_else(
            mut attempts in prop::collection::vec(any_attempt(), 0..60),
            most_held in 0..10_usize,
            limit in 0..6_u64,
        ) {
            attempts.sort_by_key(|attempt| attempt.at);
            let limit = Duration::from_secs(limit);
            let grouper = Grouper { most_held, ..Grouper::new(limit) };
            let (requests, counts) = grouped(&attempts, grouper);
            let mut all = requests.concat();
            all.sort_unstable();
            prop_assert_eq!(all, Vec::from_iter(0..attempts.len() as u32));
            prop_assert!(requests.is_sorted_by_key(|request| request[0]));
            let merged = attempts.len() - requests.len();
            prop_assert_eq!((counts.attempts, counts.merged), (attempts.len() as u64, merged as u64));
            for request in requests {
                for pair in request.windows(2) {
                    let [before, after] = [pair[0], pair[1]].map(|n| &attempts[n as usize]);
                    prop_assert!(before.trace.is_some() && before.trace == after.trace);
                    prop_assert!(after.follows(before, limit));
                }
            }
        }

        /// Whoever could continue a request does, unless something was given up.
        #[test]
        fn no_request_begins_that_could_have_gone_on(
            mut attempts in prop::collection::vec(any_attempt(), 0..60),
        ) {
            attempts.sort_by_key(|attempt| attempt.at);
            let (requests, counts) = grouped(&attempts, Grouper::new(LIMIT));
            prop_assert_eq!(counts.cut_short, 0);
            for request in &requests {
                let first = &attempts[request[0] as usize];
                let could = requests.iter().any(|other| {
                    let before = other.iter().filter(|n| **n < request[0]).max();
                    before.is_some_and(|n| {
                        let last = &attempts[*n as usize];
                        last.trace.is_some() && last.trace == first.trace && first.follows(last, LIMIT)
                    })
                });
                prop_assert!(!could);
            }
        }
    }
}
