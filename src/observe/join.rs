//! Joins what client, driver, upstreams and router say into one story a request.
//!
//! A story is closed, and forgotten here, once the client has its answer and every attempt has an
//! end; only requests under way are held. What cannot be joined is counted: rows without a key, and
//! rows of requests that were closed already.

use crate::id::{IdMap, RequestKey, VersionId};
use crate::observe::event::{Accepted, RunEvent, Sent, UpstreamEnded, What};
use crate::observe::story::{Attempt, Story};
use crate::time::Timestamp;

/// What the join says about an event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Joined {
    /// An upstream took the first attempt of a request.
    pub first: Option<FirstAttempt>,
    /// A request is over.
    pub story: Option<Story>,
}

/// The first attempt of a request reached an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstAttempt {
    /// The version whose upstream took it.
    pub version: VersionId,
    /// The request as it left the client; none for a request no client admits to.
    pub sent: Option<Sent>,
}

impl FirstAttempt {
    /// Did chance decide where it went?
    pub fn is_randomised(&self) -> bool {
        self.sent.is_some_and(|sent| sent.intent.is_randomised())
    }
}

/// The requests under way, as far as they are known.
#[derive(Debug, Default)]
pub struct Join {
    open: IdMap<RequestKey, Story>,
    /// Rows of upstream ledgers.
    pub rows: u64,
    /// Rows of upstream ledgers that bear no key.
    pub rows_without_key: u64,
}

impl Join {
    /// Takes an event in.
    pub fn event(&mut self, event: &RunEvent) -> Joined {
        let at = event.at;
        match &event.what {
            What::Sent(sent) => self.story(sent.key).sent = Some((at, *sent)),
            What::Assigned { key, version } => {
                let story = self.story(*key);
                match story.assigned {
                    None => story.assigned = Some(*version),
                    Some(_) => story.misbooked += 1,
                }
            }
            What::Dispatched { key, n, version } => {
                dispatched(self.story(*key), at, *n, *version);
            }
            What::Cancelled { key, n } => {
                if let Some(attempt) = attempt_numbered(self.story(*key), *n) {
                    attempt.cancelled_at = Some(at);
                }
                return self.close_if_over(*key);
            }
            What::Accepted(accepted) => return self.accepted(at, accepted),
            What::UpstreamEnded(ended) => return self.upstream_ended(at, ended),
            What::Booked(booked) => {
                let story = self.story(booked.key);
                match attempt_numbered(story, booked.n).filter(|a| a.booked.is_none()) {
                    Some(attempt) => attempt.booked = Some((at, *booked)),
                    None => story.misbooked += 1,
                }
                return self.close_if_over(booked.key);
            }
            What::Settled(settled) => {
                let story = self.story(settled.key);
                match story.settled {
                    None => story.settled = Some(*settled),
                    Some(_) => story.misbooked += 1,
                }
                return self.close_if_over(settled.key);
            }
            What::Gaps(gaps) => self.story(gaps.key).gaps = gaps.runs.clone(),
            What::Answered(answered) => {
                self.story(answered.key).answered = Some((at, *answered));
                return self.close_if_over(answered.key);
            }
            What::Judged(_)
            | What::RolledBack(_)
            | What::Held(_)
            | What::Told(_)
            | What::NotPromoted(_)
            | What::Standing(_)
            | What::Fault { .. }
            | What::HeldBack { .. }
            | What::Purse(_)
            | What::Ordered(_)
            | What::OrderEnded(_)
            | What::OutOfFiles
            | What::ClockJumped(_)
            | What::Machine(_)
            | What::Keys(_)
            | What::Memory { .. } => {}
        }
        Joined::default()
    }

    /// The requests that are not over, in the order of their keys. The join is empty afterwards.
    pub fn finish(&mut self) -> Vec<Story> {
        let keys = self.open.sorted_keys();
        keys.into_iter()
            .filter_map(|key| self.open.remove(key))
            .collect()
    }

    fn story(&mut self, key: RequestKey) -> &mut Story {
        self.open.get_or_insert_with(key, || Story::new(key))
    }

