//! Distributions of positive numbers, drawn with keyed randomness.

use rand_distr::{Distribution as _, Exp1, StandardNormal};

use crate::rng::Draw;

/// z with P(Z ≤ z) = 0.99 for a standard normal Z (scipy 1.17.1: `st.norm.ppf(0.99)`).
const Z99: f64 = 2.3263478740408408;

/// A distribution of positive numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
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
    /// Exponential, with this mean.
    Exponential(f64),
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

    /// The number that belongs to a draw.
    pub fn sample(self, draw: Draw) -> f64 {
        match self {
            Self::Constant(value) => value,
            Self::Lognormal { mu, sigma } => {
                let z: f64 = StandardNormal.sample(&mut draw.generator());
                libm::exp(mu + sigma * z)
            }
            Self::Exponential(mean) => {
                let unit: f64 = Exp1.sample(&mut draw.generator());
                mean * unit
            }
        }
    }

    /// Its mean; of a lognormal, exp(μ + σ²/2).
    pub fn mean(self) -> f64 {
        match self {
            Self::Constant(value) => value,
            Self::Lognormal { mu, sigma } => libm::exp(mu + sigma * sigma / 2.0),
            Self::Exponential(mean) => mean,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{RequestKey, Seed, VersionId};
    use crate::rng::{Purpose, draw};

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
