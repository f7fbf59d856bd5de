//! `split`: the share of a version among the requests that chance assigned, as an estimate.
//!
//! * PASS: both Clopper–Pearson limits, each one-sided at `confidence`, lie inside θ ± tolerance (an
//!   equivalence test: absence of evidence is not evidence of a correct split).
//! * FAIL: not PASS, and the exact two-sided binomial p-value under θ is below the flake budget.
//! * else INCONCLUSIVE, with the number of requests that would settle it.
//!
//! Counted are first attempts of randomised requests, by the upstreams' ledgers, until the weights
//! change (a rollback). Under sticky assignment a caller counts once.

use crate::id::IdMap;
use crate::observe::event::{RunEvent, What};
use crate::observe::join::Joined;
use crate::stats::proportion::{Limits, binomial_two_sided, clopper_pearson, samples_for_split};
use crate::traffic::caller::Intent;
use crate::verdict::gates::{End, Gate};
use crate::verdict::result::{Check, Evidence, GateResult, Status, grouped, percent, share_of};
use crate::verdict::spec::SplitSpec;

/// The gate at work.
pub struct SplitGate {
    spec: SplitSpec,
    of_version: u64,
    all: u64,
    seen_callers: IdMap<u32, ()>,
    is_in_force: bool,
}

impl SplitGate {
    /// A gate that has seen nothing.
    pub fn new(spec: SplitSpec) -> Self {
        Self {
            spec,
            of_version: 0,
            all: 0,
            seen_callers: IdMap::default(),
            is_in_force: true,
        }
    }

    fn counts(&mut self, intent: Intent) -> bool {
        match intent {
            Intent::Random => true,
            Intent::Sticky(caller) => self.seen_callers.insert(caller, ()).is_none(),
            Intent::Pinned(_) => false,
        }
    }

    fn judge(&self, flake: f64) -> (Status, Option<Limits>, f64) {
        let spec = &self.spec;
        let (x, n) = (self.of_version, self.all);
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
}

impl Gate for SplitGate {
    fn event(&mut self, event: &RunEvent, joined: &Joined) {
        if matches!(event.what, What::RolledBack(_)) {
            self.is_in_force = false;
        }
        let Some((first, sent)) = joined.first.and_then(|f| f.sent.map(|sent| (f, sent))) else {
            return;
        };
        let is_due = self.is_in_force && self.spec.scope.contains(sent.scheduled_at);
        if is_due && self.counts(sent.intent) {
            self.all += 1;
            self.of_version += u64::from(first.version == self.spec.version);
        }
    }

    fn finish(&self, end: &End<'_>) -> GateResult {
        let spec = &self.spec;
        let (mut status, limits, p) = self.judge(end.flake);
        if end.join_is_leaky && status != Status::Fail {
            status = Status::Inconclusive;
        }
        let required = samples_for_split(spec.share, spec.tolerance, spec.confidence, end.flake);
        let interval = limits.map(|l| format!("{} % to {} %", percent(l.low), percent(l.high)));
        let mut seen = share_of(self.of_version, self.all);
        if let Some(interval) = interval {
            seen += &format!(", limits {interval}");
        }
        if status == Status::Inconclusive {
            seen += &format!("; about {} requests would settle it", grouped(required));
        }
        let check = Check {
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
                unit: "share",
                n: self.all,
                method: "clopper-pearson equivalence",
            },
            more_requests: (status == Status::Inconclusive)
                .then(|| required.saturating_sub(self.all).max(1)),
            offenders: Vec::new(),
        };
        let mut result = GateResult::of("split", vec![check]);
        if status == Status::Pass && p < end.flake {
            let warning = format!("biased but within tolerance (two-sided p = {p:.1e})");
            result.warnings.push(warning);
        }
        result
    }
}
