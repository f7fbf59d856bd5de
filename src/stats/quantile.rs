//! Quantiles by nearest rank, decided exactly by counting.
//!
//! The q-quantile of `n` sorted samples is the one at rank ⌈q·n⌉ (nearest-rank definition). A
//! threshold on it needs no sorting and no histogram: *p99 < T* holds exactly when at least
//! ⌈0.99·n⌉ samples are below T. Gates count; histograms only serve the figure that is printed.

use std::fmt;
use std::str::FromStr;

use super::beta;

/// A quantile between 0 and 1 (exclusive), in exact parts per million.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantile(u32);

impl Quantile {
    /// The median.
    pub const P50: Self = Self(500_000);
    /// 19 of 20.
    pub const P95: Self = Self(950_000);
    /// 99 of 100.
    pub const P99: Self = Self(990_000);

    /// As a fraction between 0 and 1.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 1e6
    }

    /// The 1-based rank of the quantile among `n` samples; 0 only for n = 0.
    pub fn rank(self, n: u64) -> u64 {
        let scaled = u128::from(self.0) * u128::from(n);
        scaled.div_ceil(1_000_000) as u64
    }

    /// The ranks of the samples, from 1, between which the quantile of the whole population lies with this confidence
    /// (0 to 1); none on a side where not even the outermost sample is far enough.
    ///
    /// Source: W. Conover, Practical Nonparametric Statistics, 3rd ed. (1999), 3.2: the number of samples below the
    /// quantile is binomial, whatever their distribution.
    pub fn rank_limits(self, n: u64, confidence: f64) -> (Option<u64>, Option<u64>) {
        let tail = (1.0 - confidence) / 2.0;
        let low = smallest_with(self.fraction(), n, tail);
        let high = smallest_with(self.fraction(), n, 1.0 - tail) + 1;
        ((low > 0).then_some(low), (high <= n).then_some(high))
    }

    /// The fewest samples for which the quantile means something: 10/(1−q), so that about ten
    /// samples lie beyond it.
    pub fn least_samples(self) -> u64 {
        10_000_000_u64.div_ceil(u64::from(1_000_000 - self.0))
    }
}

/// The smallest `x` with `P(X ≤ x) ≥ p` for a binomial `X` of `n` trials with probability `q`.
fn smallest_with(q: f64, n: u64, p: f64) -> u64 {
    // P(X ≤ x) = I_{1−q}(n−x, x+1)
    let at_most = |x: u64| match n - x {
        0 => 1.0,
        rest => beta::regularized(rest as f64, x as f64 + 1.0, 1.0 - q),
    };
    let (mut low, mut high) = (0, n);
    while low < high {
        let middle = low + (high - low) / 2;
        match at_most(middle) >= p {
            true => high = middle,
            false => low = middle + 1,
        }
    }
    low
}

/// `p50`, `p99`, `p99.9`.
impl fmt::Display for Quantile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", f64::from(self.0) / 1e4)
    }
}

/// Reads `p50`, `p99`, `p99.9` (at most four decimals).
impl FromStr for Quantile {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let percent: f64 = text.strip_prefix('p').ok_or(())?.parse().map_err(|_| ())?;
        let millionths = (percent * 1e4).round();
        let is_exact = (millionths / 1e4 - percent).abs() < 1e-9;
        if is_exact && millionths > 0.0 && millionths < 1e6 {
            Ok(Self(millionths as u32))
        } else {
            Err(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_exact() {
        assert_eq!(Quantile::P99.rank(100), 99);
        assert_eq!(Quantile::P99.rank(101), 100);
        assert_eq!(Quantile::P50.rank(1), 1);
        assert_eq!(Quantile::P50.rank(0), 0);
        assert_eq!("p99.9".parse::<Quantile>().unwrap().rank(1_000), 999);
    }

    #[test]
    fn least_samples_grow_with_the_quantile() {
        assert_eq!(Quantile::P50.least_samples(), 20);
        assert_eq!(Quantile::P99.least_samples(), 1_000);
        assert_eq!("p99.9".parse::<Quantile>().unwrap().least_samples(), 10_000);
    }

    #[test]
    fn limits_agree_with_scipy() {
        // scipy 1.17.1: binom.ppf(.025, n, q), binom.ppf(.975, n, q) + 1
        let p95 = Quantile::P95;
        let cases = [
            (Quantile::P50, 100, Some(40), Some(61)),
            (Quantile::P99, 1_000, Some(983), Some(997)),
            (Quantile::P99, 100, Some(97), None),
            (Quantile::P50, 5, None, None),
            (p95, 10_000, Some(9_457), Some(9_543)),
            (Quantile::P99, 299, Some(292), None),
            (Quantile::P99, 0, None, None),
        ];
        for (quantile, n, low, high) in cases {
            assert_eq!(
                quantile.rank_limits(n, 0.95),
                (low, high),
                "{quantile} of {n}"
            );
        }
    }

    #[test]
    fn names_round_trip_and_nonsense_is_refused() {
        for name in ["p50", "p95", "p99", "p99.9", "p99.99"] {
            assert_eq!(name.parse::<Quantile>().unwrap().to_string(), name);
        }
        for bad in ["p0", "p100", "p101", "99", "p", "pNaN", "p99.99999"] {
            assert!(bad.parse::<Quantile>().is_err(), "{bad}");
        }
    }
}
