//! Wald's sequential probability ratio test of a failure rate: p₁ against p₀.
//!
//! Source: A. Wald, "Sequential Tests of Statistical Hypotheses", Ann. Math. Statist. 16 (1945).
//! Λ += ln(p₁/p₀) for a failure, ln((1−p₁)/(1−p₀)) for a success; stop above ln((1−β)/α) for p₁, below
//! ln(β/(1−α)) for p₀. Kept to compare other rules with: it knows two rates only, and takes every rate
//! between them for one of the two.

/// The test, with Λ so far. It is floored at its lower bound, so that it never rests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sprt {
    per_failure: f64,
    per_success: f64,
    upper: f64,
    lower: f64,
    lambda: f64,
}

impl Sprt {
    /// A test of the failure rate `p1` against `p0`, with the errors `alpha` (taking p0 for p1) and
    /// `beta` (taking p1 for p0).
    pub fn new(p0: f64, p1: f64, alpha: f64, beta: f64) -> Self {
        Self {
            per_failure: libm::log(p1 / p0),
            per_success: libm::log((1.0 - p1) / (1.0 - p0)),
            upper: libm::log((1.0 - beta) / alpha),
            lower: libm::log(beta / (1.0 - alpha)),
            lambda: 0.0,
        }
    }

    /// Counts results that came in together.
    pub fn record(&mut self, failures: u64, successes: u64) {
        let step = failures as f64 * self.per_failure + successes as f64 * self.per_success;
        self.lambda = (self.lambda + step).max(self.lower);
    }

    /// Has it decided for the higher rate?
    pub fn has_fired(&self) -> bool {
        self.lambda >= self.upper
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constants_are_walds() {
        let test = Sprt::new(0.01, 0.05, 0.01, 0.05);
        assert!((test.upper - 4.554).abs() < 5e-4);
        assert!((test.lower + 2.986).abs() < 5e-4);
        assert!((test.per_failure - 1.609).abs() < 5e-4);
        assert!((test.per_success + 0.0412).abs() < 5e-5);
    }

    #[test]
    fn it_fires_on_failures_and_never_rests_below() {
        let mut test = Sprt::new(0.01, 0.05, 0.01, 0.05);
        test.record(0, 1_000_000);
        test.record(4, 0);
        assert!(!test.has_fired(), "−2.986 + 4·1.609 = 3.45");
        test.record(1, 0);
        assert!(test.has_fired());
    }
}
