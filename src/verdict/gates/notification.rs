//! `notification`: whoever is to be told of the rollback is told once, and reads its record.
//!
//! What counts is what the driver is ordered to keep and send: from there on an outbox repeats each letter until it
//! arrived, and nobody gets one twice. A run has no store, so the order is where it ends.

use crate::observe::event::{RollbackFacts, RunEvent, What};
use crate::observe::join::Joined;
use crate::time::Timestamp;
use crate::verdict::gates::{End, Gate};
use crate::verdict::result::{Check, GateResult, Status};

/// The gate at work.
#[derive(Default)]
pub struct NotificationGate {
    letters: Vec<RollbackFacts>,
}

impl NotificationGate {
    fn once(&self, rollbacks: usize) -> Check {
        let told = self.letters.len();
        let (status, seen) = match (rollbacks, told) {
            (0, 0) => (Status::Inconclusive, "there was no rollback".to_owned()),
            (0, _) => (Status::Fail, format!("told {told} times of no rollback")),
            (_, 1) => (Status::Pass, "told once".to_owned()),
            (_, 0) => (Status::Fail, "nobody was told".to_owned()),
            (_, _) => (Status::Fail, format!("told {told} times")),
        };
        Check::census("the rollback is told once", status, seen).figure(
            Some(told as f64),
            "letters",
            rollbacks as u64,
        )
    }

    fn record(&self, record: &RollbackFacts) -> Option<Check> {
        let differ = self.letters.iter().filter(|l| !is_same(l, record)).count();
        let (status, seen) = match differ {
            0 => (Status::Pass, record.id.clone()),
            n => (Status::Fail, format!("{n} say something else")),
        };
        let n = self.letters.len() as u64;
        let check = Check::census("the letter is the record", status, seen);
        (n > 0).then(|| check.figure(Some(differ as f64), "letters", n))
    }
}

/// The same but for the moment: an order and the news of it may be read one after the other.
fn is_same(letter: &RollbackFacts, record: &RollbackFacts) -> bool {
    let timeless = |facts: &RollbackFacts| RollbackFacts {
        decided_at: Timestamp::ZERO,
        ..facts.clone()
    };
    timeless(letter) == timeless(record)
}

impl Gate for NotificationGate {
    fn event(&mut self, event: &RunEvent, _joined: &Joined) {
        if let What::Told(letter) = &event.what {
            self.letters.push(letter.clone());
        }
    }

    fn finish(&self, end: &End<'_>) -> GateResult {
        let rollbacks = &end.summary.rollbacks;
        let mut checks = vec![self.once(rollbacks.len())];
        checks.extend(rollbacks.first().and_then(|record| self.record(record)));
        GateResult::of("notification", checks)
    }
}
