//! When the next request is due, and which turn of which conversation it is.
//!
//! A conversation's requests have numbers of their own, which follow from its beginning alone: however
//! long answers take, and whoever overtakes whom, the same turn has the same key, and so meets the same
//! draws. In a closed loop, numbers follow the order of sending.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::iter::Peekable;

use crate::id::{IdMap, RequestKey, Seed, VersionId};
use crate::rng::distribution::Distribution;
use crate::rng::{Purpose, draw};
use crate::time::Timestamp;
use crate::traffic::arrivals::{Arrivals, Closed, MOST_TURNS, Schedule, Sessions};
use crate::traffic::cancel::wait;

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// A request.
    Due(Due),
    /// Nothing until a request under way is answered.
    AfterAnswer,
    /// Nothing more, ever.
    Done,
}

/// A request that is due, before anybody says what it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// When.
    pub at: Timestamp,
    /// Its key.
    pub key: RequestKey,
    /// Which turn of which conversation it is, if of any.
    pub turn: Option<Turn>,
}

/// A turn of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Turn {
    /// The conversation, from 0.
    pub session: u64,
    /// Turns before it.
    pub number: u32,
    /// Turns after it.
    left: u32,
}

/// Hands out requests one by one, none at or after `end`, and no more than `limit`.
#[derive(Debug)]
pub struct Pacer {
    seed: Seed,
    end: Timestamp,
    limit: u64,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Open {
        schedule: Peekable<Schedule>,
        made: u64,
    },
    Closed(ClosedLoop),
    Sessions(Conversations),
}

impl Pacer {
    /// The pace of these arrivals.
    pub fn new(arrivals: &Arrivals, end: Timestamp, limit: u64, seed: Seed) -> Self {
        let kind = match arrivals {
            Arrivals::Open(stages) => Kind::Open {
                schedule: Schedule::new(stages.clone(), seed).peekable(),
                made: 0,
            },
            Arrivals::Closed(closed) => Kind::Closed(ClosedLoop::new(closed.clone())),
            Arrivals::Sessions(sessions) => {
                Kind::Sessions(Conversations::new(sessions, limit, seed))
            }
        };
        Self {
            seed,
            end,
            limit,
            kind,
        }
    }

    /// What comes next.
    pub fn peek(&mut self) -> Pace {
        let (end, limit) = (self.end, self.limit);
        match &mut self.kind {
            Kind::Open { made, .. } if *made >= limit => Pace::Done,
            Kind::Open { schedule, made } => match schedule.peek().filter(|at| **at < end) {
                Some(at) => Pace::Due(Due {
                    at: *at,
                    key: RequestKey(*made),
                    turn: None,
                }),
                None => Pace::Done,
            },
            Kind::Closed(closed) => closed.peek(end, limit),
            Kind::Sessions(sessions) => sessions.peek(end),
        }
    }

    /// What [`peek`](Self::peek) shows is on its way.
    pub fn take(&mut self) {
        match &mut self.kind {
            Kind::Open { schedule, made } => {
                schedule.next();
                *made += 1;
            }
            Kind::Closed(closed) => closed.take(),
            Kind::Sessions(sessions) => sessions.take(self.end),
        }
    }

    /// A request was answered. Says whether that may change what comes next.
    pub fn answered(&mut self, key: RequestKey, at: Timestamp) -> bool {
        match &mut self.kind {
            Kind::Open { .. } => false,
            Kind::Closed(closed) => {
                closed.answered(self.seed, key, at, self.end);
                true
            }
            Kind::Sessions(sessions) => sessions.answered(key, at, self.end),
        }
    }
}

/// When somebody who had this answer asks again. The draw belongs to the answer, so that it is the same
/// whoever answered it and when.
fn after(think: &Distribution, seed: Seed, key: RequestKey, at: Timestamp) -> Timestamp {
    let drawn = draw(seed, Purpose::Think, key, VersionId::default(), 0);
    at + wait(think.sample(drawn))
}

/// Callers who each have one request under way, or think.
#[derive(Debug)]
struct ClosedLoop {
    think: Distribution,
    /// When those who have no request under way send their next.
    free: BinaryHeap<Reverse<Timestamp>>,
    underway: u32,
    made: u64,
    is_over: bool,
}

impl ClosedLoop {
    fn new(closed: Closed) -> Self {
        Self {
            think: closed.think,
            free: (0..closed.callers)
                .map(|_| Reverse(Timestamp::ZERO))
                .collect(),
            underway: 0,
            made: 0,
            is_over: false,
        }
    }

    fn peek(&self, end: Timestamp, limit: u64) -> Pace {
        if self.made >= limit || self.is_over {
            return Pace::Done;
        }
        match self.free.peek().filter(|Reverse(at)| *at < end) {
            Some(Reverse(at)) => Pace::Due(Due {
                at: *at,
                key: RequestKey(self.made),
                turn: None,
            }),
            None if self.underway > 0 => Pace::AfterAnswer,
            None => Pace::Done,
        }
    }

    fn take(&mut self) {
        self.free.pop();
        self.made += 1;
        self.underway += 1;
    }

