//! A judge in a small world of its own: requests that take time, one by one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use graygate::id::RequestId;
use graygate::protocol::outcome::Outcome;
use graygate::router::judge::sequential::{
    Arm, Decision, HoldReason, SequentialConfig, SequentialEvidence, SequentialJudge, Step,
};
use graygate::time::Timestamp;

pub(crate) fn at(seconds: f64) -> Timestamp {
    Timestamp::from_secs_f64(seconds)
}

pub(crate) fn step(index: usize, canary_share: f64, hold: u64) -> Step {
    Step {
        index,
        canary_share,
        planned_hold: Duration::from_secs(hold),
        has_control: canary_share < 1.0,
    }
}

/// When an attempt is told to the judge.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Booking {
    /// As it should be.
    AtAssignment,
    /// The mistake: on whatever weight is in force when it ends.
    AtCompletion,
}

/// An attempt as the world plays it.
#[derive(Clone, Copy)]
pub(crate) struct Attempt {
    pub(crate) arm: Arm,
    pub(crate) caller: Option<u64>,
    pub(crate) outcome: Outcome,
    pub(crate) seconds: f64,
}

pub(crate) struct Lab {
    pub(crate) judge: SequentialJudge,
    booking: Booking,
    next_id: u64,
    ends: BinaryHeap<Reverse<(Timestamp, RequestId)>>,
    attempts: BTreeMap<RequestId, Attempt>,
    pub(crate) rollback: Option<(Timestamp, SequentialEvidence)>,
    pub(crate) held: Vec<HoldReason>,
}

impl Lab {
    pub(crate) fn new(config: SequentialConfig, steps: usize) -> Self {
        Self {
            judge: SequentialJudge::new(config, steps, Timestamp::ZERO),
            booking: Booking::AtAssignment,
            next_id: 0,
            ends: BinaryHeap::new(),
            attempts: BTreeMap::new(),
            rollback: None,
            held: Vec::new(),
        }
    }

    pub(crate) fn booking(mut self, booking: Booking) -> Self {
        self.booking = booking;
        self
    }

    pub(crate) fn begin_step(&mut self, now: Timestamp, step: Step) {
        self.run_until(now);
        self.judge.begin_step(now, step);
    }

    pub(crate) fn send(&mut self, now: Timestamp, attempt: Attempt) -> RequestId {
        self.run_until(now);
        let id = RequestId(self.next_id);
        self.next_id += 1;
        if self.booking == Booking::AtAssignment {
            self.judge.assigned(now, id, attempt.caller, attempt.arm);
        }
        self.ends.push(Reverse((
            now + Duration::from_secs_f64(attempt.seconds),
            id,
        )));
        self.attempts.insert(id, attempt);
        self.look(now);
        id
    }

    /// Plays what is due before or at `now`, in order of time; inputs before timeouts.
    pub(crate) fn run_until(&mut self, now: Timestamp) {
        loop {
            let end = self.ends.peek().map(|Reverse((at, _))| *at);
            let due = self.judge.next_timeout();
            match (end, due) {
                (Some(end), due) if end <= now && due.is_none_or(|due| end <= due) => {
                    self.end_next();
                }
                (_, Some(due)) if due <= now => {
                    self.judge.handle_timeout(due);
                    self.look(due);
                }
                _ => return,
            }
        }
    }

    fn end_next(&mut self) {
        let Some(Reverse((now, id))) = self.ends.pop() else {
            return;
        };
        let attempt = self.attempts.remove(&id).unwrap();
        if self.booking == Booking::AtCompletion {
            self.judge.assigned(now, id, attempt.caller, attempt.arm);
        }
        self.judge.ended(now, id, attempt.outcome, false);
        self.look(now);
    }

    fn look(&mut self, now: Timestamp) {
        let Some(occasion) = self.judge.wants_look(now) else {
            return;
        };
        match self.judge.look(now, occasion, &mut |_| ()) {
            Decision::RollBack(evidence) if self.rollback.is_none() => {
                self.rollback = Some((now, evidence));
            }
            Decision::Hold(reason) if !self.held.contains(&reason) => self.held.push(reason),
            _ => {}
        }
    }
}