    fn accepted(&mut self, at: Timestamp, row: &Accepted) -> Joined {
        self.rows += 1;
        let Some(key) = row.key else {
            self.rows_without_key += 1;
            return Joined::default();
        };
        let story = self.story(key);
        let is_only = story.first_version().is_none();
        let position = accepted_attempt(story, row);
        // What never arrived comes before: a refused connection, then a fallback.
        let is_first = is_only && position == 0;
        let attempt = &mut story.attempts[position];
        attempt.row = Some(row.row);
        attempt.accepted_at = Some(at);
        attempt.fault = row.fault;
        attempt.retry_after = row.retry_after;
        attempt.altered = row.altered;
        let sent = story.sent.map(|(_, sent)| sent);
        Joined {
            first: is_first.then_some(FirstAttempt {
                version: row.version,
                sent,
            }),
            story: None,
        }
    }

    fn upstream_ended(&mut self, at: Timestamp, row: &UpstreamEnded) -> Joined {
        let Some(key) = row.key else {
            return Joined::default();
        };
        let is_it = |a: &&mut Attempt| a.version == row.version && a.row == Some(row.row);
        if let Some(attempt) = self.story(key).attempts.iter_mut().find(is_it) {
            attempt.ended_at = Some(at);
            attempt.outcome = Some(row.outcome);
            attempt.usage = row.usage;
            attempt.cost = row.cost;
            attempt.drift = row.drift;
        }
        self.close_if_over(key)
    }

    fn close_if_over(&mut self, key: RequestKey) -> Joined {
        let story = self.open.get(key).filter(|s| is_over(s));
        let mut story = story.is_some().then(|| self.open.remove(key)).flatten();
        if let Some(story) = &mut story {
            story.note_desertions();
        }
        Joined { first: None, story }
    }
}

fn dispatched(story: &mut Story, at: Timestamp, n: u32, version: VersionId) {
    let attempt = new_attempt(story, version);
    attempt.n = Some(n);
    attempt.dispatched_at = Some(at);
}

fn new_attempt(story: &mut Story, version: VersionId) -> &mut Attempt {
    let same = story.attempts.iter().filter(|a| a.version == version);
    let attempt = Attempt {
        version,
        ordinal: same.count() as u32,
        ..Attempt::default()
    };
    story.attempts.push(attempt);
    let last = story.attempts.len() - 1;
    &mut story.attempts[last]
}

/// The attempt that the driver gave this number.
fn attempt_numbered(story: &mut Story, n: u32) -> Option<&mut Attempt> {
    story.attempts.iter_mut().find(|a| a.n == Some(n))
}

/// The position of the attempt that a ledger row speaks of: the one with its number, where one
/// survived the way, else the first at its version that no row speaks of; a new one when nobody
/// dispatched it here.
fn accepted_attempt(story: &mut Story, row: &Accepted) -> usize {
    let is_free = |a: &Attempt| a.version == row.version && a.accepted_at.is_none();
    let numbered = row.n.is_some();
    let is_it = |a: &Attempt| is_free(a) && (!numbered || a.n == row.n);
    story.attempts.iter().position(is_it).unwrap_or_else(|| {
        new_attempt(story, row.version);
        story.attempts.len() - 1
    })
}

