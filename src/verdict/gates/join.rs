//! `join`: requests and the upstreams' ledgers could be put together. Every run has this gate.

use crate::id::RequestKey;
use crate::observe::event::Text;
use crate::observe::story::{Attempt, Story};
use crate::observe::summary::Summary;
use crate::protocol::drift::Drift;
use crate::protocol::outcome::Outcome;
use crate::upstream::plan::MOST_WORDS;
use crate::verdict::gates::{End, Gate, SoFar};
use crate::verdict::result::{Check, GateResult, Offenders, Status, share_of};

/// One in this many rows or answers may stay unexplained: 0.1 %.
const TOLERATED: u64 = 1_000;

/// The gate at work. Most of what it needs is in the summary.
#[derive(Default)]
pub struct JoinGate {
    /// Successes whose answer says by its id whose it is, and those that are somebody else's.
    named: u64,
    swapped: u64,
    swappers: Offenders,
    /// Successes of mocks that did what they should, whose text tells how much of it there is; and those that are altered.
    told: u64,
    altered: u64,
    alterers: Offenders,
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

impl JoinGate {
    /// What an upstream made up for one request, another one's caller got. Of the built-in router, `attribution` tells it.
    fn swaps(&self) -> Check {
        let status = match self.swapped {
            0 => Status::Pass,
            _ => Status::Fail,
        };
        let condition = "answers of another request == 0";
        check(condition, self.swapped, self.named, status).offenders(self.swappers.keys())
    }

    /// Part of an answer, or more than it, was passed on as the whole.
    fn alterations(&self) -> Check {
        let status = match self.altered {
            0 => Status::Pass,
            _ => Status::Fail,
        };
        let condition = "answers with another text than their upstream's == 0";
        check(condition, self.altered, self.told, status).offenders(self.alterers.keys())
    }
}

impl JoinGate {
    fn note_owner(&mut self, story: &Story, owner: RequestKey) {
        self.named += 1;
        if owner != story.key {
            self.swapped += 1;
            self.swappers.note(story.key);
        }
    }

    fn note_text(&mut self, story: &Story, text: Text) {
        let mut stated = stated(story).peekable();
        if stated.peek().is_none() {
            return;
        }
        self.told += 1;
        if !stated.any(|tokens| is_whole(text, tokens)) {
            self.altered += 1;
            self.alterers.note(story.key);
        }
    }
}

/// The tokens that upstreams state of their answers to this request; none at all where one of them may have sent something else.
fn stated(story: &Story) -> impl Iterator<Item = u32> {
    let success = |a: &&Attempt| a.outcome.is_some_and(Outcome::is_success);
    let is_plain = |a: &Attempt| a.fault.is_none() && a.drift == Drift::NONE;
    let successes = story.attempts.iter().filter(success);
    let are_plain = successes.clone().all(is_plain);
    let usages = successes.filter_map(move |a| a.usage.filter(|_| are_plain));
    usages.map(|usage| usage.completion_tokens)
}

fn is_whole(text: Text, stated: u32) -> bool {
    match text {
        Text::Tokens(tokens) => tokens.min(MOST_WORDS) == stated.min(MOST_WORDS),
        Text::Altered => false,
    }
}

impl Gate for JoinGate {
    fn story(&mut self, story: &Story, _so_far: &SoFar) {
        let Some((_, answered)) = story.answered.filter(|(_, a)| a.outcome.is_success()) else {
            return;
        };
        if let Some(owner) = answered.origin.key {
            self.note_owner(story, owner);
        }
        let of_stream = answered.streamed.and_then(|s| s.content).map(Text::Tokens);
        if let Some(text) = answered.origin.text.or(of_stream) {
            self.note_text(story, text);
        }
    }

    fn finish(&self, end: &End<'_>) -> GateResult {
        let mut checks = vec![unexplained(end.summary), stray_rows(end.summary)];
        if !end.cut_short {
            checks.push(unanswered(end.summary));
        }
        if end.summary.keys.is_some() {
            checks.extend([self.swaps(), self.alterations()]);
        }
        GateResult::of("join", checks)
    }
}
