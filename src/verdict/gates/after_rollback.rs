//! `after_rollback`: nothing is sent to the canary once it was closed.
//!
//! Counted are attempts *dispatched* after the decision (for another gateway, taken by the canary's
//! upstream after a grace). The absence of such attempts means something only after enough requests
//! that would have met an open canary: ⌈ln 0.001 / ln(1 − w)⌉ randomised ones, or any that a rule
//! sends, or somebody forces, there. A gateway that was ordered to close its canary, and said that it has, is asked the same of all that was
//! sent later, whatever the ledgers take for the closing.

use crate::id::VersionId;
use crate::observe::event::{RunEvent, What};
use crate::observe::join::Joined;
use crate::observe::orders::{OrderEnd, OrderFacts, OrderKind};
use crate::observe::story::Story;
use crate::time::Timestamp;
use crate::verdict::gates::{End, Gate, SoFar};
use crate::verdict::result::{Check, GateResult, Offenders, Status, grouped, weaken};
use crate::verdict::spec::AfterRollbackSpec;

/// The gate at work.
pub struct AfterRollbackGate {
    spec: AfterRollbackSpec,
    canary: VersionId,
    met_canary: u64,
    randomised: u64,
    pinned: u64,
    offenders: Offenders,
    /// When the canary was closed, grace included, once that is told; and who came there later without a key.
    closed_at: Option<Timestamp>,
    nameless: u64,
    /// The last arrival at the canary, and the requests over so far that were sent since then: a rollback that ledgers alone
    /// show is told long after it happened.
    last_at: Timestamp,
    since_last: [u64; 2],
    /// When an order to close the canary was carried out, grace included, and the next order opened it again.
    ordered_at: Option<Timestamp>,
    opened_at: Option<Timestamp>,
    /// Requests that were sent between, and those of them that met the canary.
    under_order: u64,
    defied: Offenders,
    defiant: u64,
}

impl AfterRollbackGate {
    /// A gate that has seen nothing.
    pub fn new(spec: AfterRollbackSpec, canary: VersionId) -> Self {
        Self {
            spec,
            canary,
            met_canary: 0,
            randomised: 0,
            pinned: 0,
            offenders: Offenders::default(),
            closed_at: None,
            nameless: 0,
            last_at: Timestamp::ZERO,
            since_last: [0; 2],
            ordered_at: None,
            opened_at: None,
            under_order: 0,
            defied: Offenders::default(),
            defiant: 0,
        }
    }

    fn answered(&mut self, at: Timestamp, end: &OrderEnd) {
        if end.order.kind == OrderKind::Rollback && end.is_done() {
            self.ordered_at.get_or_insert(at + self.spec.grace);
        }
    }

    fn ordered(&mut self, at: Timestamp, order: OrderFacts) {
        let is_opening = order.kind.share().is_some_and(|share| share > 0.0);
        if self.ordered_at.is_some() && is_opening {
            self.opened_at.get_or_insert(at);
        }
    }

    /// Was it sent while the canary was closed by order?
    fn note_order(&mut self, story: &Story) {
        let sent = story.sent.map(|(at, _)| at);
        let is_later = sent.is_some_and(|at| self.ordered_at.is_some_and(|ordered| at > ordered));
        let is_before = sent < self.opened_at || self.opened_at.is_none();
        if is_later && is_before {
            self.under_order += 1;
            let has_met = story
                .attempts
                .iter()
                .any(|a| a.version == self.canary && a.was_accepted());
            self.defiant += u64::from(has_met);
            has_met.then(|| self.defied.note(story.key));
        }
    }

    /// What was sent after the order was answered; none without one.
    fn by_order(&self) -> Option<Check> {
        self.ordered_at?;
        let limit = self.spec.canary_requests;
        let condition = format!(
            "canary_requests {limit} of those sent after its closing was ordered and confirmed"
        );
        let status = match limit.holds(self.defiant) {
            true => Status::Pass,
            false => Status::Fail,
        };
        let (x, n) = (grouped(self.defiant), grouped(self.under_order));
        let check = Check::census(condition, status, format!("{x} of {n} met it"));
        let check = check.figure(Some(self.defiant as f64), "requests", self.under_order);
        Some(check.offenders(self.defied.keys()))
    }

