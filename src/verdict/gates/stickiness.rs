//! `stickiness`: callers stay on the version they met.
//!
//! Whoever keeps callers in place, by a hash, a cookie or a table, keeps this: *a caller who is seen at both
//! versions was at the canary while its share was larger than when they were at stable*. So callers may come
//! to the canary when it grows, and leave it when it shrinks or is closed; while the weights stand, nobody
//! moves, and nobody comes back before the weights do. Kept of each caller are only the largest share at
//! which stable had them and the smallest at which the canary did: they have moved when the first is not
//! below the second.
//!
//! Counted are first attempts by the upstream that took them, of requests that chance assigns: not fallbacks,
//! and not what a rule pins or somebody forces. A request may have been given to its version at any time
//! from its schedule to its arrival; where the share changes meanwhile, the caller has the benefit of it. Only
//! callers who were seen twice while they could have been elsewhere show anything. A census.
//!
//! Another gateway may close its canary and tell nobody: whoever is seen at stable after the last arrival at the canary (or
//! shortly before: requests overtake each other) may have left a closed one. That is held against nobody until the canary is
//! met again; where it is not, and no rollback is shown either, it is not known whether they moved. An order that may have opened it
//! again ends that: whoever was seen at stable since the last arrival may have left a closed one, or one that was open all the time.
//! Callers are watched for both, and where it matters which it was, nobody knows.
//!
//! A gateway that keeps callers by a table may give those of a canary that it closes to stable for good, and one that keeps them by a hash
//! may draw anew after a rollback. So where another gateway's canary was closed, or may have been, callers may be anywhere when it is
//! opened again.
//!
//! Orders that overlap may leave it unknown which share is in force. Whoever is seen then shows nothing by coming again; and where it
//! stays unknown to the end, no gateway passes for what was seen before.

use std::collections::VecDeque;

use crate::id::{IdMap, RequestKey, VersionId};
use crate::observe::chance::Chances;
use crate::observe::event::{RollbackFacts, RunEvent, Sent, What};
use crate::observe::history::{Shares, before};
use crate::observe::join::{FirstAttempt, Joined};
use crate::observe::shares::Possible;
use crate::stats::silence::Silence;
use crate::time::Timestamp;
use crate::verdict::gates::{End, Gate, MISSED, SUSPECT};
use crate::verdict::result::{Check, GateResult, Offenders, Status, grouped, weaken};
use crate::verdict::spec::StickinessSpec;

/// What shares that are the same may differ by, for reckoning.
const ROUNDING: f64 = 1e-9;

/// The gate at work.
pub struct StickinessGate {
    spec: StickinessSpec,
    canary: VersionId,
    shares: Shares,
    /// What it looks like if a canary that may have been closed in silence was; and if it was not, where that may happen.
    closed: Watch,
    open: Option<Watch>,
    /// How long nobody has come to the canary; and of those alone who had moved, or came anew.
    silence: Silence,
    of_new: Silence,
    chances: Chances,
    /// Was it not known what share was in force, when somebody was seen last?
    is_unclear: bool,
}

/// Callers, and where they were seen.
#[derive(Clone, Default)]
struct Watch {
    /// May callers stay for good where a closing of the canary put them?
    closing_moves: bool,
    /// Callers at stable, who may have left a canary that was closed in silence; in order.
    unsettled: VecDeque<(Timestamp, (Seen, u32))>,
    /// By caller. There are as many as callers, however long the run is.
    places: IdMap<u32, Place>,
    /// Callers who could have moved, and those who did.
    returned: u64,
    moved: u64,
    movers: Offenders,
    /// How often another gateway's canary was closed.
    closings: u32,
}

/// A request that came to a version.
#[derive(Clone, Copy)]
struct Seen {
    caller: u32,
    key: RequestKey,
    is_at_canary: bool,
    /// The shares that the canary may have had.
    possible: Possible,
    /// Were they one, but for the time that an order takes to be carried out?
    is_clear: bool,
}

impl Seen {
    /// The one that speaks for the caller.
    fn share(&self) -> f64 {
        match self.is_at_canary {
            true => self.possible.most,
            false => self.possible.least,
        }
    }

    fn could_be_elsewhere(&self) -> bool {
        match self.is_at_canary {
            true => self.share() < 1.0,
            false => self.share() > 0.0,
        }
    }
}

