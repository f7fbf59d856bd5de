//! `sample`: there was something to judge. Every run has this gate: no requests, none at the canary,
//! or a fault that hit nothing never passes, whatever the other gates say.

use crate::observe::meta::FaultMeta;
use crate::time::Human;
use crate::verdict::gates::{End, Gate};
use crate::verdict::result::{Check, GateResult, Status, grouped};

/// The gate at work. All but the faults is in the summary.
pub struct SampleGate {
    faults: Vec<FaultMeta>,
}

impl SampleGate {
    /// A gate for a run with these faults.
    pub fn new(faults: &[FaultMeta]) -> Self {
        Self {
            faults: faults.to_vec(),
        }
    }

    /// A fault that is there to be met must have hit somebody.
    fn hit(&self, index: usize, end: &End<'_>) -> Check {
        let fault = &self.faults[index];
        let hits = end.summary.fault_hits.get(index).copied().unwrap_or(0);
        let (number, from) = (index + 1, Human(fault.from.elapsed()));
        let condition = format!("fault {number} ({} from {from}) hits > 0", fault.kind);
        let check = |seen| {
            let check = Check::census(condition, Status::Pass, seen);
            check.figure(Some(hits as f64), "attempts", hits)
        };
        if hits == 0 && came_too_late(fault, end) {
            return check("0: the canary was closed before it began".to_owned());
        }
        check(grouped(hits)).needs(hits, 1)
    }
}

/// Nobody meets a fault on a canary that was closed before.
fn came_too_late(fault: &FaultMeta, end: &End<'_>) -> bool {
    let closed_at = end.summary.rollbacks.first().map(|r| r.decided_at);
    fault.on == [end.canary] && closed_at.is_some_and(|at| at <= fault.from)
}

fn requests(end: &End<'_>) -> [Check; 2] {
    let summary = end.summary;
    let check = |condition: &str, n: u64| {
        let check = Check::census(condition, Status::Pass, grouped(n));
        check.figure(Some(n as f64), "requests", n).needs(n, 1)
    };
    [
        check("requests answered > 0", summary.answers.total()),
        check(
            "attempts at the canary > 0",
            summary.attempts_at(end.canary),
        ),
    ]
}

impl Gate for SampleGate {
    fn finish(&self, end: &End<'_>) -> GateResult {
        let mut checks = requests(end).to_vec();
        checks.extend((0..self.faults.len()).map(|index| self.hit(index, end)));
        GateResult::of("sample", checks)
    }
}
