//! How arrivals are spaced: gaps of mean 1, stretched afterwards to whatever rate there is.
//!
//! Gamma and Weibull gaps have a given coefficient of variation `cv` (standard deviation over mean):
//! below 1 arrivals are more even than Poisson's, above 1 they come in clumps. Both are 1 for the
//! exponential, which is then the same as Poisson.
//!
//! * gamma with shape k and scale 1/k: mean 1, cv = 1/√k, so k = 1/cv² (Johnson, Kotz, Balakrishnan:
//!   "Continuous Univariate Distributions", volume 1, 2nd edition 1994, chapter 17). Drawn by Marsaglia
//!   and Tsang ("A Simple Method for Generating Gamma Variables", ACM TOMS 26, 2000); below shape 1 as
//!   Gamma(k + 1) · U^(1/k), from section 6 there.
//! * Weibull with shape k and scale λ: mean λ Γ(1 + 1/k), cv² = Γ(1 + 2/k) / Γ(1 + 1/k)² − 1 (the same,
//!   chapter 21). There is no closed form of k: it is found by halving, since cv falls as k grows. Drawn
//!   as λ E^(1/k) with E exponential, the inverse of its distribution function.

use rand_distr::{Distribution as _, Exp1, Gamma};
use rand_pcg::Pcg64Mcg;

/// How arrivals of one rate are spaced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Spacing {
    /// Evenly.
    Constant,
    /// With exponential gaps.
    Poisson,
    /// With gamma gaps of this coefficient of variation, within [`CV`].
    Gamma(f64),
    /// With Weibull gaps of this coefficient of variation, within [`CV`].
    Weibull(f64),
}

/// The coefficients of variation that there are.
pub const CV: std::ops::RangeInclusive<f64> = 0.05..=10.0;

/// Draws gaps of mean 1.
#[derive(Clone, Copy, Debug)]
pub enum Gaps {
    /// Always 1.
    Even,
    /// Exponential.
    Exponential,
    /// Gamma.
    Gamma {
        /// k, or k + 1 where k is below 1.
        distribution: Gamma<f64>,
        /// 1/k where k is below 1.
        boost: Option<f64>,
        /// What makes the mean 1.
        scale: f64,
    },
    /// Weibull.
    Weibull {
        /// 1/k.
        power: f64,
        /// What makes the mean 1.
        scale: f64,
    },
}

impl Gaps {
    /// The gaps of a spacing.
    pub fn new(spacing: Spacing) -> Self {
        match spacing {
            Spacing::Constant => Self::Even,
            Spacing::Poisson => Self::Exponential,
            Spacing::Gamma(cv) => Self::gamma(1.0 / (cv * cv)),
            Spacing::Weibull(cv) => Self::weibull(weibull_shape(cv)),
        }
    }

    fn gamma(shape: f64) -> Self {
        let is_small = shape < 1.0;
        let drawn = if is_small { shape + 1.0 } else { shape };
        match Gamma::new(drawn, 1.0) {
            Ok(distribution) => Self::Gamma {
                distribution,
                boost: is_small.then_some(1.0 / shape),
                scale: 1.0 / shape,
            },
            // Only for shapes that are no positive number, which no file can ask for.
            Err(_) => Self::Exponential,
        }
    }

    fn weibull(shape: f64) -> Self {
        Self::Weibull {
            power: 1.0 / shape,
            scale: libm::exp(-libm::lgamma(1.0 + 1.0 / shape)),
        }
    }

    /// The next gap.
    pub fn next(&self, random: &mut Pcg64Mcg) -> f64 {
        match *self {
            Self::Even => 1.0,
            Self::Exponential => Exp1.sample(random),
            Self::Gamma {
                distribution,
                boost,
                scale,
            } => {
                let whole = distribution.sample(random);
                // −ln U is exponential: U^(1/k) without ever taking the logarithm of 0.
                let unit = |random: &mut Pcg64Mcg| -> f64 { Exp1.sample(random) };
                let part = boost.map_or(1.0, |power| libm::exp(-power * unit(random)));
                scale * whole * part
            }
            Self::Weibull { power, scale } => {
                let unit: f64 = Exp1.sample(random);
                scale * libm::pow(unit, power)
            }
        }
    }
}

/// The shape of the Weibull distribution with this coefficient of variation.
fn weibull_shape(cv: f64) -> f64 {
    // Shapes from 0.1 (cv 429) to 200 (cv 0.0064) hold every `CV`.
    let (mut low, mut high) = (0.1, 200.0);
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        if weibull_cv(middle) > cv {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low + high) / 2.0
}

fn weibull_cv(shape: f64) -> f64 {
    let ln_ratio = libm::lgamma(1.0 + 2.0 / shape) - 2.0 * libm::lgamma(1.0 + 1.0 / shape);
    libm::sqrt(libm::expm1(ln_ratio))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Seed;
    use crate::rng;

    /// scipy 1.17.1: `brentq(lambda k: weibull_min(k).std() / weibull_min(k).mean() - cv, 0.15, 100)`.
    #[test]
    fn the_shape_of_a_weibull_follows_from_its_variation() {
        for (cv, shape) in [(0.5, 2.101_349_095), (1.0, 1.0), (2.0, 0.542_692_561)] {
            assert!(
                (weibull_shape(cv) - shape).abs() < 1e-6,
                "{cv}: {}",
                weibull_shape(cv)
            );
        }
        for cv in [*CV.start(), 0.3, 3.0, *CV.end()] {
            assert!((weibull_cv(weibull_shape(cv)) - cv).abs() < 1e-9 * cv.max(1.0));
        }
    }

    /// Mean and coefficient of variation of 20,000 gaps are within five standard errors. Those of the
    /// latter come from the first four moments: var(ĉ) ≈ c² (c²  − γ c + (κ − 1)/4) / n with skewness γ
    /// and kurtosis κ (delta method; Kendall and Stuart, "The Advanced Theory of Statistics", 10.6),
    /// taken here from the sample itself.
    #[test]
    fn gaps_have_mean_1_and_the_variation_that_was_asked_for() {
        for (spacing, cv) in [
            (Spacing::Constant, 0.0),
            (Spacing::Poisson, 1.0),
            (Spacing::Gamma(0.3), 0.3),
            (Spacing::Gamma(1.0), 1.0),
            (Spacing::Gamma(2.0), 2.0),
            (Spacing::Weibull(0.5), 0.5),
            (Spacing::Weibull(1.0), 1.0),
            (Spacing::Weibull(1.5), 1.5),
        ] {
            let gaps = Gaps::new(spacing);
            let mut random = rng::arrivals(Seed(3));
            let all: Vec<f64> = (0..20_000).map(|_| gaps.next(&mut random)).collect();
            let n = all.len() as f64;
            let mean = all.iter().sum::<f64>() / n;
            let moment = |k: i32| all.iter().map(|g| (g - mean).powi(k)).sum::<f64>() / n;
            let found = moment(2).sqrt() / mean;
            assert!(
                (mean - 1.0).abs() <= 5.0 * cv / n.sqrt(),
                "{spacing:?}: mean {mean}"
            );
            if cv > 0.0 {
                let skew = moment(3) / moment(2).powi(3).sqrt();
                let kurtosis = moment(4) / moment(2).powi(2);
                let variance =
                    found * found * (found * found - skew * found + (kurtosis - 1.0) / 4.0);
                let error = 5.0 * (variance / n).sqrt();
                assert!(
                    (found - cv).abs() <= error,
                    "{spacing:?}: cv {found} ± {error}"
                );
            }
        }
    }
}
