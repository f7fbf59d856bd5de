//! `join`: requests and the upstreams' ledgers could be put together. Every run has this gate.

use crate::verdict::gates::{End, Gate};
use crate::verdict::result::{Check, GateResult, Status, share_of};

/// Largest share of rows or answers that may stay unexplained.
pub const TOLERATED: f64 = 0.001;

/// The gate at work. Everything it needs is in the summary.
pub struct JoinGate;

/// Is this many of that many too many?
pub fn is_leaky(part: u64, whole: u64) -> bool {
    whole > 0 && part as f64 / whole as f64 > TOLERATED
}

impl Gate for JoinGate {
    fn finish(&self, end: &End<'_>) -> GateResult {
        let summary = end.summary;
        let successes = summary.answers.total() - summary.answers.failures();
        let check = |condition: &str, part, whole, status| {
            let status = if is_leaky(part, whole) {
                status
            } else {
                Status::Pass
            };
            let share = (whole > 0).then(|| part as f64 / whole as f64);
            Check::census(condition, status, share_of(part, whole)).figure(share, "share", whole)
        };
        // An answer that no upstream gave means that the ledgers are not the whole truth.
        let unexplained = check(
            "answers without a ledger row <= 0.1 %",
            summary.unexplained,
            successes,
            Status::Invalid,
        );
        // Rows that cannot be told apart only weaken the gates that count them.
        let keyless = check(
            "ledger rows without a request key <= 0.1 %",
            summary.ledger_rows_without_key + summary.orphans,
            summary.ledger_rows,
            Status::Inconclusive,
        );
        let mut checks = vec![unexplained, keyless];
        if !end.interrupted {
            // The client gives up on its own in time: a request that just vanished is our own fault.
            let lost = check(
                "requests without an answer <= 0.1 %",
                summary.unfinished,
                summary.sent,
                Status::Invalid,
            );
            checks.push(lost);
        }
        GateResult::of("join", checks)
    }
}
