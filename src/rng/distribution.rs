//! Distributions of positive numbers, drawn by key.
//!
//! Gamma and Weibull are said by mean and coefficient of variation (cv: the standard deviation divided by the
//! mean), as measurements of services give them. Transcendental functions are libm's, so that a draw is the
//! same number on every platform.

use std::sync::Arc;

use rand_distr::{Distribution as _, Exp1, OpenClosed01, StandardNormal, StandardUniform};
use rand_pcg::Pcg64Mcg;

use crate::rng::Draw;

/// z with P(Z ≤ z) = 0.99 for a standard normal Z (scipy 1.17.1: `st.norm.ppf(0.99)`).
const Z99: f64 = 2.3263478740408408;

/// The smallest and the largest coefficient of variation of gamma and Weibull. Below, a constant is meant;
/// above, nearly all mass lies at 0 and the mean is made by values that hardly ever come.
pub const CV: std::ops::RangeInclusive<f64> = 0.01..=10.0;

/// A distribution of positive numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Distribution {
    /// Always this value.
    Constant(f64),
    /// exp(μ + σZ) with Z standard normal.
    Lognormal {
        /// μ: the logarithm of the median.
        mu: f64,
        /// σ ≥ 0.
        sigma: f64,
    },
    /// Density proportional to x^(k−1) e^(−x/θ).
    Gamma {
        /// k > 0.
        shape: f64,
        /// θ > 0.
        scale: f64,
    },
    /// P(X > x) = exp(−(x/λ)^k).
    Weibull {
        /// k > 0.
        shape: f64,
        /// λ > 0.
        scale: f64,
    },
    /// Exponential, with this mean.
    Exponential(f64),
    /// One of these values, each as likely as every other; 0 when there are none.
    Empirical(Arc<[f64]>),
}

impl Distribution {
    /// The lognormal with this median and 99th percentile: μ = ln median,
    /// σ = ln(p99/median) / z₀.₉₉. `median` must be positive and `p99` no less.
    pub fn lognormal(median: f64, p99: f64) -> Self {
        Self::Lognormal {
            mu: libm::log(median),
            sigma: libm::log(p99 / median) / Z99,
        }
    }

    /// The gamma distribution with this mean and cv: k = 1/cv², θ = mean · cv², since its mean is kθ and its
    /// variance kθ² (Johnson, Kotz, Balakrishnan: "Continuous Univariate Distributions", vol. 1, 2nd ed.
    /// 1994, ch. 17). `mean` must be positive, and `cv` within [`CV`].
    pub fn gamma(mean: f64, cv: f64) -> Self {
        let squared = cv * cv;
        Self::Gamma {
            shape: 1.0 / squared,
            scale: mean * squared,
        }
    }

    /// The Weibull distribution with this mean and cv: λ = mean / Γ(1 + 1/k), and k solves
    /// 1 + cv² = Γ(1 + 2/k) / Γ(1 + 1/k)² (the same book, ch. 21). `mean` must be positive, and `cv` within
    /// [`CV`].
    pub fn weibull(mean: f64, cv: f64) -> Self {
        let shape = weibull_shape(cv);
        Self::Weibull {
            shape,
            scale: mean / libm::exp(libm::lgamma(1.0 + 1.0 / shape)),
        }
    }

    /// What a draw makes of it.
    pub fn sample(&self, draw: Draw) -> f64 {
        self.next(&mut draw.generator())
    }

