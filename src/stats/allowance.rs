//! A limit for what chance decides, wide enough to be no coin toss: what is needed but once in 10,000 runs, rounded up.

use super::samples::Samples;

/// What is limited, and how much room a limit has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rounding {
    /// Of so many steps is one of the unit in which people read it: 10⁹ for nanoseconds, 1 for a number.
    pub unit: f64,
    /// The limit is so many times what is needed; at least 1.
    pub slack: f64,
}

impl Rounding {
    /// Of nanoseconds, read in seconds.
    pub fn of_time(slack: f64) -> Self {
        Self { unit: 1e9, slack }
    }

    /// Of a number.
    pub fn of_count(slack: f64) -> Self {
        Self { unit: 1.0, slack }
    }

    fn apply(self, needed: u64) -> u64 {
        (rounded_up(needed as f64 / self.unit * self.slack) * self.unit).round() as u64
    }
}

/// What one limit should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// What is exceeded once in 10,000 runs, or the most that this is, with 95 % confidence. None where too few runs
    /// tell of it.
    pub extreme: Option<u64>,
    /// The limit. Without an extreme it is what the runs needed at most: others need more.
    pub suggested: u64,
}

impl Allowance {
    /// By formula: what is exceeded once in 10,000 runs, and what is as rarely as the limit's part of the error budget says.
    pub fn by_formula(extreme: u64, needed: u64, rounding: Rounding) -> Self {
        Self {
            extreme: Some(extreme),
            suggested: rounding.apply(needed),
        }
    }

    /// From runs that all had an end to tell of. None without a run.
    pub fn of_samples(samples: &Samples, rounding: Rounding) -> Option<Self> {
        let extreme = samples.extreme();
        let needed = extreme.or(samples.max())?;
        Some(Self {
            extreme,
            suggested: rounding.apply(needed),
        })
    }
}

/// To two digits, upwards: `24` for 23.5, `110` for 107; whole numbers below ten stay.
fn rounded_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 0.0;
    }
    let step = libm::pow(10.0, libm::floor(libm::log10(value)) - 1.0);
    let step = if value >= 1.0 { step.max(1.0) } else { step };
    // What only binary dust puts above a step is on it.
    (value / step - 1e-9).ceil() * step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions_are_round_and_never_lower() {
        for (value, round) in [
            (23.52, 24.0),
            (24.0, 24.0),
            (107.0, 110.0),
            (3.2, 4.0),
            (0.234, 0.24),
            (9.99, 10.0),
            (0.0, 0.0),
        ] {
            let got = rounded_up(value);
            assert!((got - round).abs() < 1e-9 && got >= value, "{value}: {got}");
        }
        let nanos = Rounding::of_time(1.5).apply(23_520_000_000);
        assert_eq!(nanos, 36_000_000_000);
        assert_eq!(Rounding::of_count(1.0).apply(107), 110);
    }

    #[test]
    fn few_runs_tell_what_is_needed_at_least_and_many_what_is_enough() {
        let of = |n: u64| Allowance::of_samples(&(1..=n).collect(), Rounding::of_count(1.0));
        assert_eq!(of(0), None);
        let few = of(107).unwrap();
        assert_eq!((few.extreme, few.suggested), (None, 110));
        // scipy 1.17.1: st.binom.cdf(29_999, 30_000, .9999) = .9502: only the largest bounds the 99.99 % quantile.
        let many = of(30_000).unwrap();
        assert_eq!((many.extreme, many.suggested), (Some(30_000), 30_000));
    }
}
