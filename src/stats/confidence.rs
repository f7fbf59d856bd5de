//! A confidence set of a rate that holds at every look at once: the beta-binomial mixture.
//!
//! {L, U} is the set of p with
//! `lnB(a + x, b + n − x) − lnB(a, b) − x·ln p − (n−x)·ln(1−p) < ln(1/α)`, a = 0.5, b = 9.5 (a prior
//! mean of 5 %, worth ten observations). The left side is the logarithm of a test martingale for p,
//! so by Ville's inequality p is outside at some look with a probability of at most α.
//!
//! Source: H. Robbins, "Statistical methods related to the law of the iterated logarithm", Ann.
//! Math. Statist. 41 (1970); as confidence sequences: S. Howard et al., Annals of Statistics 49 (2021).

use super::proportion::Limits;

const A: f64 = 0.5;
const B: f64 = 9.5;

/// The limits {L, U} of a rate after `x` events in `n` trials, at level `alpha`. `None` for n = 0:
/// nothing can be said.
pub fn limits(x: u64, n: u64, alpha: f64) -> Option<Limits> {
    if n == 0 {
        return None;
    }
    let set = Set::new(x.min(n), n, alpha);
    let estimate = x.min(n) as f64 / n as f64;
    Some(Limits {
        low: if x == 0 { 0.0 } else { set.edge(estimate, 0.0) },
        high: if x >= n { 1.0 } else { set.edge(estimate, 1.0) },
    })
}

struct Set {
    failures: f64,
    successes: f64,
    /// lnB(a + x, b + n − x) − lnB(a, b) − ln(1/α)
    constant: f64,
}

impl Set {
    fn new(x: u64, n: u64, alpha: f64) -> Self {
        let (failures, successes) = (x as f64, (n - x) as f64);
        let ratio = ln_beta(A + failures, B + successes) - ln_beta(A, B);
        Self {
            failures,
            successes,
            constant: ratio + libm::log(alpha),
        }
    }

    fn contains(&self, p: f64) -> bool {
        self.constant - self.failures * libm::log(p) - self.successes * libm::log1p(-p) < 0.0
    }

    /// The border of the set between a point inside and the end `outside` of the unit interval, by
    /// bisection.
    fn edge(&self, mut inside: f64, mut outside: f64) -> f64 {
        for _ in 0..60 {
            let middle = 0.5 * (inside + outside);
            if self.contains(middle) {
                inside = middle;
            } else {
                outside = middle;
            }
        }
        outside
    }
}

fn ln_beta(a: f64, b: f64) -> f64 {
    libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_scipy() {
        // scipy 1.17.1: with c = betaln(.5+x, 9.5+n-x) - betaln(.5, 9.5) - log(1/alpha) and
        // f(p) = c - x*log(p) - (n-x)*log1p(-p): optimize.brentq(f, 1e-300, x/n, xtol=1e-16),
        // optimize.brentq(f, x/n, 1-1e-16, xtol=1e-16)
        for (x, n, alpha, low, high) in CASES {
            let limits = limits(x, n, alpha).unwrap();
            assert!((limits.low - low).abs() < 1e-10, "{x}/{n}: {limits:?}");
            assert!((limits.high - high).abs() < 1e-10, "{x}/{n}: {limits:?}");
        }
        assert_eq!(limits(0, 0, 0.025), None);
        assert_eq!(limits(5, 5, 0.025).unwrap().high, 1.0);
    }

    const CASES: [(u64, u64, f64, f64, f64); 5] = [
        (0, 271, 0.025, 0.0, 0.019708100753824405),
        (1, 271, 0.025, 8.144423528004524e-06, 0.029958496685083484),
        (10, 1000, 0.025, 0.002713922458386685, 0.024723683462947486),
        (8, 10, 0.025, 0.12920785981836203, 0.9997570637591837),
        (
            3000,
            100000,
            0.001,
            0.027486817076219406,
            0.03265703615246923,
        ),
    ];

    /// Fewest requests with one failure that show a rate below the margin: where the minimum sizes
    /// of a promotion come from.
    #[test]
    fn minimum_sizes_allow_a_failure_or_two() {
        let high = |x, n| limits(x, n, 0.025).unwrap().high;
        assert!(high(1, 271) < 0.03 && high(1, 270) >= 0.03);
        assert!(high(1, 430) < 0.02);
        assert!(high(2, 1_151) < 0.01 && high(3, 1_151) >= 0.01);
    }
}
