//! `cost`: what the attempts of the run cost, by the tokens that upstreams state; of all versions, or
//! of one. A census.
//!
//! Attempts that may have used tokens of which nobody says how many make a bound on the costs
//! inconclusive, unless `unknown` says how many of them are fine: they are never taken for free.

use crate::observe::cost::{CostBook, VersionCosts};
use crate::pricing::Cost;
use crate::stats::compare::{Comparison, Op};
use crate::verdict::gates::{End, Gate};
use crate::verdict::result::{Check, GateResult, Status, grouped, weaken};
use crate::verdict::spec::CostSpec;

/// The gate at work. All it needs is in the summary.
pub struct CostGate {
    spec: CostSpec,
}

/// What a gate looks at.
struct Seen {
    total: Option<Cost>,
    wasted: Option<Cost>,
    unknown: u64,
    attempts: u64,
    wasted_attempts: u64,
}

impl CostGate {
    /// A gate with these conditions.
    pub fn new(spec: CostSpec) -> Self {
        Self { spec }
    }

    fn seen(&self, costs: &CostBook) -> Seen {
        let versions = costs.versions.iter();
        let mine = versions.filter(|(id, _)| self.spec.version.is_none_or(|v| v == *id));
        let mine: Vec<_> = mine.map(|(_, costs)| costs).collect();
        let all = |count: fn(&VersionCosts) -> u64| mine.iter().map(|v| count(v)).sum();
        Seen {
            total: mine.iter().map(|v| v.total()).sum(),
            wasted: mine.iter().map(|v| v.wasted()).sum(),
            unknown: all(|v| v.unknown),
            attempts: all(|v| v.served.attempts + v.wasted.attempts),
            wasted_attempts: all(|v| v.wasted.attempts),
        }
    }

    /// A bound on what so many of the attempts cost.
    fn amount(
        &self,
        (name, limit): (&str, Comparison<Cost>),
        (cost, attempts): (Option<Cost>, u64),
        seen: &Seen,
    ) -> Check {
        let condition = format!("{name} {} {}", limit.op, limit.bound);
        let Some(cost) = cost else {
            let words = "a version has no price";
            return Check::census(condition, Status::Inconclusive, words);
        };
        let holds = limit.holds(cost);
        let is_settled = self.spec.unknown.is_some() || seen.unknown == 0;
        // What is not known can only add to what is.
        let can_change = match limit.op {
            Op::Less | Op::AtMost => holds,
            Op::Greater | Op::AtLeast => !holds,
            Op::Equal => cost <= limit.bound,
        };
        let status = match (holds, is_settled || !can_change) {
            (true, true) => Status::Pass,
            (false, true) => Status::Fail,
            (_, false) => Status::Inconclusive,
        };
        let mut words = format!("{cost} for {} attempts", grouped(attempts));
        if seen.unknown > 0 {
            words += &format!(
                ", and {} more whose tokens nobody states",
                grouped(seen.unknown)
            );
        }
        Check::census(condition, status, words)
            .figure(Some(cost.as_dollars_f64()), "usd", seen.attempts)
            .needs(seen.attempts, 1)
    }

    fn unknown(&self, limit: Comparison<u64>, seen: &Seen) -> Check {
        let status = match limit.holds(seen.unknown) {
            true => Status::Pass,
            false => Status::Fail,
        };
        let condition = format!("unknown {} {}", limit.op, grouped(limit.bound));
        let words = format!("{} attempts", grouped(seen.unknown));
        let all = seen.attempts + seen.unknown;
        Check::census(condition, status, words)
            .figure(Some(seen.unknown as f64), "attempts", all)
            .needs(all, 1)
    }
}

impl Gate for CostGate {
    fn finish(&self, end: &End<'_>) -> GateResult {
        let seen = self.seen(&end.summary.costs);
        let (all, for_nothing) = (seen.attempts, seen.wasted_attempts);
        let total = self
            .spec
            .total
            .map(|limit| self.amount(("total", limit), (seen.total, all), &seen));
        let wasted = self
            .spec
            .wasted
            .map(|limit| self.amount(("wasted", limit), (seen.wasted, for_nothing), &seen));
        let unknown = self.spec.unknown.map(|l| self.unknown(l, &seen));
        let mut checks: Vec<Check> = total.into_iter().chain(wasted).chain(unknown).collect();
        if end.join_is_leaky {
            weaken(&mut checks);
        }
        GateResult::of("cost", checks)
    }
}