/// Where a caller was seen.
#[derive(Clone, Copy, Default)]
struct Place {
    /// The largest share of the canary at which stable had the caller.
    at_stable: Option<f64>,
    /// The smallest share of the canary at which it had the caller.
    at_canary: Option<f64>,
    /// How often it had been closed before.
    closings: u32,
    /// How often the caller could have been elsewhere; 2 stands for more.
    telling: u8,
    has_moved: bool,
}

impl Place {
    /// And where the caller is seen now.
    fn with(self, seen: Seen) -> Self {
        let mut place = self;
        let (known, bound): (_, fn(f64, f64) -> f64) = match seen.is_at_canary {
            true => (&mut place.at_canary, f64::min),
            false => (&mut place.at_stable, f64::max),
        };
        *known = Some(known.map_or(seen.share(), |before| bound(before, seen.share())));
        place
    }

    /// What is known of the caller after the canary was closed so often.
    fn after(self, closings: u32, seen: Seen) -> Self {
        if self.closings == closings {
            return self;
        }
        Self {
            // Whoever is at a canary that is closed since has not left stable for it.
            at_stable: self.at_stable.filter(|_| seen.possible.most <= 0.0),
            at_canary: None,
            closings,
            // Whoever was seen once before it, and once after it, shows nothing.
            telling: self.telling - self.telling % 2,
            ..self
        }
    }

    fn is_contradiction(&self) -> bool {
        let both = self.at_stable.zip(self.at_canary);
        both.is_some_and(|(stable, canary)| canary - stable < ROUNDING)
    }
}

impl Watch {
    fn new(closing_moves: bool) -> Self {
        Self {
            closing_moves,
            ..Self::default()
        }
    }

    /// Whoever was at stable before this was not there because the canary was closed.
    fn settle_until(&mut self, until: Timestamp) {
        while let Some((_, (seen, closings))) = self.unsettled.pop_front_if(|(at, _)| *at < until) {
            self.settle(seen, closings);
        }
    }

    /// Whoever has not been settled yet may have left a canary that was closed.
    fn leave_unsettled(&mut self) {
        let possible = Possible::only(0.0);
        let closings = self.closings;
        for (_, (seen, _)) in std::mem::take(&mut self.unsettled) {
            self.settle(Seen { possible, ..seen }, closings);
        }
    }

    fn settle(&mut self, seen: Seen, closings: u32) {
        let place = self.places.get_or_insert_with(seen.caller, Place::default);
        if self.closing_moves {
            *place = place.after(closings, seen);
        }
        let had = place.telling;
        let is_telling = seen.is_clear && seen.could_be_elsewhere();
        place.telling = 2.min(had + u8::from(is_telling));
        let known = place.with(seen);
        if known.is_contradiction() && !place.has_moved {
            // Wherever it was that they could have been.
            place.telling = 2;
            place.has_moved = true;
            self.moved += 1;
            self.movers.note(seen.key);
        }
        // Whoever is at a canary that is being closed may be moved with the others yet.
        let is_closing = seen.possible.least <= 0.0;
        if !(self.closing_moves && seen.is_at_canary && is_closing) {
            (place.at_stable, place.at_canary) = (known.at_stable, known.at_canary);
        }
        self.returned += u64::from(had < 2 && place.telling == 2);
    }

    /// The same, were the canary open to the end.
    fn if_open(&self) -> Self {
        let mut all = self.clone();
        all.settle_until(Timestamp(u64::MAX));
        all
    }
}

impl StickinessGate {
    /// A gate that has seen nothing.
    pub fn new(spec: StickinessSpec, canary: VersionId) -> Self {
        Self {
            shares: Shares::new(spec.canary_share),
            closed: Watch::new(spec.closing_moves),
            open: spec
                .may_close_in_silence
                .then(|| Watch::new(spec.closing_moves)),
            spec,
            canary,
            silence: Silence::default(),
            of_new: Silence::default(),
            chances: Chances::default(),
            is_unclear: false,
        }
    }

    fn both(&mut self) -> impl Iterator<Item = &mut Watch> {
        std::iter::once(&mut self.closed).chain(&mut self.open)
    }

