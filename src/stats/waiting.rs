//! How long it takes until the k-th of events that come at random, each trial being one with the same
//! probability: in trials (negative binomial) and in time (gamma).

use super::beta;

/// The probability that the k-th event (k from 1) has not come after `n` trials with the probability
/// `share` of one: P(Binomial(n, share) < k) = 1 − I_share(k, n − k + 1).
pub fn trials_tail(k: u64, share: f64, n: u64) -> f64 {
    if n < k {
        return 1.0;
    }
    // The complement, so that small tails are not lost: I_{1−share}(n − k + 1, k).
    beta::regularized((n - k) as f64 + 1.0, k as f64, 1.0 - share)
}

/// The fewest trials after which the k-th event has not come with a probability of at most `tail`. None
/// where it never comes, or `tail` is not above 0.
pub fn trials_quantile(k: u64, share: f64, tail: f64) -> Option<u64> {
    if share <= 0.0 || tail <= 0.0 {
        return None;
    }
    let is_enough = |n: u64| trials_tail(k, share, n) <= tail;
    let (mut low, mut high) = (0, k.max(1));
    while !is_enough(high) {
        (low, high) = (high, high.checked_mul(2)?);
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match is_enough(middle) {
            true => high = middle,
            false => low = middle,
        }
    }
    Some(high)
}

/// The probability that the k-th event (k from 1) has not come when `expected` events were to be expected
/// by then: P(Poisson(expected) < k) = Σ_{i<k} e^{−m} mⁱ/i!, the tail of a gamma distribution of shape k.
pub fn time_tail(k: u64, expected: f64) -> f64 {
    if expected <= 0.0 {
        return 1.0;
    }
    // What is further below the mean than this adds nothing that a sum could hold.
    let least = expected - 12.0 * expected.sqrt() - 40.0;
    let least = (least.max(0.0) as u64).min(k.saturating_sub(1_000));
    let sum: f64 = (least..k).map(|i| poisson(i, expected)).sum();
    sum.min(1.0)
}

/// The probability of exactly `n` events where so many are expected: e^{−m} mⁿ/n!
pub fn poisson(n: u64, expected: f64) -> f64 {
    if expected <= 0.0 {
        return if n == 0 { 1.0 } else { 0.0 };
    }
    let n = n as f64;
    libm::exp(n * libm::log(expected) - expected - libm::lgamma(n + 1.0))
}

/// How many events must be expected for the k-th not to have come with a probability of at most `tail`.
/// None where `tail` is not above 0.
pub fn time_quantile(k: u64, tail: f64) -> Option<f64> {
    if tail <= 0.0 {
        return None;
    }
    let (mut low, mut high) = (0.0, k.max(1) as f64);
    while time_tail(k, high) > tail {
        (low, high) = (high, 2.0 * high);
    }
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        match time_tail(k, middle) > tail {
            true => low = middle,
            false => high = middle,
        }
    }
    Some(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_agree_with_scipy() {
        // scipy 1.17.1: st.gamma.isf(1e-4, k), st.gamma.ppf(.5, k), st.gamma.sf(1.3 * k, k)
        let cases = [
            (
                1,
                9.210340371976182,
                0.6931471805599455,
                0.27253179303401265,
            ),
            (
                5,
                17.782006970976056,
                4.670908882795985,
                0.22367181681149945,
            ),
            (
                16,
                35.28562378767124,
                15.667929544317243,
                0.11920286818535704,
            ),
            (
                250,
                313.1213550280387,
                249.6667457944369,
                6.546138883384106e-06,
            ),
        ];
        for (k, rare, median, tail) in cases {
            assert!((time_quantile(k, 1e-4).unwrap() - rare).abs() < 1e-8, "{k}");
            assert!(
                (time_quantile(k, 0.5).unwrap() - median).abs() < 1e-8,
                "{k}"
            );
            let got = time_tail(k, 1.3 * k as f64);
            assert!((got / tail - 1.0).abs() < 1e-9, "{k}: {got:e}");
        }
        assert_eq!(time_quantile(3, 0.0), None);
    }

    #[test]
    fn trials_agree_with_scipy() {
        // scipy 1.17.1: st.nbinom.isf(1e-4, k, r) + k, st.nbinom.ppf(.5, k, r) + k
        let cases = [
            (1, 1.0, 1, 1),
            (5, 0.3, 52, 16),
            (16, 0.3, 107, 52),
            (31, 0.4, 126, 77),
            (3, 0.01, 1_387, 268),
        ];
        for (k, share, rare, median) in cases {
            assert_eq!(trials_quantile(k, share, 1e-4), Some(rare), "{k} {share}");
            assert_eq!(trials_quantile(k, share, 0.5), Some(median), "{k} {share}");
        }
        // scipy 1.17.1: st.nbinom.sf(107 - 16, 16, .3)
        let tail = trials_tail(16, 0.3, 107);
        assert!((tail / TAIL - 1.0).abs() < 1e-9, "{tail:e}");
        assert_eq!(trials_quantile(3, 0.0, 0.5), None);
        assert_eq!(trials_tail(3, 0.5, 2), 1.0);
    }

    const TAIL: f64 = 9.502433456496178e-05;
}