    /// The next number of a sequence: for what has an order of its own, as arrivals.
    pub fn next(&self, random: &mut Pcg64Mcg) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::Lognormal { mu, sigma } => {
                let z: f64 = StandardNormal.sample(random);
                libm::exp(mu + sigma * z)
            }
            Self::Gamma { shape, scale } => scale * gamma(*shape, random),
            Self::Weibull { shape, scale } => {
                // Inversion: U is uniform in (0, 1].
                let u: f64 = OpenClosed01.sample(random);
                scale * libm::pow(-libm::log(u), 1.0 / shape)
            }
            Self::Exponential(mean) => {
                let unit: f64 = Exp1.sample(random);
                mean * unit
            }
            Self::Empirical(values) => {
                let index = Draw(StandardUniform.sample(random)).below(values.len() as u64);
                values.get(index as usize).copied().unwrap_or_default()
            }
        }
    }

    /// Its mean; of a lognormal exp(μ + σ²/2), of a gamma kθ, of a Weibull λΓ(1 + 1/k).
    pub fn mean(&self) -> f64 {
        match self {
            Self::Constant(value) | Self::Exponential(value) => *value,
            Self::Lognormal { mu, sigma } => libm::exp(mu + sigma * sigma / 2.0),
            Self::Gamma { shape, scale } => shape * scale,
            Self::Weibull { shape, scale } => scale * libm::exp(libm::lgamma(1.0 + 1.0 / shape)),
            Self::Empirical(values) => values.iter().sum::<f64>() / values.len().max(1) as f64,
        }
    }
}

