//! What is being written: at most one order at a time, and any number of rollbacks behind it.
//!
//! An order is written first and in force afterwards, so that a restart never finds less than was
//! acknowledged. A rollback is in force first; what could not be written is written again, until it
//! can.
//!
//! Whoever names the revision that a change is based on waits for the order that is being written: only
//! then is it known whether another change came first.

use std::collections::VecDeque;
use std::time::Duration;

use crate::router::control::{Control, ControlId};
use crate::router::deployment::{Change, Deployment};
use crate::router::io::Cause;
use crate::time::Timestamp;

/// Shortest and longest pause before something is written again.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Most who wait for the order that is being written: as many as the admin API has connections.
const MOST_WAITING: usize = 256;

/// Something that is being written.
#[derive(Clone, Debug)]
pub struct Write {
    /// Its number.
    pub op: u64,
    /// What it is.
    pub what: What,
}

/// What is being written.
#[derive(Clone, Debug)]
pub enum What {
    /// A change that is in force once it is written.
    Order {
        /// The release then.
        next: Box<Deployment>,
        /// Who waits for it; nobody when the ramp itself goes on.
        asker: Option<ControlId>,
        /// What caused it.
        cause: Cause,
        /// The revision it was planned on.
        planned_on: u64,
        /// Does it give a canary that was withheld another chance?
        lifts: bool,
    },
    /// A change that is in force already, and must be written in the end.
    Fact {
        /// It, to be written again.
        change: Box<Change>,
        /// Who waits for it.
        askers: Vec<ControlId>,
    },
}

/// Keeps track of what is being written.
#[derive(Clone, Debug, Default)]
pub struct Keeper {
    next_op: u64,
    writes: VecDeque<Write>,
    /// Who waits for the order that is being written, in the order of their coming.
    waiting: Vec<(ControlId, Control)>,
    /// Facts that failed, to be written again.
    failed: VecDeque<(Box<Change>, Vec<ControlId>)>,
    again_at: Option<Timestamp>,
    pause: Duration,
}

impl Keeper {
    /// Notes that something is being written; returns its number.
    pub fn begin(&mut self, what: What) -> u64 {
        let op = self.next_op;
        self.next_op += 1;
        self.writes.push_back(Write { op, what });
        op
    }

    /// Takes out what was written, or failed to be.
    pub fn end(&mut self, op: u64) -> Option<What> {
        let at = self.writes.iter().position(|write| write.op == op)?;
        self.writes.remove(at).map(|write| write.what)
    }

    /// Is an order being written?
    pub fn is_busy(&self) -> bool {
        let is_order = |write: &Write| matches!(write.what, What::Order { .. });
        self.writes.iter().any(is_order)
    }

    /// Has somebody wait for the order that is being written; false when too many do.
    pub fn wait_for_order(&mut self, asker: ControlId, control: Control) -> bool {
        let has_room = self.waiting.len() < MOST_WAITING;
        if has_room {
            self.waiting.push((asker, control));
        }
        has_room
    }

    /// Everybody who waited for an order that was being written; nobody while it still is.
    pub fn no_longer_waiting(&mut self) -> Vec<(ControlId, Control)> {
        match self.is_busy() {
            true => Vec::new(),
            false => std::mem::take(&mut self.waiting),
        }
    }

    /// Is anything being written, or waiting to be written again?
    pub fn is_idle(&self) -> bool {
        self.writes.is_empty() && self.failed.is_empty()
    }

    /// Does anything wait to be written again?
    pub fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    /// Adds somebody who waits for the fact that is being written, or waits for it; false when there
    /// is none.
    pub fn wait_for_fact(&mut self, asker: ControlId) -> bool {
        let being_written = self
            .writes
            .iter_mut()
            .rev()
            .find_map(|w| match &mut w.what {
                What::Fact { askers, .. } => Some(askers),
                What::Order { .. } => None,
            });
        let failed = self.failed.back_mut().map(|(_, askers)| askers);
        being_written
            .or(failed)
            .map(|askers| askers.push(asker))
            .is_some()
    }

    /// Notes that a fact could not be written: it is tried again after a pause, which grows.
    pub fn try_again(&mut self, now: Timestamp, change: Box<Change>, askers: Vec<ControlId>) {
        self.failed.push_back((change, askers));
        self.pause = (self.pause * 2).clamp(PAUSES.0, PAUSES.1);
        self.again_at = Some(now + self.pause);
    }

    /// Forgets everything: it was about another release than the one there is.
    pub fn forget(&mut self) {
        *self = Self {
            next_op: self.next_op,
            ..Self::default()
        };
    }

    /// Notes that something could be written.
    pub fn succeeded(&mut self) {
        self.pause = Duration::ZERO;
    }

    /// When something is written again.
    pub fn next(&self) -> Option<Timestamp> {
        self.again_at
    }

    /// What is to be written again at `now`, in its order. It waits for an order that is being
    /// written: after that one, it would be an older state.
    pub fn due(&mut self, now: Timestamp) -> Vec<(Box<Change>, Vec<ControlId>)> {
        if self.again_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        if self.is_busy() {
            self.again_at = Some(now + PAUSES.0);
            return Vec::new();
        }
        self.again_at = None;
        self.failed.drain(..).collect()
    }

    /// Bytes kept on the heap, roughly.
    pub fn bytes(&self) -> usize {
        self.writes.capacity() * size_of::<Write>()
            + self.waiting.capacity() * size_of::<(ControlId, Control)>()
    }
}
