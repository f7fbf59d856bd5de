//! From the router's own events to plain facts: the only place below the drivers that knows both.

use crate::observe::event::{
    AttemptKind, Booked, Finding, Missing, RollbackFacts, Settled, StandingFacts, What,
};
use crate::router::config::{RollbackConfig, ThresholdAction};
use crate::router::deployment::Change;
use crate::router::io::{self, Closed, Event, Evidence, Reason, Rollback};
use crate::router::judge::lack::Lack;
use crate::router::judge::sequential::HoldReason;
use crate::time::Timestamp;

/// What an event of the router is for everybody else. `at` is when the driver heard of it.
pub fn fact(event: Event, at: Timestamp) -> What {
    match event {
        Event::Assigned { key, version, .. } => What::Assigned { key, version },
        Event::AttemptEnded {
            attempt,
            key,
            version,
            kind,
            fallback,
            outcome,
            latency,
            answer,
        } => What::Booked(Booked {
            key,
            n: attempt.n,
            version,
            kind: attempt_kind(kind),
            fallback,
            outcome,
            latency,
            usage: answer.usage,
            is_estimated: answer.is_estimated,
            drift: answer.drift,
        }),
        Event::RequestEnded {
            key,
            outcome,
            served_by,
            fallback,
            attempts,
            ..
        } => What::Settled(Settled {
            key,
            outcome,
            served_by,
            fallback,
            attempts,
        }),
        Event::Judged(evidence) => What::Judged(finding(&evidence)),
        Event::RolledBack(record) => What::RolledBack(rollback(record, at)),
        Event::Held(reason) => What::Held(reason.map(HoldReason::name)),
        Event::Standing(standing) => What::Standing(StandingFacts {
            revision: standing.revision,
            phase: standing.phase.name(),
            step: standing.step.map(|(_, name)| name),
            share: standing.share,
            cause: standing.cause.name(),
            closed: standing.closed.into_iter().map(Closed::name).collect(),
        }),
        Event::NotPromoted(missing) => What::NotPromoted(missing.iter().map(lacks).collect()),
    }
}

/// The letter about a rollback that an order to keep it carries, if anybody is to get one: whoever keeps a rollback
/// writes to its webhooks and peers.
pub fn letter(change: &Change, receivers: &RollbackConfig, at: Timestamp) -> Option<What> {
    let has_receivers = !receivers.webhooks.is_empty() || !receivers.peers.is_empty();
    let record = change.rollback.clone().filter(|_| has_receivers)?;
    Some(What::Told(rollback(record, at)))
}

fn rollback(record: Rollback, at: Timestamp) -> RollbackFacts {
    RollbackFacts {
        from: record.from,
        to: record.to,
        decided_at: at,
        cause: record.reason.name(),
        reason: record.reason.evidence().map(finding),
        words: match record.reason {
            Reason::ByHand(words) => Some(words),
            Reason::Judged(_) | Reason::Inconclusive => None,
        },
        step: record.step,
        affected_requests: record.affected_requests,
        id: record.id,
    }
}

/// What a step lacks, as everybody else is told.
pub fn lacks(lack: &Lack) -> Missing {
    let figures = lack.figures();
    Missing {
        code: lack.code(),
        words: lack.to_string(),
        have: figures.map(|f| f.have),
        need: figures.map(|f| f.need),
        unit: figures.map(|f| f.unit),
    }
}

fn attempt_kind(kind: io::AttemptKind) -> AttemptKind {
    match kind {
        io::AttemptKind::First => AttemptKind::First,
        io::AttemptKind::Retry => AttemptKind::Retry,
        io::AttemptKind::Fallback => AttemptKind::Fallback,
    }
}

/// What a judge found, as everybody else is told.
pub fn finding(evidence: &Evidence) -> Finding {
    Finding {
        version: evidence.version,
        measure: evidence.measure.name(),
        value: evidence.value,
        bound: evidence.bound,
        samples: evidence.samples,
        min_samples: evidence.min_samples,
        action: match evidence.action {
            ThresholdAction::Rollback => "rollback",
            ThresholdAction::Alert => "alert",
        },
        violated: evidence.violated,
    }
}
