//! A version's rate limiter: never more than so many requests in any window *at the upstream*.
//!
//! The limiter remembers when it let the last `requests` attempts go, and lets the next one go once
//! the oldest of them is a window plus a guard ago. That is a sliding window without buckets: exact,
//! O(1), and no larger than the limit.
//!
//! Why the guard: the limit is the upstream's, who counts when requests *arrive*. Two that leave a
//! window apart arrive closer together when the first one is held up on its way. As long as no
//! request takes more than the guard longer than any other, the request `requests` places later
//! arrives at least a window after it, so no half-open window `[t, t + window)` sees more of them.
//!
//! Who cannot go at once waits in a queue, first in, first out. Nobody overtakes: while anybody
//! waits, [`Limiter::try_take`] refuses. Waiting ends by [`Limiter::pop_ready`], or by
//! [`Limiter::remove`] when the wait's maximum is over, the request's deadline passed or the caller
//! hung up; the limiter itself never drops anybody.
//!
//! How to drive it: `try_take` at the time of an attempt; if refused, `enqueue` unless that is hopeless
//! ([`Limiter::is_hopeless`]), and set a deadline at the time it returns. When [`Limiter::next`] comes, `pop_ready` until it gives nobody.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{IdMap, RequestId};
use crate::time::Timestamp;

/// The limit of one version. Retries and fallbacks count like first attempts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimit {
    /// Attempts the upstream takes in any window; at least 1, or nothing is ever let through.
    pub requests: u32,
    /// Length of the window.
    pub window: Duration,
    /// Longest wait in the queue.
    pub max_wait: Duration,
    /// By how much the time to the upstream may differ between two attempts.
    pub guard: Duration,
}

impl Default for RateLimit {
    /// 60 a minute.
    fn default() -> Self {
        Self {
            requests: 60,
            window: Duration::from_secs(60),
            max_wait: Duration::from_secs(10),
            guard: Duration::from_millis(50),
        }
    }
}

impl RateLimit {
    /// How long an attempt keeps its slot.
    fn hold(&self) -> Duration {
        self.window.saturating_add(self.guard)
    }
}

/// Somebody in the queue.
#[derive(Clone, Copy, Debug)]
struct Waiter {
    request: RequestId,
    since: Timestamp,
    until: Timestamp,
}

/// The limiter of one version.
#[derive(Clone, Debug)]
pub struct Limiter {
    config: RateLimit,
    /// When the last attempts were let go, oldest first; at most as many as the limit.
    taken: VecDeque<Timestamp>,
    /// Who waits, by ticket: in the order of arrival.
    queue: BTreeMap<u64, Waiter>,
    /// The ticket of everybody who waits.
    tickets: IdMap<RequestId, u64>,
    next_ticket: u64,
}

impl Limiter {
    /// A limiter that has let nobody through yet.
    pub fn new(config: RateLimit) -> Self {
        Self {
            config,
            taken: VecDeque::new(),
            queue: BTreeMap::new(),
            tickets: IdMap::default(),
            next_ticket: 0,
        }
    }

    /// The limit from now on. What was let through counts against it, up to as many as the old limit
    /// allowed; whoever waits keeps place and patience.
    pub fn reconfigure(&mut self, config: RateLimit) {
        self.config = config;
    }

    /// Takes a slot, if one is free and nobody waits for it.
    pub fn try_take(&mut self, now: Timestamp) -> bool {
        let may = self.queue.is_empty() && self.is_free(now);
        if may {
            self.take(now);
        }
        may
    }

    /// Would whoever comes now wait in vain, even if everybody ahead left the queue? No slot is given back
    /// before its time, so the first moment at which one is free is known.
    pub fn is_hopeless(&self, now: Timestamp, expires: Timestamp) -> bool {
        let until = expires.min(now + self.config.max_wait);
        // At the very end of its wait a request is turned away before anybody is let through.
        self.free_at().is_none_or(|at| at.max(now) >= until)
    }

    /// Puts a request at the end of the queue; returns when its longest wait is over. One that waits
    /// already keeps its place and its time.
    pub fn enqueue(&mut self, now: Timestamp, request: RequestId) -> Timestamp {
        let known = self.tickets.get(request);
        if let Some(waiter) = known.and_then(|ticket| self.queue.get(ticket)) {
            return waiter.until;
        }
        let waiter = Waiter {
            request,
            since: now,
            until: now + self.config.max_wait,
        };
        self.queue.insert(self.next_ticket, waiter);
        self.tickets.insert(request, self.next_ticket);
        self.next_ticket += 1;
        waiter.until
    }

    /// When the head of the queue can be let through: a time that has passed when it can be at once,
    /// none when nobody waits or no slot will ever be free.
    pub fn next(&self) -> Option<Timestamp> {
        let (_, head) = self.queue.first_key_value()?;
        Some(self.free_at()?.max(head.since))
    }

