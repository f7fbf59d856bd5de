//! `split`: the share of a version among the requests that chance assigned, as an estimate.
//!
//! * PASS: both Clopper–Pearson limits, each one-sided at `confidence`, lie inside θ ± tolerance (an
//!   equivalence test: absence of evidence is not evidence of a correct split).
//! * FAIL: not PASS, and the exact two-sided binomial p-value under θ is below the flake budget.
//! * else INCONCLUSIVE, with the number of requests that would settle it.
//!
//! Counted are first attempts of randomised requests, by the upstreams' ledgers, until the weights
//! change (a rollback); of another gateway, where a later time is asked for,
//! also from the order on that gives the share back to a canary that was closed. Under sticky assignment a caller counts once, and must stay where it is: that
//! is a census.

use crate::id::{IdMap, VersionId};
use crate::observe::event::{RunEvent, Sent, What};
use crate::observe::join::Joined;
use crate::stats::proportion::{Limits, binomial_two_sided, clopper_pearson, samples_for_split};
use crate::time::Timestamp;
use crate::traffic::caller::Intent;
use crate::verdict::gates::reopened::Reopened;
use crate::verdict::gates::{End, Gate};
use crate::verdict::result::{
    Check, Evidence, GateResult, Offenders, Status, grouped, percent, share_of, weaken,
};
use crate::verdict::spec::SplitSpec;

/// The gate at work.
pub struct SplitGate {
    spec: SplitSpec,
    of_version: u64,
    all: u64,
    /// Where each sticky caller was seen first.
    callers: IdMap<u32, VersionId>,
    /// Requests of sticky callers who were seen before, and those of them that went elsewhere.
    again: u64,
    moved: u64,
    movers: Offenders,
    is_in_force: bool,
    /// When another gateway's canary was closed, and what opened it again.
    closed_at: Option<Timestamp>,
    reopened: Reopened,
    /// Since when. What was sent before met other weights, however late it arrives.
    since: Timestamp,
}

impl SplitGate {
    /// A gate that has seen nothing.
    pub fn new(spec: SplitSpec) -> Self {
        Self {
            is_in_force: spec.from_the_start,
            closed_at: None,
            reopened: Reopened::default(),
            since: Timestamp::ZERO,
            spec,
            of_version: 0,
            all: 0,
            callers: IdMap::default(),
            again: 0,
            moved: 0,
            movers: Offenders::default(),
        }
    }

    /// Is this share of the canary the one that is expected?
    fn is_meant(&self, canary_share: f64) -> bool {
        let share = match self.spec.of_canary {
            true => canary_share,
            false => 1.0 - canary_share,
        };
        (share - self.spec.share).abs() < 1e-9
    }

    /// Was the expected share in force when this request was sent?
    fn is_meant_for(&self, sent: &Sent) -> bool {
        let from = self.spec.scope.from;
        let closed_at = self.closed_at.filter(|at| !self.is_in_force && *at <= from);
        let given = closed_at.and_then(|at| self.reopened.share(at, sent.scheduled_at));
        self.is_in_force || given.is_some_and(|share| self.is_meant(share))
    }

    fn weigh(&mut self, at: Timestamp, canary_share: f64) {
        let was_in_force = self.is_in_force;
        self.is_in_force = self.is_meant(canary_share);
        if self.is_in_force && !was_in_force {
            self.since = at;
        }
    }

    /// Does this request count for the share?
    fn counts(&mut self, sent: &Sent, version: VersionId) -> bool {
        match sent.intent {
            Intent::Random => true,
            Intent::Sticky(caller) => self.is_new(caller, sent, version),
            Intent::Pinned(_) | Intent::Forced(_) => false,
        }
    }

    fn is_new(&mut self, caller: u32, sent: &Sent, version: VersionId) -> bool {
        let Some(before) = self.callers.get(caller) else {
            self.callers.insert(caller, version);
            return true;
        };
        self.again += 1;
        if *before != version {
            self.moved += 1;
            self.movers.note(sent.key);
        }
        false
    }
}