    /// A request that an open canary would have got, or might have: by chance, and by a rule or by force.
    fn opportunity(&self, story: &Story, closed_at: Timestamp) -> [u64; 2] {
        let Some((_, sent)) = story.sent.filter(|(at, _)| *at > closed_at) else {
            return [0; 2];
        };
        match sent.intent.named() {
            None => [1, 0],
            Some(version) => [0, u64::from(version == self.canary)],
        }
    }

    /// Somebody's traffic, or a look at the canary's health: nobody can tell.
    fn strays(&self) -> Check {
        let condition = "nobody without a key comes to the canary";
        let seen = format!("{} came", grouped(self.nameless));
        Check::census(condition, Status::Inconclusive, seen).figure(
            Some(self.nameless as f64),
            "attempts",
            self.nameless,
        )
    }
}

impl Gate for AfterRollbackGate {
    fn event(&mut self, event: &RunEvent, _joined: &Joined) {
        match &event.what {
            What::Accepted(row) if row.version == self.canary => {
                self.last_at = event.at;
                self.since_last = [0; 2];
                let is_late = self.closed_at.is_some_and(|closed| event.at > closed);
                self.nameless += u64::from(is_late && row.key.is_none());
            }
            What::RolledBack(record) if record.is_inferred() => {
                let [randomised, pinned] = self.since_last;
                self.randomised += randomised;
                self.pinned += pinned;
                self.closed_at = Some(record.decided_at + self.spec.grace);
            }
            What::OrderEnded(end) => self.answered(event.at, end),
            What::Ordered(order) => self.ordered(event.at, *order),
            _ => {}
        }
    }

    fn story(&mut self, story: &Story, so_far: &SoFar) {
        self.note_order(story);
        let Some(rollback) = &so_far.rollback else {
            let closed_at = self.last_at + self.spec.grace;
            let [randomised, pinned] = self.opportunity(story, closed_at);
            self.since_last[0] += randomised;
            self.since_last[1] += pinned;
            return;
        };
        let closed_at = rollback.decided_at + self.spec.grace;
        let [randomised, pinned] = self.opportunity(story, closed_at);
        self.randomised += randomised;
        self.pinned += pinned;
        // A ledger row without its request may be of an attempt that was sent long before.
        // That of another gateway tells when it arrived, which is what counts.
        let is_known = story.sent.is_some() || rollback.is_inferred();
        let is_late = story
            .attempts
            .iter()
            .any(|a| a.version == self.canary && a.started_at().is_some_and(|at| at > closed_at));
        if is_known && is_late {
            self.met_canary += 1;
            self.offenders.note(story.key);
        }
    }

    fn finish(&self, end: &End<'_>) -> GateResult {
        let limit = self.spec.canary_requests;
        let condition = format!("canary_requests {limit}");
        if end.summary.rollbacks.is_empty() {
            let check = Check::census(condition, Status::Inconclusive, "there was no rollback");
            let checks = [check].into_iter().chain(self.by_order());
            return GateResult::of("after_rollback", checks.collect());
        }
        let holds = limit.holds(self.met_canary);
        let status = if holds { Status::Pass } else { Status::Fail };
        let seen = format!(
            "{} of {} later requests met the canary",
            grouped(self.met_canary),
            grouped(self.randomised + self.pinned)
        );
        let (n, min_n) = match self.spec.min_n {
            0 => (self.pinned, 1),
            min_n => (self.randomised, min_n),
        };
        let mut checks = vec![
            Check::census(condition, status, seen)
                .figure(Some(self.met_canary as f64), "requests", n)
                .offenders(self.offenders.keys())
                .needs(n, min_n),
        ];
        checks.extend(self.by_order());
        if self.nameless > 0 {
            checks.push(self.strays());
        }
        if end.join_is_leaky {
            weaken(&mut checks);
        }
        GateResult::of("after_rollback", checks)
    }
}