/// A gamma variable of scale 1 by the squeeze of Marsaglia and Tsang ("A Simple Method for Generating Gamma
/// Variables", ACM TOMS 26(3), 2000, p. 363); shapes below 1 by their note in section 6: X(k) = X(k+1) · U^(1/k).
fn gamma(shape: f64, rng: &mut Pcg64Mcg) -> f64 {
    if shape < 1.0 {
        let u: f64 = OpenClosed01.sample(rng);
        return gamma(shape + 1.0, rng) * libm::pow(u, 1.0 / shape);
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / libm::sqrt(9.0 * d);
    loop {
        let x: f64 = StandardNormal.sample(rng);
        let v = 1.0 + c * x;
        if v <= 0.0 {
            continue;
        }
        let v = v * v * v;
        let u: f64 = OpenClosed01.sample(rng);
        if libm::log(u) < 0.5 * x * x + d - d * v + d * libm::log(v) {
            return d * v;
        }
    }
}

/// k of the Weibull distribution with this cv, by bisection: cv falls as k grows.
fn weibull_shape(cv: f64) -> f64 {
    let wanted = libm::log1p(cv * cv);
    // ln Γ(1 + 2/k) − 2 ln Γ(1 + 1/k) is ln(1 + cv²). Between these two, cv goes from 371,277 to 0.00128.
    let (mut low, mut high) = (0.05_f64, 1_000.0_f64);
    for _ in 0..100 {
        let middle = libm::sqrt(low * high);
        let found = libm::lgamma(1.0 + 2.0 / middle) - 2.0 * libm::lgamma(1.0 + 1.0 / middle);
        if found > wanted {
            low = middle;
        } else {
            high = middle;
        }
    }
    libm::sqrt(low * high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{RequestKey, Seed, VersionId};
    use crate::rng::{Purpose, draw};

    const N: u64 = 40_000;

    fn samples(distribution: &Distribution) -> Vec<f64> {
        let drawn = |key| draw(Seed(5), Purpose::Latency, RequestKey(key), VersionId(0), 0);
        (0..N).map(|key| distribution.sample(drawn(key))).collect()
    }

    /// Mean and cv, and five standard errors of each by the delta method from the sample's own moments:
    /// Var(mean) = σ²/n, Var(s) ≈ (μ₄ − σ⁴)/(4σ²n).
    fn moments(samples: &[f64]) -> [(f64, f64); 2] {
        let n = samples.len() as f64;
        let mean = samples.iter().sum::<f64>() / n;
        let central = |power| samples.iter().map(|x| (x - mean).powi(power)).sum::<f64>() / n;
        let (variance, fourth) = (central(2), central(4));
        let sd = variance.sqrt();
        let mean_error = sd / n.sqrt();
        let sd_error = ((fourth - variance * variance) / (4.0 * variance * n)).sqrt();
        let cv_error = (sd_error + sd / mean * mean_error) / mean;
        [(mean, 5.0 * mean_error), (sd / mean, 5.0 * cv_error)]
    }

    #[test]
    fn gamma_and_weibull_have_the_mean_and_cv_they_were_given() {
        for cv in [0.05, 0.4, 1.0, 1.6] {
            for make in [Distribution::gamma, Distribution::weibull] {
                let distribution = make(0.25, cv);
                let [mean, spread] = moments(&samples(&distribution));
                assert!((mean.0 - 0.25).abs() < mean.1, "{distribution:?} {mean:?}");
                assert!(
                    (spread.0 - cv).abs() < spread.1,
                    "{distribution:?} {spread:?}"
                );
            }
        }
    }

    #[test]
    fn with_a_cv_of_one_both_are_the_exponential_distribution() {
        for make in [Distribution::gamma, Distribution::weibull] {
            let mut values = samples(&make(2.0, 1.0));
            values.sort_by(f64::total_cmp);
            // Kolmogorov's distance to 1 − e^(−x/2); 1.95/√n is exceeded once in a thousand times.
            let n = N as f64;
            let distance = values.iter().enumerate().map(|(i, x)| {
                let at = 1.0 - libm::exp(-x / 2.0);
                (at - i as f64 / n)
                    .abs()
                    .max((at - (i + 1) as f64 / n).abs())
            });
            let distance = distance.fold(0.0, f64::max);
            assert!(distance < 1.95 / n.sqrt(), "{distance}");
        }
    }

    /// scipy 1.17.1: `brentq(lambda k: gammaln(1+2/k) - 2*gammaln(1+1/k) - log1p(cv*cv), 0.05, 1000)`.
    #[test]
    fn the_shape_of_a_weibull_follows_its_cv() {
        for (cv, shape) in WEIBULL_SHAPES {
            let found = weibull_shape(cv);
            assert!((found / shape - 1.0).abs() < 1e-6, "{cv}: {found}");
        }
    }

    const WEIBULL_SHAPES: [(f64, f64); 5] = [
        (0.01, 127.530153314),
        (0.4, 2.695621255),
        (1.0, 1.000000000),
        (2.0, 0.542692561),
        (10.0, 0.233206759),
    ];

    #[test]
    fn values_of_a_trace_are_drawn_evenly_and_nothing_else_is() {
        let values = [3.0, 1.0, 7.0, 9.0];
        let drawn = samples(&Distribution::Empirical(values.into()));
        for value in values {
            // Five standard deviations of Binomial(40,000, 1/4).
            let found = drawn.iter().filter(|x| **x == value).count();
            assert!((9_567..=10_433).contains(&found), "{value}: {found}");
        }
        assert!(drawn.iter().all(|x| values.contains(x)));
        assert_eq!(Distribution::Empirical([].into()).sample(Draw(7)), 0.0);
    }

    /// The mean of 20,000 draws is within five standard errors of what it should be.
    #[test]
    fn the_means_are_what_they_say() {
        for (distribution, deviation) in [
            (Distribution::Constant(3.0), 0.0),
            (Distribution::Exponential(2.0), 2.0),
            // σ = 0.5: the standard deviation is mean · √(exp(σ²) − 1) = 0.533 · mean.
            (
                Distribution::Lognormal {
                    mu: 0.0,
                    sigma: 0.5,
                },
                0.533 * 1.1331,
            ),
        ] {
            let of = |key| {
                let version = VersionId::default();
                distribution.sample(draw(Seed(1), Purpose::Think, RequestKey(key), version, 0))
            };
            let mean = (0..20_000).map(of).sum::<f64>() / 20_000.0;
            let error = 5.0 * deviation / libm::sqrt(20_000.0) + 1e-9;
            assert!(
                (mean - distribution.mean()).abs() <= error,
                "{distribution:?}: {mean}"
            );
        }
    }
}