/// What the figures say: the status, the limits of the share (none without a request), and the
/// two-sided p-value of the intended share. Pure, so that its errors can be counted over many seeds.
pub fn judge(spec: &SplitSpec, (x, n): (u64, u64), flake: f64) -> (Status, Option<Limits>, f64) {
    let limits = clopper_pearson(x, n, spec.confidence);
    let p = binomial_two_sided(x, n, spec.share);
    // Without a single request at the version, a wide tolerance alone must not pass.
    let has_samples = x > 0 || spec.share == 0.0;
    let is_inside = limits.is_some_and(|l| {
        l.low >= spec.share - spec.tolerance && l.high <= spec.share + spec.tolerance
    });
    let status = match (is_inside && has_samples, p < flake) {
        (true, _) => Status::Pass,
        (false, true) => Status::Fail,
        (false, false) => Status::Inconclusive,
    };
    (status, limits, p)
}

impl SplitGate {
    fn share_check(&self, status: Status, limits: Option<Limits>, flake: f64) -> Check {
        let spec = &self.spec;
        let required = samples_for_split(spec.share, spec.tolerance, spec.confidence, flake);
        let is_open = status == Status::Inconclusive;
        let mut seen = share_of(self.of_version, self.all);
        if let Some(Limits { low, high }) = limits {
            seen += &format!(", limits {} % to {} %", percent(low), percent(high));
        }
        if is_open {
            seen += &format!("; about {} requests would settle it", grouped(required));
        }
        Check {
            condition: format!(
                "share {} % ± {} pp at {} % confidence",
                percent(spec.share),
                percent(spec.tolerance),
                percent(spec.confidence)
            ),
            status,
            seen,
            evidence: Evidence {
                estimate: (self.all > 0).then(|| self.of_version as f64 / self.all as f64),
                interval: limits.map(|l| [l.low, l.high]),
                confidence: limits.map(|_| spec.confidence),
                unit: "share",
                n: self.all,
                method: "clopper-pearson equivalence",
            },
            more_requests: is_open.then(|| required.saturating_sub(self.all).max(1)),
            offenders: Vec::new(),
        }
    }

    /// Only where callers came again; without them there is nothing to be seen of it.
    fn stays_check(&self) -> Option<Check> {
        let (x, n) = (self.moved, self.again);
        let status = if x == 0 { Status::Pass } else { Status::Fail };
        let seen = format!("{} of {} later requests elsewhere", grouped(x), grouped(n));
        let check = Check::census("sticky callers stay", status, seen)
            .figure(Some(x as f64), "requests", n)
            .offenders(self.movers.keys());
        (n > 0).then_some(check)
    }
}

impl Gate for SplitGate {
    fn event(&mut self, event: &RunEvent, joined: &Joined) {
        self.reopened.event(event.at, &event.what);
        match &event.what {
            What::RolledBack(record) => {
                self.is_in_force = false;
                self.closed_at = record.is_inferred().then_some(record.decided_at);
            }
            What::Standing(standing) => self.weigh(event.at, standing.share),
            _ => {}
        }
        let Some((first, sent)) = joined.first.and_then(|f| f.sent.map(|sent| (f, sent))) else {
            return;
        };
        let is_due = self.is_meant_for(&sent) && self.spec.scope.contains(sent.scheduled_at);
        let is_clear = sent.scheduled_at >= self.since;
        if is_due && is_clear && self.counts(&sent, first.version) {
            self.all += 1;
            self.of_version += u64::from(first.version == self.spec.version);
        }
    }

    fn finish(&self, end: &End<'_>) -> GateResult {
        let (status, limits, p) = judge(&self.spec, (self.of_version, self.all), end.flake);
        let mut checks = vec![self.share_check(status, limits, end.flake)];
        checks.extend(self.stays_check());
        if end.join_is_leaky {
            weaken(&mut checks);
        }
        let mut result = GateResult::of("split", checks);
        if result.status == Status::Pass && p < end.flake {
            let warning = format!("biased but within tolerance (two-sided p = {p:.1e})");
            result.warnings.push(warning);
        }
        result
    }
}
