//! `join`: requests and the upstreams' ledgers could be put together. Every run has this gate.

mod answers;

use crate::observe::meta::FaultMeta;
use crate::observe::story::Story;
use crate::observe::summary::Summary;
use crate::verdict::gates::join::answers::Answers;
use crate::verdict::gates::{End, Gate, SoFar};
use crate::verdict::result::{Check, GateResult, Status, share_of};

/// One in this many rows or answers may stay unexplained: 0.1 %.
const TOLERATED: u64 = 1_000;

/// The gate at work. Most of what it needs is in the summary.
pub struct JoinGate {
    answers: Answers,
}

impl JoinGate {
    /// A gate for a run with these faults.
    pub fn new(faults: &[FaultMeta]) -> Self {
        Self {
            answers: Answers::new(faults),
        }
    }
}

/// Is this many of that many too many?
pub fn is_leaky(part: u64, whole: u64) -> bool {
    part.saturating_mul(TOLERATED) > whole
}

/// Ledger rows that belong to no request.
pub fn strays(summary: &Summary) -> u64 {
    summary.ledger_rows_without_key + summary.orphans
}

/// An answer that no upstream gave. Where there is a stray row for each, the join is at fault;
/// otherwise the router made it up.
fn unexplained(summary: &Summary) -> Check {
    let successes = summary.answers.total() - summary.answers.failures();
    let is_made_up = summary.unexplained > strays(summary);
    let status = match is_made_up {
        true => Status::Fail,
        false => leak(summary.unexplained, successes, Status::Invalid),
    };
    let condition = "answers without a ledger row <= 0.1 %, and no more than stray rows";
    check(condition, summary.unexplained, successes, status)
}

/// Rows that cannot be told apart only weaken the gates that count them.
fn stray_rows(summary: &Summary) -> Check {
    let (part, whole) = (strays(summary), summary.ledger_rows);
    let status = leak(part, whole, Status::Inconclusive);
    let condition = "ledger rows without a request <= 0.1 %";
    check(condition, part, whole, status)
}

/// The client gives up by itself in time: a request that just vanished is our own fault, and nobody
/// can say how it would have ended.
fn unanswered(summary: &Summary) -> Check {
    let (part, whole) = (summary.unfinished, summary.sent);
    let status = match part {
        0 => Status::Pass,
        _ => Status::Invalid,
    };
    check("requests without an answer == 0", part, whole, status)
}

fn leak(part: u64, whole: u64, status: Status) -> Status {
    match is_leaky(part, whole) {
        true => status,
        false => Status::Pass,
    }
}

fn check(condition: &str, part: u64, whole: u64, status: Status) -> Check {
    let share = (whole > 0).then(|| part as f64 / whole as f64);
    Check::census(condition, status, share_of(part, whole)).figure(share, "share", whole)
}

impl Gate for JoinGate {
    fn story(&mut self, story: &Story, _so_far: &SoFar) {
        self.answers.story(story);
    }

    fn finish(&self, end: &End<'_>) -> GateResult {
        let mut checks = vec![unexplained(end.summary), stray_rows(end.summary)];
        if !end.cut_short {
            checks.push(unanswered(end.summary));
        }
        if end.summary.keys.is_some() {
            checks.extend(self.answers.checks());
        }
        GateResult::of("join", checks)
    }
}