/// A story is over when client, router and upstreams all had their last word.
fn is_over(story: &Story) -> bool {
    // Without a word of the router at all (another gateway is tested), nobody waits for it.
    let router_is_done = story.settled.is_some() || story.assigned.is_none();
    let attempt_is_done = |a: &Attempt| match a.dispatched_at {
        Some(_) => a.booked.is_some() && (a.outcome.is_some() || !a.was_accepted()),
        None => a.outcome.is_some(),
    };
    story.answered.is_some() && router_is_done && story.attempts.iter().all(attempt_is_done)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::observe::event::{Answered, AttemptKind, Booked, Claim, Origin, Sent, Settled};
    use crate::protocol::drift::Drift;
    use crate::protocol::outcome::Outcome;
    use crate::traffic::caller::Intent;

    const KEY: RequestKey = RequestKey(9);
    const STABLE: VersionId = VersionId(0);
    const CANARY: VersionId = VersionId(1);

    fn sent() -> What {
        What::Sent(Sent {
            key: KEY,
            scheduled_at: Timestamp(0),
            intent: Intent::Random,
            caller: 0,
            input_tokens: 1,
            stream: false,
        })
    }

    fn accepted(version: VersionId, ordinal: u32) -> What {
        What::Accepted(Accepted {
            row: ordinal.into(),
            key: Some(KEY),
            version,
            ordinal,
            n: None,
            fault: None,
            retry_after: None,
            altered: Some(false),
            is_told: None,
        })
    }

    fn ended(version: VersionId, ordinal: u32, outcome: Outcome) -> What {
        What::UpstreamEnded(UpstreamEnded {
            row: ordinal.into(),
            key: Some(KEY),
            version,
            ordinal,
            outcome,
            usage: None,
            cost: None,
            drift: Drift::NONE,
        })
    }

    fn booked(n: u32, version: VersionId, outcome: Outcome) -> What {
        What::Booked(Booked {
            key: KEY,
            n,
            version,
            kind: AttemptKind::First,
            fallback: false,
            outcome,
            latency: Duration::ZERO,
            usage: None,
            is_estimated: false,
            drift: Drift::NONE,
        })
    }

    fn settled(outcome: Outcome, attempts: u32) -> What {
        What::Settled(Settled {
            key: KEY,
            outcome,
            served_by: None,
            fallback: false,
            attempts,
        })
    }

    fn answered(outcome: Outcome) -> What {
        What::Answered(Answered {
            key: KEY,
            outcome,
            claim: Claim::default(),
            usage: None,
            origin: Origin::default(),
            streamed: None,
            drift: Drift::NONE,
        })
    }

    fn feed(join: &mut Join, events: Vec<What>) -> Vec<Joined> {
        (1..)
            .zip(events)
            .map(|(at, what)| {
                join.event(&RunEvent {
                    at: Timestamp(at),
                    what,
                })
            })
            .collect()
    }

    #[test]
    fn a_fallback_is_told_as_one_story() {
        let mut join = Join::default();
        let said = feed(
            &mut join,
            vec![
                sent(),
                What::Assigned {
                    key: KEY,
                    version: CANARY,
                },
                What::Dispatched {
                    key: KEY,
                    n: 0,
                    version: CANARY,
                },
                accepted(CANARY, 0),
                ended(CANARY, 0, Outcome::Unauthorized),
                booked(0, CANARY, Outcome::Unauthorized),
                What::Dispatched {
                    key: KEY,
                    n: 1,
                    version: STABLE,
                },
                accepted(STABLE, 0),
                ended(STABLE, 0, Outcome::Success),
                booked(1, STABLE, Outcome::Success),
                settled(Outcome::Success, 2),
                answered(Outcome::Success),
            ],
        );
        assert_eq!(said[3].first.map(|f| f.version), Some(CANARY));
        assert_eq!(said[7].first, None, "not the first attempt");
        assert!(said[..11].iter().all(|j| j.story.is_none()));
        let story = said[11].story.as_ref().unwrap();
        assert_eq!(story.first_version(), Some(CANARY));
        assert_eq!(story.served_by(), Some(STABLE));
        assert_eq!(story.latency(), Some(Duration::from_nanos(12)));
        assert!(join.finish().is_empty());
    }

    #[test]
    fn another_gateways_story_needs_no_router() {
        let mut join = Join::default();
        let said = feed(
            &mut join,
            vec![
                sent(),
                accepted(CANARY, 0),
                ended(CANARY, 0, Outcome::ServerError),
                accepted(CANARY, 1),
                answered(Outcome::Timeout),
                ended(CANARY, 1, Outcome::ClientGone),
            ],
        );
        let story = said[5].story.as_ref().unwrap();
        assert_eq!(story.attempts.len(), 2);
        assert_eq!(story.attempts[1].truth(), Some(Outcome::Timeout));
        assert_eq!(story.served_by(), None);
    }

    #[test]
    fn rows_without_a_key_are_counted_and_the_unfinished_are_kept() {
        let mut join = Join::default();
        let keyless = What::Accepted(Accepted {
            row: 0,
            key: None,
            version: CANARY,
            ordinal: 0,
            n: None,
            fault: None,
            retry_after: None,
            altered: None,
            is_told: None,
        });
        feed(&mut join, vec![keyless, sent(), accepted(STABLE, 0)]);
        assert_eq!((join.rows, join.rows_without_key), (2, 1));
        let left = join.finish();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].outcome(), None);
    }

    fn dispatch(n: u32, version: VersionId) -> What {
        What::Dispatched {
            key: KEY,
            n,
            version,
        }
    }

    fn row(row: u64, version: VersionId, n: Option<u32>) -> What {
        What::Accepted(Accepted {
            row,
            key: Some(KEY),
            version,
            ordinal: 0,
            n,
            fault: None,
            retry_after: None,
            altered: None,
            is_told: None,
        })
    }

    /// The first try never arrived (a refused connection): the row of the second is the second's.
    #[test]
    fn rows_find_their_attempts_by_number() {
        let mut join = Join::default();
        let said = feed(
            &mut join,
            vec![
                sent(),
                dispatch(0, CANARY),
                booked(0, CANARY, Outcome::Connect),
                dispatch(1, CANARY),
                row(7, CANARY, Some(1)),
            ],
        );
        assert_eq!(said[4].first, None, "what was tried first came nowhere");
        let story = join.finish().remove(0);
        let ordinals: Vec<u32> = story.attempts.iter().map(|a| a.ordinal).collect();
        assert_eq!(ordinals, [0, 1]);
        let rows: Vec<_> = story.attempts.iter().map(|a| a.row).collect();
        assert_eq!(rows, [None, Some(7)]);
    }

    /// Without numbers, rows are given to the attempts at their version in order.
    #[test]
    fn rows_without_a_number_find_the_next_attempt_of_their_version() {
        let mut join = Join::default();
        let events = vec![
            sent(),
            dispatch(0, CANARY),
            dispatch(1, STABLE),
            dispatch(2, CANARY),
            row(0, CANARY, None),
            row(0, STABLE, None),
            row(1, CANARY, None),
            row(2, CANARY, None),
        ];
        feed(&mut join, events);
        let story = join.finish().remove(0);
        let rows: Vec<_> = story.attempts.iter().map(|a| a.row).collect();
        // The last row is of an attempt that nobody ordered.
        assert_eq!(rows, [Some(0), Some(0), Some(1), Some(2)]);
        assert_eq!(story.attempts[3].n, None);
    }

    #[test]
    fn bookings_of_nothing_and_second_bookings_are_counted() {
        let mut join = Join::default();
        let events = vec![
            sent(),
            dispatch(0, CANARY),
            booked(0, CANARY, Outcome::Success),
            booked(0, CANARY, Outcome::Success),
            booked(1, CANARY, Outcome::Success),
        ];
        feed(&mut join, events);
        assert_eq!(join.finish()[0].misbooked, 2);
    }

    /// An attempt that was stopped before its upstream took it is over once it is booked.
    #[test]
    fn a_story_waits_for_every_attempt_that_was_taken_and_booked() {
        let settled = settled(Outcome::Timeout, 1);
        let end = [settled, answered(Outcome::Timeout)];
        let begin = |is_taken: bool| {
            let assigned = What::Assigned {
                key: KEY,
                version: CANARY,
            };
            let row = is_taken.then(|| row(0, CANARY, Some(0)));
            let cancelled = What::Cancelled { key: KEY, n: 0 };
            let first = [sent(), assigned, dispatch(0, CANARY)];
            first.into_iter().chain(row).chain([cancelled])
        };
        let closes = |is_taken: bool, is_booked: bool| {
            let booked = is_booked.then(|| booked(0, CANARY, Outcome::Timeout));
            let events = begin(is_taken).chain(booked).chain(end.clone());
            let said = feed(&mut Join::default(), events.collect());
            said.last().is_some_and(|joined| joined.story.is_some())
        };
        assert!(closes(false, true));
        assert!(!closes(false, false), "the router owes a booking");
        assert!(!closes(true, true), "the upstream owes its last word");
    }
}
