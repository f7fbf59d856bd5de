//! The difference of two proportions, with an interval.

use super::normal;

/// Limits of a difference of proportions, −1 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// The difference that was seen: the first share less the second.
    pub estimate: f64,
    /// The lower limit.
    pub low: f64,
    /// The upper limit.
    pub high: f64,
}

/// The difference of `x/n` and of `other`'s share, with two-sided limits at `confidence` (0 to 1). `None` when either of
/// them has no trials.
///
/// Source: R. Newcombe, "Interval estimation for the difference between independent proportions", Statistics in
/// Medicine 17 (1998), method 10: the limits of Wilson's score intervals of both, put together.
pub fn newcombe((x, n): (u64, u64), other: (u64, u64), confidence: f64) -> Option<Difference> {
    let z = normal::upper_quantile((1.0 - confidence) / 2.0);
    let (first, second) = (wilson(x, n, z)?, wilson(other.0, other.1, z)?);
    let estimate = first.share - second.share;
    let below = libm::hypot(first.share - first.low, second.high - second.share);
    let above = libm::hypot(first.high - first.share, second.share - second.low);
    Some(Difference {
        estimate,
        low: estimate - below,
        high: estimate + above,
    })
}

struct Wilson {
    share: f64,
    low: f64,
    high: f64,
}

/// E. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
fn wilson(x: u64, n: u64, z: f64) -> Option<Wilson> {
    if n == 0 {
        return None;
    }
    let (x, n) = (x.min(n) as f64, n as f64);
    let share = x / n;
    let middle = x + z * z / 2.0;
    let reach = z * (x * (1.0 - share) + z * z / 4.0).max(0.0).sqrt();
    let whole = n + z * z;
    Some(Wilson {
        share,
        low: ((middle - reach) / whole).clamp(0.0, 1.0),
        high: ((middle + reach) / whole).clamp(0.0, 1.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_agree_with_statsmodels() {
        // statsmodels 0.15.0: confint_proportions_2indep(x1, n1, x2, n2, method='newcomb', compare='diff', alpha=0.05)
        let cases = [
            (
                (30, 286),
                (40, 2_571),
                0.058407385701826096,
                0.13044251339742274,
            ),
            (
                (0, 100),
                (0, 900),
                -0.00425014673005413,
                0.03699349820698569,
            ),
            ((5, 10), (1, 200), 0.23061043595155856, 0.7584390788503986),
            (
                (15, 286),
                (0, 2_571),
                0.031983778466396134,
                0.08472028124728506,
            ),
        ];
        for (first, second, low, high) in cases {
            let got = newcombe(first, second, 0.95).unwrap();
            assert!((got.low - low).abs() < 1e-9, "{first:?}: {got:?}");
            assert!((got.high - high).abs() < 1e-9, "{first:?}: {got:?}");
        }
        assert_eq!(newcombe((0, 0), (1, 2), 0.95), None);
        assert_eq!(newcombe((1, 2), (0, 0), 0.95), None);
    }
}
