//! Samples of one figure over repeated runs: their quantiles, and what those show of all other runs.
//!
//! A quantile of the samples says what was seen. What it shows of runs that nobody made is a limit
//! without any assumption about the distribution: the k-th smallest of n samples is at or above the
//! q-quantile with the probability P(Binomial(n, q) < k). So the largest of 30,000 bounds the
//! 99.99 % quantile with 95 % confidence. Source: H. David, H. Nagaraja, "Order Statistics", 3rd ed.
//! (2003), section 7.1.

use super::beta;
use super::quantile::Quantile;

/// Samples in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Samples(Vec<u64>);

impl FromIterator<u64> for Samples {
    fn from_iter<I: IntoIterator<Item = u64>>(samples: I) -> Self {
        let mut sorted: Vec<u64> = samples.into_iter().collect();
        sorted.sort_unstable();
        Self(sorted)
    }
}

impl Samples {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// The smallest one.
    pub fn min(&self) -> Option<u64> {
        self.0.first().copied()
    }

    /// The largest one.
    pub fn max(&self) -> Option<u64> {
        self.0.last().copied()
    }

    /// All of them, in order.
    pub fn sorted(&self) -> &[u64] {
        &self.0
    }

    /// The quantile by nearest rank. None where too few samples lie beyond it to mean something.
    pub fn at(&self, quantile: Quantile) -> Option<u64> {
        let is_enough = self.count() >= quantile.least_samples();
        is_enough.then(|| self.seen_at(quantile)).flatten()
    }

    /// The quantile of these samples alone, however few they are.
    pub fn seen_at(&self, quantile: Quantile) -> Option<u64> {
        let rank = quantile.rank(self.count()).checked_sub(1)?;
        self.0.get(rank as usize).copied()
    }

    /// What the 99.99 % quantile is at most, with 95 % confidence; none below some 30,000 samples.
    pub fn extreme(&self) -> Option<u64> {
        self.upper_limit("p99.99".parse().ok()?, 0.95)
    }

    /// A sample that is at or above the true quantile with this confidence (0 to 1), the smallest such.
    /// None where not even the largest one is.
    pub fn upper_limit(&self, quantile: Quantile, confidence: f64) -> Option<u64> {
        let n = self.count();
        let is_enough = |k: u64| covers(n, k, quantile.fraction()) >= confidence;
        if n == 0 || !is_enough(n) {
            return None;
        }
        let (mut low, mut high) = (0, n);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match is_enough(middle) {
                true => high = middle,
                false => low = middle,
            }
        }
        self.0.get(high as usize - 1).copied()
    }
}

/// The probability that the k-th smallest of n samples (k from 1) is at or above the q-quantile:
/// P(Binomial(n, q) ≤ k − 1) = I_{1−q}(n − k + 1, k).
fn covers(n: u64, k: u64, q: f64) -> f64 {
    beta::regularized((n - k) as f64 + 1.0, k as f64, 1.0 - q)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_to(n: u64) -> Samples {
        (1..=n).rev().collect()
    }

    #[test]
    fn quantiles_are_by_nearest_rank_and_need_samples() {
        let samples = one_to(1_000);
        assert_eq!(samples.at(Quantile::P50), Some(500));
        assert_eq!(samples.at(Quantile::P99), Some(990));
        assert_eq!(one_to(999).at(Quantile::P99), None);
        assert_eq!(one_to(999).seen_at(Quantile::P99), Some(990));
        assert_eq!((samples.min(), samples.max()), (Some(1), Some(1_000)));
        assert_eq!(Samples::default().seen_at(Quantile::P50), None);
    }

    #[test]
    fn limits_of_quantiles_agree_with_scipy() {
        // scipy 1.17.1: the least k with st.binom.cdf(k - 1, n, q) >= .95
        for (n, q, k) in LIMITS {
            let q: Quantile = q.parse().unwrap();
            assert_eq!(one_to(n).upper_limit(q, 0.95), k, "{n} {q}");
        }
    }

    const LIMITS: [(u64, &str, Option<u64>); 7] = [
        (30_000, "p99.99", Some(30_000)),
        (29_956, "p99.99", Some(29_956)),
        (29_955, "p99.99", None),
        (100_000, "p99.99", Some(99_996)),
        (300, "p99", Some(300)),
        (298, "p99", None),
        (1_000, "p50", Some(527)),
    ];
}
