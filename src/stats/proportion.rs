//! Proportions: exact limits, the exact binomial test, and how many samples a split test needs.

use super::{beta, normal};

/// Two one-sided limits of a proportion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The proportion is above this, at the stated one-sided confidence.
    pub low: f64,
    /// The proportion is below this, at the stated one-sided confidence.
    pub high: f64,
}

/// Clopper–Pearson limits for `x` events in `n`, *each* one-sided at `confidence` (0 to 1).
///
/// Source: C. Clopper, E. Pearson, Biometrika 26 (1934): low = Beta⁻¹(1−c; x, n−x+1),
/// high = Beta⁻¹(c; x+1, n−x). `None` for n = 0: nothing can be said.
pub fn clopper_pearson(x: u64, n: u64, confidence: f64) -> Option<Limits> {
    if n == 0 {
        return None;
    }
    let x = x.min(n);
    let (xf, rest) = (x as f64, (n - x) as f64);
    let low = match x {
        0 => 0.0,
        _ => beta::inverse(xf, rest + 1.0, 1.0 - confidence),
    };
    let high = match n - x {
        0 => 1.0,
        _ => beta::inverse(xf + 1.0, rest, confidence),
    };
    Some(Limits { low, high })
}

/// The exact two-sided binomial p-value `2·min(P(X ≤ x), P(X ≥ x))`, at most 1, for `x` events in
/// `n` under the proportion `p`. 1 for n = 0.
pub fn binomial_two_sided(x: u64, n: u64, p: f64) -> f64 {
    if n == 0 {
        return 1.0;
    }
    let x = x.min(n);
    // P(X ≥ x) = I_p(x, n−x+1)
    let at_least = |x: u64| match x {
        0 => 1.0,
        _ => beta::regularized(x as f64, (n - x) as f64 + 1.0, p),
    };
    // P(X ≤ x) = P(n−X ≥ n−x) = I_{1−p}(n−x, x+1)
    let at_most = match n - x {
        0 => 1.0,
        rest => beta::regularized(rest as f64, x as f64 + 1.0, 1.0 - p),
    };
    (2.0 * at_least(x).min(at_most)).min(1.0)
}

/// How many samples an equivalence test of a split needs, so that a true share `theta` passes with
/// probability `1 − flake` when the limits must lie inside `theta ± tolerance`.
///
/// n = ((z(flake/2)·√(θ(1−θ)) + z(1−confidence)·√(q(1−q))) / tolerance)², with q the end of
/// θ ± tolerance nearer to ½ (normal approximation, conservative in q).
pub fn samples_for_split(theta: f64, tolerance: f64, confidence: f64, flake: f64) -> u64 {
    let spread = |p: f64| (p * (1.0 - p)).max(0.0).sqrt();
    let (low, high) = ((theta - tolerance).max(0.0), (theta + tolerance).min(1.0));
    let q = if (low - 0.5).abs() < (high - 0.5).abs() {
        low
    } else {
        high
    };
    let reach = normal::upper_quantile(flake / 2.0) * spread(theta)
        + normal::upper_quantile(1.0 - confidence) * spread(q);
    (reach / tolerance).powi(2).ceil() as u64
}

/// How many draws in a row miss what has the share `w` with a probability of at most `p`:
/// ⌈ln p / ln(1 − w)⌉, from (1 − w)ⁿ ≤ p. None for a share that no draw ever meets.
pub fn draws_to_meet(w: f64, p: f64) -> Option<u64> {
    if w <= 0.0 {
        return None;
    }
    if w >= 1.0 {
        return Some(1);
    }
    Some((libm::log(p) / libm::log1p(-w)).ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_agree_with_scipy() {
        // scipy 1.17.1: st.beta.ppf(1-c, x, n-x+1), st.beta.ppf(c, x+1, n-x)
        let cases = [
            (0, 100, 0.999, 0.0, 0.06674569920300895),
            (10, 100, 0.999, 0.030541905288754355, 0.22467011983222507),
            (100, 100, 0.999, 0.933254300796991, 1.0),
            (
                10_012,
                100_000,
                0.999,
                0.0972086508948707,
                0.10308505846254913,
            ),
            (3, 20, 0.95, 0.04216940788577862, 0.3436638043142818),
        ];
        for (x, n, confidence, low, high) in cases {
            let limits = clopper_pearson(x, n, confidence).unwrap();
            assert!((limits.low - low).abs() < 1e-10, "{x}/{n}: {limits:?}");
            assert!((limits.high - high).abs() < 1e-10, "{x}/{n}: {limits:?}");
        }
        assert_eq!(clopper_pearson(0, 0, 0.95), None);
    }

    #[test]
    fn p_values_agree_with_scipy() {
        // scipy 1.17.1: min(1, 2*min(st.binom.cdf(x, n, p), st.binom.sf(x-1, n, p)))
        let cases = [
            (10, 100, 0.1, 1.0),
            (25, 100, 0.1, 2.6145634862500747e-05),
            (9_000, 100_000, 0.1, 1.0470447063658776e-26),
            (10_350, 100_000, 0.1, 0.0002457423891532416),
            (0, 50, 0.1, 0.010307550414640227),
            (0, 100, 0.1, 5.312279777517495e-05),
        ];
        for (x, n, p, expected) in cases {
            let got = binomial_two_sided(x, n, p);
            assert!((got / expected - 1.0).abs() < 1e-8, "{x}/{n}: {got:e}");
        }
    }

    #[test]
    fn sample_sizes_match_the_published_table() {
        // Confidence 99.9 %, flake 1e-5; tolerance 30/20/10 % of θ, rounded to three digits.
        let table = [
            (0.005, [139_000, 303_000, 1_170_000]),
            (0.01, [69_000, 151_000, 580_000]),
            (0.05, [13_200, 28_800, 111_000]),
            (0.10, [6_200, 13_600, 52_500]),
            (0.50, [602, 1_400, 5_600]),
        ];
        for (theta, row) in table {
            for (share, expected) in [0.3, 0.2, 0.1].into_iter().zip(row) {
                let n = samples_for_split(theta, share * theta, 0.999, 1e-5) as f64;
                assert!(
                    (n / f64::from(expected) - 1.0).abs() < 0.02,
                    "θ {theta}, tolerance {share}: {n}, table {expected}"
                );
            }
        }
    }

    #[test]
    fn rare_things_are_missed_for_longer() {
        assert_eq!(draws_to_meet(0.1, 0.001), Some(66));
        assert_eq!(draws_to_meet(0.05, 0.001), Some(135));
        assert_eq!(draws_to_meet(0.1, 1e-6), Some(132));
        assert_eq!(draws_to_meet(1.0, 0.001), Some(1));
        assert_eq!(draws_to_meet(0.0, 0.001), None);
    }
}
