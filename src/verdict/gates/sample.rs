//! `sample`: there was something to judge. Every run has this gate: no requests, or none at the
//! canary, never passes, whatever the other gates say.

use crate::verdict::gates::{End, Gate};
use crate::verdict::result::{Check, GateResult, Status, grouped};

/// The gate at work. Everything it needs is in the summary.
pub struct SampleGate;

impl Gate for SampleGate {
    fn finish(&self, end: &End<'_>) -> GateResult {
        let summary = end.summary;
        let check = |condition: &str, n: u64| {
            let check = Check::census(condition, Status::Pass, grouped(n));
            check.figure(Some(n as f64), "requests", n).needs(n, 1)
        };
        let answered = check("requests answered > 0", summary.answers.total());
        let at_canary = summary.attempts_at(end.canary);
        let checks = vec![answered, check("attempts at the canary > 0", at_canary)];
        GateResult::of("sample", checks)
    }
}
