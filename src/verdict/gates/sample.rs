//! `sample`: there was something to judge. Every run has this gate: no requests, or none at the
//! canary, never passes, whatever the other gates say. A fault that hit nothing is remarked upon.

use crate::observe::event::{RunEvent, What};
use crate::observe::join::Joined;
use crate::verdict::gates::{End, Gate};
use crate::verdict::result::{Check, GateResult, Status, grouped};

/// The gate at work.
pub struct SampleGate {
    /// How many attempts each fault hit.
    hits: Vec<u64>,
}

impl SampleGate {
    /// A gate for a run with so many faults.
    pub fn new(faults: usize) -> Self {
        Self {
            hits: vec![0; faults],
        }
    }

    fn idle_faults(&self) -> impl Iterator<Item = String> {
        let idle = self.hits.iter().enumerate().filter(|(_, hits)| **hits == 0);
        idle.map(|(i, _)| format!("fault {} hit no attempt: nothing is shown about it", i + 1))
    }
}

impl Gate for SampleGate {
    fn event(&mut self, event: &RunEvent, _joined: &Joined) {
        if let What::Accepted(row) = &event.what
            && let Some(hits) = row.fault.and_then(|i| self.hits.get_mut(usize::from(i)))
        {
            *hits += 1;
        }
    }

    fn finish(&self, end: &End<'_>) -> GateResult {
        let summary = end.summary;
        let check = |condition: &str, n: u64| {
            let check = Check::census(condition, Status::Pass, grouped(n));
            check.figure(Some(n as f64), "requests", n).needs(n, 1)
        };
        let answered = check("requests answered > 0", summary.answers.total());
        let at_canary = summary.attempts_at(end.canary);
        let checks = vec![answered, check("attempts at the canary > 0", at_canary)];
        let mut result = GateResult::of("sample", checks);
        result.warnings.extend(self.idle_faults());
        result
    }
}
