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

use crate::id::{IdMap, VersionId};
use crate::observe::event::{RunEvent, Sent, What};
use crate::observe::join::Joined;
use crate::time::Timestamp;
use crate::verdict::gates::{End, Gate};
use crate::verdict::result::{Check, GateResult, Offenders, Status, grouped, weaken};
use crate::verdict::spec::StickinessSpec;

/// What shares that are the same may differ by, for reckoning.
const ROUNDING: f64 = 1e-9;

/// The gate at work.
pub struct StickinessGate {
    spec: StickinessSpec,
    canary: VersionId,
    /// The shares that the canary had, and since when; in order.
    shares: Vec<(Timestamp, f64)>,
    /// By caller. There are as many as callers, however long the run is.
    places: IdMap<u32, Place>,
    /// Callers who could have moved, and those who did.
    returned: u64,
    moved: u64,
    movers: Offenders,
}

/// Where a caller was seen.
#[derive(Clone, Copy, Default)]
struct Place {
    /// The largest share of the canary at which stable had the caller.
    at_stable: Option<f64>,
    /// The smallest share of the canary at which it had the caller.
    at_canary: Option<f64>,
    /// How often the caller could have been elsewhere; 2 stands for more.
    telling: u8,
    has_moved: bool,
}

impl Place {
    fn is_contradiction(&self) -> bool {
        let both = self.at_stable.zip(self.at_canary);
        both.is_some_and(|(stable, canary)| canary - stable < ROUNDING)
    }
}

impl StickinessGate {
    /// A gate that has seen nothing.
    pub fn new(spec: StickinessSpec, canary: VersionId) -> Self {
        Self {
            shares: vec![(Timestamp::ZERO, spec.canary_share)],
            spec,
            canary,
            places: IdMap::default(),
            returned: 0,
            moved: 0,
            movers: Offenders::default(),
        }
    }

    fn weigh(&mut self, at: Timestamp, share: f64) {
        let newest = self.shares.last().map(|(_, share)| *share);
        if newest != Some(share) {
            self.shares.push((at, share));
        }
    }

    /// The shares that were in force at any time since then.
    fn shares_since(&self, since: Timestamp) -> impl Iterator<Item = f64> {
        let before = self.shares.partition_point(|(at, _)| *at <= since);
        let in_force = &self.shares[before.saturating_sub(1)..];
        in_force.iter().map(|(_, share)| *share)
    }

    fn met(&mut self, caller: u32, sent: &Sent, version: VersionId) {
        let shares = self.shares_since(sent.scheduled_at);
        let is_at_canary = version == self.canary;
        let (share, could_be_elsewhere) = match is_at_canary {
            true => {
                let largest = shares.fold(0.0, f64::max);
                (largest, largest < 1.0)
            }
            false => {
                let smallest = shares.fold(1.0, f64::min);
                (smallest, smallest > 0.0)
            }
        };
        let place = self.places.get_or_insert_with(caller, Place::default);
        let (seen, bound): (_, fn(f64, f64) -> f64) = match is_at_canary {
            true => (&mut place.at_canary, f64::min),
            false => (&mut place.at_stable, f64::max),
        };
        *seen = Some(seen.map_or(share, |before| bound(before, share)));
        let had = place.telling;
        place.telling = 2.min(had + u8::from(could_be_elsewhere));
        if place.is_contradiction() && !place.has_moved {
            // Wherever it was that they could have been.
            place.telling = 2;
            place.has_moved = true;
            self.moved += 1;
            self.movers.note(sent.key);
        }
        self.returned += u64::from(had < 2 && place.telling == 2);
    }
}

impl Gate for StickinessGate {
    fn event(&mut self, event: &RunEvent, joined: &Joined) {
        match &event.what {
            What::Standing(standing) => self.weigh(event.at, standing.share),
            What::RolledBack(_) => self.weigh(event.at, 0.0),
            _ => {}
        }
        let Some((first, sent)) = joined.first.and_then(|f| f.sent.map(|sent| (f, sent))) else {
            return;
        };
        let is_due = first.is_randomised() && self.spec.scope.contains(sent.scheduled_at);
        let caller = self.spec.callers.get(sent.caller as usize);
        if let Some(caller) = caller.copied().flatten().filter(|_| is_due) {
            self.met(caller, &sent, first.version);
        }
    }

    fn finish(&self, end: &End<'_>) -> GateResult {
        let (x, n, limit) = (self.moved, self.returned, self.spec.moved);
        let may_come = end.cut_short && limit.is_still_to_come(x);
        let status = match limit.holds(x) {
            _ if n == 0 || may_come => Status::Inconclusive,
            true => Status::Pass,
            false => Status::Fail,
        };
        let (moved, seen) = (grouped(x), grouped(n));
        let seen = format!("{moved} of {seen} callers who came again moved");
        let mut checks = vec![
            Check::census(format!("moved {limit}"), status, seen)
                .figure((n > 0).then_some(x as f64), "callers", n)
                .offenders(self.movers.keys())
                .needs(n, self.spec.min_n.max(1)),
        ];
        if end.join_is_leaky {
            weaken(&mut checks);
        }
        GateResult::of("stickiness", checks)
    }
}
