//! The difference of two quantiles of independent samples, with an interval.

use super::difference::Difference;
use super::quantile::Quantile;

/// A figure with limits of its own; none on a side where the samples do not reach far enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limited {
    /// The figure.
    pub estimate: f64,
    /// Its lower limit.
    pub low: Option<f64>,
    /// Its upper limit.
    pub high: Option<f64>,
}

/// A difference of figures of which a side may have no limit.
pub type Excess = Limited;

impl From<Difference> for Limited {
    fn from(difference: Difference) -> Self {
        Self {
            estimate: difference.estimate,
            low: Some(difference.low),
            high: Some(difference.high),
        }
    }
}

/// A quantile of samples that are in order, with two-sided limits at `confidence` (0 to 1) by [`Quantile::rank_limits`].
/// `None` without samples.
pub fn of_sorted(sorted: &[u64], quantile: Quantile, confidence: f64) -> Option<Limited> {
    let n = sorted.len() as u64;
    let at = |rank: u64| {
        let index = usize::try_from(rank.checked_sub(1)?).ok()?;
        sorted.get(index).map(|sample| *sample as f64)
    };
    let (low, high) = quantile.rank_limits(n, confidence);
    Some(Limited {
        estimate: at(quantile.rank(n))?,
        low: low.and_then(at),
        high: high.and_then(at),
    })
}

/// By how much `one` is above `factor` times `other`, with limits at the confidence that both have theirs at.
///
/// Source: G. Zou, A. Donner, "Construction of confidence limits about effect measures: a general approach", Statistics
/// in Medicine 27 (2008): the limits of two independent estimates are put together by the squares of their distances,
/// as Newcombe does with shares. It needs no variance, and no draw of random numbers.
pub fn excess(one: Limited, other: Limited, factor: f64) -> Excess {
    let estimate = one.estimate - factor * other.estimate;
    let reach = |own: Option<f64>, others: Option<f64>| {
        let own = (one.estimate - own?).abs();
        let others = factor * (other.estimate - others?).abs();
        Some(libm::hypot(own, others))
    };
    Limited {
        estimate,
        low: reach(one.low, other.high).map(|below| estimate - below),
        high: reach(one.high, other.low).map(|above| estimate + above),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(estimate: f64, low: f64, high: f64) -> Limited {
        let (low, high) = (Some(low), Some(high));
        Limited {
            estimate,
            low,
            high,
        }
    }

    #[test]
    fn limits_are_put_together_by_their_squares() {
        let (one, other) = (limited(20.0, 17.0, 26.0), limited(10.0, 2.0, 14.0));
        assert_eq!(excess(one, other, 1.0), limited(10.0, 5.0, 20.0));
        assert_eq!(excess(one, other, 2.0).estimate, 0.0);
        let low = excess(one, other, 2.0).low.unwrap();
        assert!((low - -libm::sqrt(9.0 + 64.0)).abs() < 1e-12, "{low}");
    }

    #[test]
    fn a_side_without_a_limit_leaves_the_difference_without_one() {
        let open = Limited {
            high: None,
            ..limited(20.0, 17.0, 26.0)
        };
        let known = limited(10.0, 2.0, 14.0);
        let above = excess(open, known, 1.0);
        assert_eq!((above.low, above.high), (Some(5.0), None));
        let below = excess(known, open, 1.0);
        assert!(below.low.is_none() && below.high.is_some());
    }

    #[test]
    fn quantiles_of_few_samples_have_no_limit_where_none_can_be_given() {
        let all: Vec<u64> = (1..=100).collect();
        let p99 = of_sorted(&all, Quantile::P99, 0.95).unwrap();
        assert_eq!((p99.estimate, p99.low, p99.high), (99.0, Some(97.0), None));
        assert_eq!(of_sorted(&[], Quantile::P50, 0.95), None);
    }
}