    fn answered(&mut self, seed: Seed, key: RequestKey, at: Timestamp, end: Timestamp) {
        self.underway = self.underway.saturating_sub(1);
        // Later answers come later.
        self.is_over |= at >= end;
        let again = after(&self.think, seed, key, at);
        self.free.push(Reverse(again));
    }
}

/// Conversations under way, and those to come.
#[derive(Debug)]
struct Conversations {
    seed: Seed,
    starts: Peekable<Schedule>,
    turns: Distribution,
    think: Distribution,
    /// Conversations that have begun.
    begun: u64,
    /// The key of the next one's first turn.
    next_key: u64,
    limit: u64,
    /// Turns whose moment is known.
    due: BinaryHeap<Reverse<Due>>,
    /// Turns under way that others follow.
    underway: IdMap<RequestKey, Turn>,
}

impl Conversations {
    fn new(sessions: &Sessions, limit: u64, seed: Seed) -> Self {
        Self {
            seed,
            starts: Schedule::new(sessions.starts.clone(), seed).peekable(),
            turns: sessions.turns.clone(),
            think: sessions.think.clone(),
            begun: 0,
            next_key: 0,
            limit,
            due: BinaryHeap::new(),
            underway: IdMap::default(),
        }
    }

    /// The first turn of the next conversation.
    fn start(&mut self, end: Timestamp) -> Option<Due> {
        let room = self.limit - self.next_key;
        let at = *self.starts.peek()?;
        if room == 0 || at >= end {
            return None;
        }
        let key = RequestKey(self.begun);
        let drawn = draw(self.seed, Purpose::Turns, key, VersionId::default(), 0);
        let turns = self.turns.sample(drawn).round();
        let turns = (turns as u32).clamp(1, MOST_TURNS);
        Some(Due {
            at,
            key: RequestKey(self.next_key),
            turn: Some(Turn {
                session: self.begun,
                number: 0,
                // What goes beyond the limit is never said.
                left: u64::from(turns).min(room) as u32 - 1,
            }),
        })
    }

    fn next(&mut self, end: Timestamp) -> Option<Due> {
        let start = self.start(end);
        let due = self.due.peek().map(|Reverse(due)| *due);
        start.into_iter().chain(due).min()
    }

    fn peek(&mut self, end: Timestamp) -> Pace {
        match self.next(end) {
            Some(due) => Pace::Due(due),
            None if self.underway.is_empty() => Pace::Done,
            None => Pace::AfterAnswer,
        }
    }

    fn take(&mut self, end: Timestamp) {
        let Some(Due { key, turn, .. }) = self.next(end) else {
            return;
        };
        let Some(turn) = turn else {
            return;
        };
        if turn.number == 0 {
            self.starts.next();
            self.begun += 1;
            self.next_key += u64::from(turn.left) + 1;
        } else {
            self.due.pop();
        }
        if turn.left > 0 {
            self.underway.insert(key, turn);
        }
    }