    /// Lets the head of the queue through, if a slot is free.
    pub fn pop_ready(&mut self, now: Timestamp) -> Option<RequestId> {
        if !self.is_free(now) {
            return None;
        }
        let (_, head) = self.queue.pop_first()?;
        self.tickets.remove(head.request);
        self.take(now);
        Some(head.request)
    }

    /// The attempt that was let go last is sent only now: its slot is kept from now on. For a driver
    /// that is late, since what the upstream sees is when it was sent, not when it could have been.
    pub fn sent_at(&mut self, now: Timestamp) {
        if let Some(last) = self.taken.back_mut() {
            *last = now.max(*last);
        }
    }

    /// Takes a request out of the queue that will not be sent. Was it there?
    pub fn remove(&mut self, request: RequestId) -> bool {
        let ticket = self.tickets.remove(request);
        ticket.is_some_and(|ticket| self.queue.remove(&ticket).is_some())
    }

    /// How many wait.
    pub fn queue_len(&self) -> usize {
        self.queue.len()
    }

    /// Bytes kept on the heap, about.
    pub fn bytes(&self) -> usize {
        // A node of the tree is two thirds full on average.
        let queue = self.queue.len() * size_of::<(u64, Waiter)>() * 3 / 2;
        let tickets = self.tickets.capacity() * size_of::<(RequestId, u64)>();
        self.taken.capacity() * size_of::<Timestamp>() + queue + tickets
    }

    fn is_free(&self, now: Timestamp) -> bool {
        self.free_at().is_some_and(|at| at <= now)
    }

    /// When a slot is free; the start of the run when one is, none when there are no slots at all.
    pub fn free_at(&self) -> Option<Timestamp> {
        let limit = self.config.requests as usize;
        if self.taken.len() < limit {
            return Some(Timestamp::ZERO);
        }
        // The attempt after whose time the window holds one less than the limit.
        let last = self.taken.get(self.taken.len() - limit)?;
        Some(*last + self.config.hold())
    }

