//! The rules of the table, each told of ten canary and 190 stable requests every five seconds.

use std::time::Duration;

use graygate::id::VersionId;
use graygate::protocol::outcome::Outcome;
use graygate::router::config::{Limit, LiteralConfig, Threshold, ThresholdAction};
use graygate::router::health::{HealthWindow, WindowBounds};
use graygate::router::judge::Occasion;
use graygate::router::judge::literal::LiteralJudge;
use graygate::router::judge::sequential::{
    Arm, Batch, Decision, SequentialConfig, SequentialJudge, Step,
};
use graygate::stats::multinomial;
use graygate::stats::sprt::Sprt;
use graygate::time::Timestamp;

/// Canary and stable requests of one look.
pub(crate) const CANARY: u64 = 10;
pub(crate) const STABLE: u64 = 190;
pub(crate) const SHARE: f64 = 0.05;

/// A rule that may roll back at each look.
pub(crate) trait Rule {
    /// Failures of the canary and of stable since the last look.
    fn rolls_back(&mut self, now: Timestamp, canary: u64, stable: u64) -> bool;
}

/// A threshold on a window: the crate's own literal judge.
pub(crate) struct Literal {
    judge: LiteralJudge,
    window: HealthWindow,
    /// What a "failure" of the simulation does to the window.
    bad: (Outcome, Duration),
}

impl Literal {
    pub(crate) fn error_rate(window: Duration, min_requests: u64) -> Self {
        let bad = (Outcome::ServerError, Duration::from_millis(100));
        Self::new(Limit::ErrorRate(0.05), window, min_requests, bad)
    }

    pub(crate) fn p99(window: Duration) -> Self {
        let bound = Duration::from_millis(500);
        let bad = (Outcome::Success, Duration::from_millis(800));
        Self::new(Limit::P99(bound), window, 1, bad)
    }

    fn new(limit: Limit, window: Duration, min_requests: u64, bad: (Outcome, Duration)) -> Self {
        let config = LiteralConfig {
            window,
            max_samples: 1_000_000,
            min_requests,
            every: Duration::from_secs(60),
            thresholds: vec![Threshold {
                limit,
                action: ThresholdAction::Rollback,
            }],
        };
        Self {
            window: HealthWindow::new(WindowBounds::of(&config)),
            judge: LiteralJudge::new(config, VersionId(1), Timestamp::ZERO),
            bad,
        }
    }
}

impl Rule for Literal {
    fn rolls_back(&mut self, now: Timestamp, canary: u64, _: u64) -> bool {
        let good = (Outcome::Success, Duration::from_millis(100));
        for i in 0..CANARY {
            let (outcome, latency) = if i < canary { self.bad } else { good };
            self.window.record(now, outcome, latency);
        }
        let look = self
            .judge
            .look(now, Occasion::Failure, &self.window, |_| ());
        look.is_some()
    }
}

/// The articles' loop: a check every minute, five failed ones in total roll back.
#[derive(Default)]
pub(crate) struct FiveChecks {
    looks: u64,
    failures: u64,
    failed_checks: u32,
}

impl Rule for FiveChecks {
    fn rolls_back(&mut self, _: Timestamp, canary: u64, _: u64) -> bool {
        self.looks += 1;
        self.failures += canary;
        if self.looks.is_multiple_of(12) {
            self.failed_checks += u32::from(self.failures * 20 > 12 * CANARY);
            self.failures = 0;
        }
        self.failed_checks >= 5
    }
}

/// Counts since the beginning.
#[derive(Default)]
struct Counts {
    looks: u64,
    canary: u64,
    stable: u64,
}

impl Counts {
    fn add(&mut self, canary: u64, stable: u64) {
        self.looks += 1;
        self.canary += canary;
        self.stable += stable;
    }
}

/// Fisher's exact test, one-sided, at p < 0.01, repeated every ten seconds as if each were the only.
#[derive(Default)]
pub(crate) struct Fisher(Counts);

impl Rule for Fisher {
    fn rolls_back(&mut self, _: Timestamp, canary: u64, stable: u64) -> bool {
        self.0.add(canary, stable);
        let Counts {
            looks,
            canary,
            stable,
        } = self.0;
        looks.is_multiple_of(2)
            && hypergeometric_tail(canary, canary + stable, looks * CANARY, looks * STABLE) < 0.01
    }
}

/// P(X ≥ x) of `k` failures that fall on `n` canary and `m` stable requests by chance.
fn hypergeometric_tail(x: u64, k: u64, n: u64, m: u64) -> f64 {
    let ln_choose = |n: u64, k: u64| {
        let f = |v: u64| libm::lgamma(v as f64 + 1.0);
        f(n) - f(k) - f(n - k)
    };
    let mut term = libm::exp(ln_choose(n, x) + ln_choose(m, k - x) - ln_choose(n + m, k));
    let mut sum = 0.0;
    for i in x..=k.min(n) {
        sum += term;
        if term < sum * 1e-12 {
            break;
        }
        let (i, k, n, m) = (i as f64, k as f64, n as f64, m as f64);
        term *= (n - i) * (k - i) / ((i + 1.0) * (m - k + i + 1.0));
    }
    sum
}

/// Wald's test of 5 % against 1 %.
impl Rule for Sprt {
    fn rolls_back(&mut self, _: Timestamp, canary: u64, _: u64) -> bool {
        self.record(canary, CANARY - canary);
        self.has_fired()
    }
}

/// Lindon and Malek's test of where the failures fall, when more than its share fall on the canary.
#[derive(Default)]
pub(crate) struct LindonMalek(Counts);

impl Rule for LindonMalek {
    fn rolls_back(&mut self, _: Timestamp, canary: u64, stable: u64) -> bool {
        self.0.add(canary, stable);
        let Counts { canary, stable, .. } = self.0;
        let is_above = canary as f64 > SHARE * (canary + stable) as f64;
        let ln_e = multinomial::ln_evidence(&[(canary, SHARE), (stable, 1.0 - SHARE)]);
        is_above && ln_e >= libm::log(100.0)
    }
}

/// The crate's sequential judge in the first of four steps: E ≥ 2,000 for errors.
pub(crate) struct Sequential(SequentialJudge);

impl Sequential {
    pub(crate) fn new() -> Self {
        let mut judge = SequentialJudge::new(SequentialConfig::default(), 4, Timestamp::ZERO);
        let step = Step {
            index: 0,
            canary_share: SHARE,
            planned_hold: Duration::from_secs(3_600),
            has_control: true,
        };
        judge.begin_step(Timestamp::ZERO, step);
        Self(judge)
    }
}

impl Rule for Sequential {
    fn rolls_back(&mut self, now: Timestamp, canary: u64, stable: u64) -> bool {
        let batch = |units, failed| Batch { units, failed };
        self.0.tally(now, Arm::Stable, batch(STABLE, stable));
        self.0.tally(now, Arm::Canary, batch(CANARY, canary));
        let Some(occasion) = self.0.wants_look(now) else {
            return false;
        };
        matches!(
            self.0.look(now, occasion, &mut |_| ()),
            Decision::RollBack(_)
        )
    }
}

#[test]
fn fishers_tail_agrees_with_scipy() {
    // scipy 1.17.1: scipy.stats.hypergeom.sf(x-1, n+m, k, n)
    let cases = [
        (3, 10, 20, 380, 0.010_284_078_570_025_995),
        (10, 12, 10, 190, 2.939_734_859_589_482e-15),
    ];
    for (x, k, n, m, expected) in cases {
        let got = hypergeometric_tail(x, k, n, m);
        assert!((got / expected - 1.0).abs() < 1e-6, "{got:e}");
    }
}