    fn answered(&mut self, key: RequestKey, at: Timestamp, end: Timestamp) -> bool {
        let Some(turn) = self.underway.remove(key) else {
            // The last of its conversation; where it was the last of all, nothing more comes.
            return self.underway.is_empty();
        };
        let at = after(&self.think, self.seed, key, at);
        let next = Turn {
            number: turn.number + 1,
            left: turn.left - 1,
            ..turn
        };
        if at < end {
            self.due.push(Reverse(Due {
                at,
                key: RequestKey(key.0 + 1),
                turn: Some(next),
            }));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::traffic::arrivals::{Spacing, Stage};
    use crate::traffic::course::Course;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: f64) -> Timestamp {
        Timestamp::from_secs_f64(seconds)
    }

    fn starts(rate: f64) -> Vec<Stage> {
        vec![Stage {
            spacing: Spacing::Poisson,
            course: Course::Flat(rate),
            length: None,
        }]
    }

    /// Plays a pacer to its end with answers that take as long as `latency` says of each key.
    fn play(mut pacer: Pacer, latency: impl Fn(u64) -> f64) -> Vec<Due> {
        let mut sent = Vec::new();
        let mut answers = BinaryHeap::new();
        loop {
            let next = pacer.peek();
            let answer = answers.peek().map(|Reverse((at, _))| *at);
            match (next, answer) {
                (Pace::Due(due), answer) if answer.is_none_or(|at| due.at < at) => {
                    pacer.take();
                    sent.push(due);
                    let took = Timestamp::from_secs_f64(latency(due.key.0)).elapsed();
                    answers.push(Reverse((due.at + took, due.key)));
                }
                (_, Some(_)) => {
                    if let Some(Reverse((at, key))) = answers.pop() {
                        pacer.answered(key, at);
                    }
                }
                (Pace::AfterAnswer, None) => panic!("waits for nobody"),
                _ => return sent,
            }
        }
    }

    #[test]
    fn whoever_thinks_less_overtakes() {
        let closed = Closed {
            callers: 2,
            think: Distribution::Exponential(5.0),
        };
        let arrivals = Arrivals::Closed(closed.clone());
        let mut pacer = Pacer::new(&arrivals, at(1e6), u64::MAX, Seed(1));
        pacer.take();
        pacer.take();
        assert_eq!(pacer.peek(), Pace::AfterAnswer);
        let thought = |key| after(&closed.think, Seed(1), RequestKey(key), at(1.0));
        assert!(pacer.answered(RequestKey(0), at(1.0)));
        assert!(pacer.answered(RequestKey(1), at(1.0)));
        let sooner = thought(0).min(thought(1));
        assert!(matches!(pacer.peek(), Pace::Due(due) if due.at == sooner));
        assert_ne!(thought(0), thought(1));
    }

    /// Little's law: 20 callers, 2 s of thought and 0.5 s of waiting make 8 requests a second.
    #[test]
    fn thought_sets_the_rate_of_a_closed_loop() {
        let arrivals = Arrivals::Closed(Closed {
            callers: 20,
            think: Distribution::Exponential(2.0),
        });
        let sent = play(
            Pacer::new(&arrivals, at(1_000.0), u64::MAX, Seed(1)),
            |_| 0.5,
        );
        // 8,000, of which five standard deviations (0.8 of Poisson's each) are 358.
        assert!((7_642..=8_358).contains(&sent.len()), "{}", sent.len());
        assert!(sent.windows(2).all(|w| w[0].at <= w[1].at));
    }

    #[test]
    fn a_number_ends_the_traffic() {
        for arrivals in [
            Arrivals::Open(starts(10.0)),
            Arrivals::Closed(Closed {
                callers: 7,
                think: Distribution::Constant(0.1),
            }),
            Arrivals::Sessions(Sessions {
                starts: starts(10.0),
                turns: Distribution::Constant(4.0),
                think: Distribution::Constant(1.0),
            }),
        ] {
            let sent = play(Pacer::new(&arrivals, Timestamp::MAX, 50, Seed(1)), |_| 0.5);
            let mut keys: Vec<u64> = sent.iter().map(|d| d.key.0).collect();
            keys.sort_unstable();
            assert!(keys.into_iter().eq(0..50), "{arrivals:?}");
        }
    }

    proptest! {
        /// Turns come in order, each after the answer to the one before it and its thought; whatever
        /// answers take, a turn has the same key and the same thought behind it.
        #[test]
        fn turns_follow_their_answers(
            rate in 0.5_f64..20.0,
            median in 1.0_f64..6.0,
            think in 0.0_f64..10.0,
            seed in 0_u64..1_000,
            slow in 0.0_f64..4.0,
        ) {
            let sessions = Sessions {
                starts: starts(rate),
                turns: Distribution::lognormal(median, median * 3.0),
                think: Distribution::Exponential(think),
            };
            let pacer = || {
                let arrivals = Arrivals::Sessions(sessions.clone());
                Pacer::new(&arrivals, at(60.0), 2_000, Seed(seed))
            };
            let latency = |key: u64| 0.05 + slow * (key % 7) as f64 / 7.0;
            let sent = play(pacer(), latency);
            prop_assert!(sent.windows(2).all(|w| w[0].at <= w[1].at));
            prop_assert!(sent.iter().all(|due| due.at < at(60.0)));
            let mut last: BTreeMap<u64, Due> = BTreeMap::new();
            for due in &sent {
                let turn = due.turn.unwrap();
                if let Some(before) = last.insert(turn.session, *due) {
                    let answered = before.at + Timestamp::from_secs_f64(latency(before.key.0)).elapsed();
                    prop_assert_eq!(due.key.0, before.key.0 + 1);
                    prop_assert_eq!(turn.number, before.turn.unwrap().number + 1);
                    prop_assert_eq!(due.at, after(&sessions.think, Seed(seed), before.key, answered));
                } else {
                    prop_assert_eq!(turn.number, 0);
                }
            }
            let turns = |sent: &[Due]| -> BTreeMap<RequestKey, Option<Turn>> {
                sent.iter().map(|d| (d.key, d.turn)).collect()
            };
            let (slowly, quickly) = (turns(&sent), turns(&play(pacer(), |_| 0.0)));
            for (key, turn) in slowly {
                if let Some(other) = quickly.get(&key) {
                    prop_assert_eq!(&turn, other);
                }
            }
        }
    }

    #[test]
    fn a_failed_or_late_answer_ends_no_conversation_but_the_end_of_the_traffic_does() {
        let arrivals = Arrivals::Sessions(Sessions {
            starts: starts(1.0),
            turns: Distribution::Constant(3.0),
            think: Distribution::Constant(1.0),
        });
        let mut pacer = Pacer::new(&arrivals, at(100.0), 3, Seed(1));
        let Pace::Due(first) = pacer.peek() else {
            panic!("nothing begins");
        };
        pacer.take();
        assert_eq!(pacer.peek(), Pace::AfterAnswer);
        assert!(pacer.answered(first.key, at(50.0)));
        assert!(matches!(pacer.peek(), Pace::Due(due) if due.at == at(50.0) + SECOND));
        pacer.take();
        assert!(pacer.answered(RequestKey(1), at(99.5)));
        assert_eq!(pacer.peek(), Pace::Done);
    }
}