    fn take(&mut self, now: Timestamp) {
        while self.taken.len() >= (self.config.requests as usize).max(1) {
            self.taken.pop_front();
        }
        // In order, even if somebody's clock is not.
        let last = self.taken.back().copied().unwrap_or_default();
        self.taken.push_back(now.max(last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: u64 = 1_000_000_000;

    fn limit(requests: u32, window: u64, guard: u64) -> RateLimit {
        RateLimit {
            requests,
            window: Duration::from_nanos(window),
            guard: Duration::from_nanos(guard),
            max_wait: Duration::from_nanos(1_000),
        }
    }

    fn id(n: u64) -> RequestId {
        RequestId(n)
    }

    #[test]
    fn a_slot_frees_a_window_and_a_guard_after_it_was_taken() {
        let mut limiter = Limiter::new(RateLimit::default());
        for i in 0..60 {
            assert!(limiter.try_take(Timestamp(i * S / 10)));
        }
        let early = Timestamp(60 * S + 49_999_999);
        assert!(!limiter.try_take(early), "the guard is not over");
        assert_eq!(limiter.next(), None, "nobody waits");
        let until = limiter.enqueue(early, id(7));
        assert_eq!(until, early + Duration::from_secs(10));
        assert_eq!(limiter.next(), Some(Timestamp(60 * S + 50_000_000)));
        assert_eq!(limiter.pop_ready(early), None);
        let due = limiter.next().unwrap();
        assert_eq!(limiter.pop_ready(due), Some(id(7)));
        assert!(
            !limiter.try_take(due),
            "the second slot was taken 0.1 s later"
        );
    }

    #[test]
    fn nobody_overtakes_the_queue() {
        let mut limiter = Limiter::new(limit(1, 10, 0));
        assert!(limiter.try_take(Timestamp(0)));
        limiter.enqueue(Timestamp(1), id(1));
        limiter.enqueue(Timestamp(2), id(2));
        assert!(
            !limiter.try_take(Timestamp(10)),
            "the free slot is the first one's"
        );
        assert_eq!(limiter.pop_ready(Timestamp(10)), Some(id(1)));
        assert_eq!(limiter.pop_ready(Timestamp(19)), None);
        assert_eq!(limiter.next(), Some(Timestamp(20)));
        assert_eq!(limiter.pop_ready(Timestamp(20)), Some(id(2)));
    }

    #[test]
    fn who_waits_twice_keeps_the_first_place_and_who_left_is_gone() {
        let mut limiter = Limiter::new(limit(1, 10, 0));
        assert!(limiter.try_take(Timestamp(0)));
        let until = limiter.enqueue(Timestamp(1), id(1));
        limiter.enqueue(Timestamp(2), id(2));
        assert_eq!(limiter.enqueue(Timestamp(3), id(1)), until);
        assert_eq!(limiter.queue_len(), 2);
        assert!(limiter.remove(id(1)));
        assert!(!limiter.remove(id(1)));
        limiter.enqueue(Timestamp(4), id(1));
        assert_eq!(limiter.pop_ready(Timestamp(10)), Some(id(2)));
        assert_eq!(limiter.pop_ready(Timestamp(20)), Some(id(1)));
    }

    #[test]
    fn who_waits_for_a_free_slot_can_go_at_once() {
        let mut limiter = Limiter::new(limit(1, 10, 0));
        limiter.enqueue(Timestamp(5), id(1));
        assert_eq!(limiter.next(), Some(Timestamp(5)));
    }

    #[test]
    fn a_limit_of_nothing_lets_nobody_through() {
        let mut limiter = Limiter::new(limit(0, 10, 0));
        assert!(!limiter.try_take(Timestamp::MAX));
        limiter.enqueue(Timestamp(0), id(1));
        assert_eq!(limiter.next(), None);
        assert_eq!(limiter.pop_ready(Timestamp::MAX), None);
    }

    #[test]
    fn who_would_wait_in_vain_is_known_at_once() {
        let mut limiter = Limiter::new(limit(1, 2_000, 0));
        let expires = Timestamp(10_000);
        assert!(
            !limiter.is_hopeless(Timestamp(0), expires),
            "a slot is free"
        );
        assert!(limiter.try_take(Timestamp(0)));
        assert!(limiter.is_hopeless(Timestamp(999), expires));
        assert!(
            limiter.is_hopeless(Timestamp(1_000), expires),
            "turned away in the same moment"
        );
        assert!(!limiter.is_hopeless(Timestamp(1_001), expires));
        assert!(limiter.is_hopeless(Timestamp(1_001), Timestamp(2_000)));
        limiter.enqueue(Timestamp(1_001), id(1));
        assert!(
            !limiter.is_hopeless(Timestamp(1_002), expires),
            "the first may leave"
        );
    }

    #[test]
    fn a_lower_limit_counts_what_went_before_it() {
        let mut limiter = Limiter::new(limit(3, 10, 0));
        for at in [0, 4, 8] {
            assert!(limiter.try_take(Timestamp(at)));
        }
        limiter.reconfigure(limit(1, 10, 0));
        assert!(!limiter.try_take(Timestamp(17)));
        assert!(limiter.try_take(Timestamp(18)));
        limiter.reconfigure(limit(2, 20, 0));
        assert!(limiter.try_take(Timestamp(19)));
        assert!(!limiter.try_take(Timestamp(37)));
        assert!(limiter.try_take(Timestamp(38)));
    }

    #[test]
    fn memory_follows_limit_and_queue() {
        let mut limiter = Limiter::new(limit(10, 1, 0));
        for i in 0..100_000 {
            assert!(limiter.try_take(Timestamp(i)));
        }
        assert!(limiter.bytes() < 300, "{}", limiter.bytes());
        let full = Timestamp(99_999);
        for i in 0..1_000 {
            limiter.enqueue(full, id(i));
            assert!(limiter.remove(id(i)));
        }
        for i in 0..1_000 {
            let now = full + Duration::from_nanos(i);
            limiter.enqueue(now, id(i));
            assert_eq!(
                limiter.pop_ready(now + Duration::from_nanos(1)),
                Some(id(i))
            );
        }
        assert_eq!(limiter.queue_len(), 0);
        assert!(limiter.bytes() < 1_000, "{}", limiter.bytes());
    }

    #[test]
    fn it_goes_through_files_and_back() {
        let json = serde_json::to_string(&RateLimit::default()).unwrap();
        let back: RateLimit = serde_json::from_str(&json).unwrap();
        assert_eq!(back, RateLimit::default());
    }

    /// What may happen to a limiter.
    #[derive(Clone, Debug)]
    enum Step {
        /// Time passes.
        Pass(u64),
        /// So many requests come at one moment: whoever cannot go waits.
        Come(u8),
        /// The one with this place in the queue, counted round, leaves it.
        Leave(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..40_u64).prop_map(Step::Pass),
            (1..6_u8).prop_map(Step::Come),
            any::<usize>().prop_map(Step::Leave),
        ]
    }

    /// The slow limiter: all dispatches there ever were, and a list of who waits.
    #[derive(Default)]
    struct Slow {
        sent: Vec<(u64, RequestId)>,
        queue: Vec<RequestId>,
    }

    impl Slow {
        fn is_free(&self, limit: &RateLimit, at: u64) -> bool {
            let hold = limit.hold().as_nanos() as u64;
            let held = self.sent.iter().filter(|(s, _)| s + hold > at).count();
            held < limit.requests as usize
        }

        /// Everybody who may go until `now`, at the earliest moment each.
        fn run(&mut self, limit: &RateLimit, from: u64, now: u64) {
            for at in from..=now {
                while !self.queue.is_empty() && self.is_free(limit, at) {
                    let first = self.queue.remove(0);
                    self.sent.push((at, first));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn equals_brute_force_and_holds_the_limit_at_the_upstream(
            requests in 1..6_u32,
            window in 1..30_u64,
            guard in 0..10_u64,
            steps in prop::collection::vec(step(), 1..60),
            delays in prop::collection::vec(any::<u64>(), 1..40),
            patience in 1..60_u64,
        ) {
            let config = limit(requests, window, guard);
            let mut limiter = Limiter::new(config.clone());
            let (mut slow, mut sent) = (Slow::default(), Vec::new());
            let (mut now, mut next_id) = (0, 0);
            for step in steps {
                match step {
                    Step::Pass(time) => {
                        slow.run(&config, now, now + time);
                        now += time;
                        // As a driver does: at each moment that was asked for.
                        while let Some(due) = limiter.next().filter(|due| due.0 <= now) {
                            let request = limiter.pop_ready(due);
                            prop_assert!(request.is_some(), "it was due");
                            sent.extend(request.map(|r| (due.0, r)));
                        }
                    }
                    Step::Come(n) => for _ in 0..n {
                        let request = id(next_id);
                        next_id += 1;
                        if limiter.try_take(Timestamp(now)) {
                            sent.push((now, request));
                        } else {
                            let until = limiter.enqueue(Timestamp(now), request);
                            prop_assert_eq!(until.0, now + 1_000);
                        }
                        slow.queue.push(request);
                        slow.run(&config, now, now);
                    },
                    Step::Leave(place) => if !slow.queue.is_empty() {
                        let place = place % slow.queue.len();
                        let request = slow.queue.remove(place);
                        prop_assert!(limiter.remove(request));
                    },
                }
                prop_assert_eq!(&sent, &slow.sent);
                prop_assert_eq!(limiter.queue_len(), slow.queue.len());
                // It is hopeless exactly when no moment of the wait has a slot for anybody.
                let until = now + patience;
                let in_vain = !(now..until).any(|at| slow.is_free(&config, at));
                let hopeless = limiter.is_hopeless(Timestamp(now), Timestamp(until));
                prop_assert_eq!(hopeless, in_vain);
            }
            // First in, first out: ids count up with the time of arrival.
            prop_assert!(sent.windows(2).all(|pair| pair[0].1 < pair[1].1));
            // Each arrives up to a guard later than it was sent, in whatever order that gives.
            let arrivals: Vec<u64> = sent.iter().zip(delays.iter().cycle())
                .map(|((at, _), delay)| at + delay % (guard + 1))
                .collect();
            for start in &arrivals {
                let inside = arrivals.iter().filter(|a| (*start..start + window).contains(a));
                prop_assert!(inside.count() <= requests as usize);
            }
            // Nobody starves: when nobody else comes, each gets through, a window at a time.
            let patience = (limiter.queue_len() as u64 + 1) * (window + guard);
            while let Some(due) = limiter.next() {
                prop_assert!(due.0 <= now + patience);
                prop_assert!(limiter.pop_ready(due).is_some());
            }
            prop_assert_eq!(limiter.queue_len(), 0);
        }

        /// Several who ask in any order and late: the limit holds whatever a driver does.
        #[test]
        fn the_limit_holds_whenever_it_is_asked(
            requests in 1..5_u32,
            window in 1..30_u64,
            guard in 0..10_u64,
            calls in prop::collection::vec((0..15_u64, 0..3_u8), 1..200),
            delays in prop::collection::vec(any::<u64>(), 1..40),
        ) {
            let mut limiter = Limiter::new(limit(requests, window, guard));
            let (mut now, mut sent) = (0, Vec::new());
            for (i, (gap, call)) in calls.into_iter().enumerate() {
                now += gap;
                let went = match call {
                    0 => limiter.try_take(Timestamp(now)),
                    1 => limiter.pop_ready(Timestamp(now)).is_some(),
                    _ => {
                        limiter.enqueue(Timestamp(now), id(i as u64));
                        false
                    }
                };
                sent.extend(went.then_some(now));
            }
            let arrivals: Vec<u64> = sent.iter().zip(delays.iter().cycle())
                .map(|(at, delay)| at + delay % (guard + 1))
                .collect();
            for start in &arrivals {
                let inside = arrivals.iter().filter(|a| (*start..start + window).contains(a));
                prop_assert!(inside.count() <= requests as usize);
            }
        }
    }
}
