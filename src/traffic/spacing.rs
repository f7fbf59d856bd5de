//! How arrivals are spaced: gaps of mean 1, stretched afterwards to whatever rate there is.
//!
//! Gamma and Weibull gaps have a given coefficient of variation (standard deviation over mean): below 1
//! arrivals are more even than Poisson's, above 1 they come in clumps. Both are 1 for the exponential,
//! which is then the same as Poisson.

use crate::rng::distribution::Distribution;

/// How arrivals of one rate are spaced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Spacing {
    /// Evenly.
    Constant,
    /// With exponential gaps.
    Poisson,
    /// With gamma gaps of this coefficient of variation, within [`CV`](crate::rng::distribution::CV).
    Gamma(f64),
    /// With Weibull gaps of this coefficient of variation, within the same.
    Weibull(f64),
}

impl Spacing {
    /// The distribution of its gaps, whose mean is 1; none when they are even.
    pub fn gaps(self) -> Option<Distribution> {
        match self {
            Self::Constant => None,
            Self::Poisson => Some(Distribution::Exponential(1.0)),
            Self::Gamma(cv) => Some(Distribution::gamma(1.0, cv)),
            Self::Weibull(cv) => Some(Distribution::weibull(1.0, cv)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_gaps_have_the_mean_1() {
        assert_eq!(Spacing::Constant.gaps(), None);
        for spacing in [Spacing::Poisson, Spacing::Gamma(0.3), Spacing::Weibull(2.0)] {
            let mean = spacing.gaps().map(|gaps| gaps.mean());
            assert!((mean.unwrap() - 1.0).abs() < 1e-12, "{spacing:?}: {mean:?}");
        }
    }
}
