//! `after_rollback`: nothing is sent to the canary once it was closed.
//!
//! Counted are attempts *dispatched* after the decision (for another gateway, taken by the canary's
//! upstream after a grace). The absence of such attempts means something only after enough requests
//! that would have met an open canary: ⌈ln 0.001 / ln(1 − w)⌉ randomised ones, or any that a rule
//! sends, or somebody forces, there. A gateway that was ordered to close its canary, and said that it has, is asked the same of all that was
//! sent later, whatever the ledgers take for the closing. An order that may have opened the canary again ends both, until it is closed by
//! another.

use crate::id::VersionId;
use crate::observe::event::{RunEvent, What};
use crate::observe::history::{Shares, before};
use crate::observe::join::Joined;
use crate::observe::orders::{OrderFacts, OrderKind};
use crate::observe::story::{Attempt, Story};
use crate::time::Timestamp;
use crate::verdict::gates::{End, Gate, SoFar};
use crate::verdict::result::{Check, GateResult, Offenders, Status, grouped, weaken};
use crate::verdict::spec::AfterRollbackSpec;

/// Until now, whenever that is.
const TO_THE_END: Timestamp = Timestamp(u64::MAX);

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
    /// The share that the canary may have by orders, had it been closed after its last arrival before the rollback.
    once_closed: Shares,
    /// And if nothing but orders closed it; was it ordered to be closed?
    by_orders: Shares,
    was_ordered: bool,
    /// Requests that were sent while it was closed by order, and those of them that met the canary.
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
            once_closed: Shares::new(0.0),
            by_orders: Shares::new(1.0),
            was_ordered: false,
            under_order: 0,
            defied: Offenders::default(),
            defiant: 0,
        }
    }

    /// An order, or what came of it. A share of 0 closes nothing here: whoever keeps callers in place may leave those at the canary there.
    fn ordered(&mut self, event: &RunEvent, order: OrderFacts) {
        if order.kind.share() == Some(0.0) {
            return;
        }
        self.once_closed.event(event.at, &event.what);
        self.by_orders.event(event.at, &event.what);
        let is_done = matches!(&event.what, What::OrderEnded(end) if end.is_done());
        self.was_ordered |= is_done && order.kind == OrderKind::Rollback;
    }

    /// Was it closed by this all the time between, and a grace before?
    fn is_closed(&self, shares: &Shares, since: Timestamp, until: Timestamp) -> bool {
        shares.between(before(since, self.spec.grace), until).most <= 0.0
    }

    /// Had no order opened it again by then, if it was closed after its last arrival?
    fn is_still_closed(&self, since: Timestamp, until: Timestamp) -> bool {
        // What was ordered before that arrival opened nothing that was closed after it.
        let since = since.max(self.last_at + self.spec.grace);
        self.is_closed(&self.once_closed, since, until)
    }

    /// Something came to the canary.
    fn arrived(&mut self, at: Timestamp, has_key: bool) {
        let Some(closed_at) = self.closed_at else {
            self.last_at = at;
            self.since_last = [0; 2];
            self.once_closed.weigh(at, 0.0);
            return;
        };
        let is_late = at > closed_at && self.is_still_closed(at, at);
        self.nameless += u64::from(is_late && !has_key);
    }

    /// Was it sent while the canary was closed by order?
    fn note_order(&mut self, story: &Story) {
        let Some((sent, _)) = story.sent else {
            return;
        };
        let is_defiant = |a: &Attempt| {
            let by_order = |at| self.is_closed(&self.by_orders, sent, at);
            a.version == self.canary && a.accepted_at.is_some_and(by_order)
        };
        let has_met = story.attempts.iter().any(is_defiant);
        let was_closed = self.is_closed(&self.by_orders, sent, TO_THE_END);
        self.under_order += u64::from(has_met || was_closed);
        self.defiant += u64::from(has_met);
        has_met.then(|| self.defied.note(story.key));
    }

    /// What was sent after the order was answered; none where nothing was.
    fn by_order(&self) -> Option<Check> {
        if !self.was_ordered || self.under_order == 0 {
            return None;
        }
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
        let is_later = |at: Timestamp| at > closed_at && self.is_still_closed(at, TO_THE_END);
        let Some((_, sent)) = story.sent.filter(|(at, _)| is_later(*at)) else {
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
                self.arrived(event.at, row.key.is_some());
            }
            What::RolledBack(record) if record.is_inferred() => {
                let [randomised, pinned] = self.since_last;
                self.randomised += randomised;
                self.pinned += pinned;
                self.closed_at = Some(record.decided_at + self.spec.grace);
            }
            What::OrderEnded(end) => self.ordered(event, end.order),
            What::Ordered(order) => self.ordered(event, *order),
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
        let is_late = |at| at > closed_at && self.is_still_closed(at, at);
        let mut at_canary = story.attempts.iter().filter(|a| a.version == self.canary);
        if is_known && at_canary.any(|a| a.started_at().is_some_and(is_late)) {
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