    /// A caller came to a version.
    fn met(&mut self, at: Timestamp, caller: u32, (first, sent): (&FirstAttempt, &Sent)) {
        let since = before(sent.scheduled_at, self.spec.grace);
        let possible = self.shares.since(since);
        let is_at_canary = first.version == self.canary;
        self.is_unclear = self.shares.is_doubtful();
        let seen = Seen {
            caller,
            key: sent.key,
            is_at_canary,
            possible,
            is_clear: self.shares.is_known(),
        };
        let is_new = self.chances.is_new(first);
        for (silence, is_chance) in [(&mut self.silence, true), (&mut self.of_new, is_new)] {
            match is_at_canary {
                true => silence.met(at),
                false if is_chance => silence.missed(possible.least),
                false => {}
            }
        }
        let is_unsettled = self.spec.may_close_in_silence && !is_at_canary;
        for watch in self.both() {
            let closings = watch.closings;
            match is_unsettled {
                true => watch.unsettled.push_back((at, (seen, closings))),
                false => watch.settle(seen, closings),
            }
        }
    }

    /// The canary is open: who was at stable before was not there because it was closed.
    fn is_open(&mut self, at: Timestamp) {
        let until = before(at, self.spec.grace);
        self.both().for_each(|watch| watch.settle_until(until));
    }

    /// Another gateway is given an order, or has answered it.
    fn ordered(&mut self, event: &RunEvent) {
        let opens = matches!(&event.what, What::Ordered(order) if order.kind.share() > Some(0.0));
        if opens && self.spec.may_close_in_silence {
            self.may_open_again();
        }
        self.shares.event(event.at, &event.what);
        let is_closed = self.shares.newest().least <= 0.0;
        self.both()
            .for_each(|watch| watch.closings += u32::from(is_closed));
    }

    /// If it was closed in silence, this ends that. Whoever left it did so before: that is settled first.
    fn may_open_again(&mut self) {
        self.closed.leave_unsettled();
        self.closed.closings += u32::from(self.silence.is_beyond(SUSPECT));
        // Beyond chance: then it was.
        let is_shown = self.of_new.is_beyond(MISSED);
        if let Some(open) = self.open.as_mut().filter(|_| is_shown) {
            open.leave_unsettled();
            open.closings += 1;
        }
    }

    /// It was closed, another gateway's after the last arrival there.
    fn was_closed(&mut self, now: Timestamp, record: &RollbackFacts) {
        let then = match record.is_inferred() {
            true => record.decided_at,
            false => now,
        };
        self.shares.told(now, then, 0.0);
        for watch in self.both() {
            watch.closings += 1;
            watch.leave_unsettled();
        }
    }
}

impl Gate for StickinessGate {
    fn event(&mut self, event: &RunEvent, joined: &Joined) {
        match &event.what {
            What::Standing(standing) => self.shares.weigh(event.at, standing.share),
            What::Ordered(_) | What::OrderEnded(_) => self.ordered(event),
            What::RolledBack(record) => self.was_closed(event.at, record),
            What::Accepted(row) if row.version == self.canary => self.is_open(event.at),
            _ => {}
        }
        let Some((first, sent)) = joined.first.and_then(|f| f.sent.map(|sent| (f, sent))) else {
            return;
        };
        let is_due = first.is_randomised() && self.spec.scope.contains(sent.scheduled_at);
        let caller = self.spec.callers.get(sent.caller as usize);
        if let Some(caller) = caller.copied().flatten().filter(|_| is_due) {
            self.met(event.at, caller, (&first, &sent));
        }
    }

    fn finish(&self, end: &End<'_>) -> GateResult {
        let all = self.closed.if_open();
        let never_closed = self.open.as_ref().map(|open| open.if_open().moved);
        let (x, n, limit) = (self.closed.moved, all.returned, self.spec.moved);
        let may_come = end.cut_short && limit.is_still_to_come(x);
        let worst = all.moved.max(never_closed.unwrap_or(0));
        let is_unknown = limit.holds(x) != limit.holds(worst);
        let status = match limit.holds(x) {
            _ if n == 0 || may_come || is_unknown => Status::Inconclusive,
            true if self.is_unclear => Status::Inconclusive,
            true => Status::Pass,
            false => Status::Fail,
        };
        let (moved, seen) = (grouped(x), grouped(n));
        let mut seen = format!("{moved} of {seen} callers who came again moved");
        if is_unknown {
            let left = grouped(worst - x);
            seen +=
                &format!(", and {left} may have left a canary that was closed, which is not shown");
        }
        if self.is_unclear {
            seen += "; which of the shares that were ordered is in force at the end is not known";
        }
        let mut checks = vec![
            Check::census(format!("moved {limit}"), status, seen)
                .figure((n > 0).then_some(x as f64), "callers", n)
                .offenders(self.closed.movers.keys())
                .needs(n, self.spec.min_n.max(1)),
        ];
        if end.join_is_leaky {
            weaken(&mut checks);
        }
        GateResult::of("stickiness", checks)
    }
}
