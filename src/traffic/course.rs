//! How a rate of arrivals changes over time.
//!
//! Arrivals under a changing rate λ(t) come from those of rate 1 by the inverse of the cumulative rate
//! Λ(t) = ∫λ: what would come at n comes at Λ⁻¹(n). For Poisson arrivals this is exact (Çinlar:
//! "Introduction to Stochastic Processes", 1975, chapter 4.7); for others it is the inversion of Gerhardt
//! and Nelson ("Transforming Renewal Processes for Simulation of Nonstationary Arrival Processes",
//! INFORMS Journal on Computing 21, 2009). Nothing is drawn in vain, as by thinning (Lewis and Shedler
//! 1979), so that the nth arrival depends on n draws alone.

use std::f64::consts::TAU;

/// A rate over time, in arrivals per second; times are seconds since the start of the stage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Course {
    /// Always the same; 0 is a pause.
    Flat(f64),
    /// From one rate to another, in a straight line.
    Ramp {
        /// At the start.
        from: f64,
        /// At the end, and from then on.
        to: f64,
        /// How long it takes.
        over: f64,
    },
    /// A base rate, and another one in the last part of each period.
    Bursts {
        /// The rate outside of bursts.
        base: f64,
        /// The rate within them.
        burst: f64,
        /// From one burst to the next.
        every: f64,
        /// How long one lasts, less than `every`.
        length: f64,
    },
    /// A wave around a mean: λ(t) = mean + (peak − mean) cos(2π (t − `peak_at`) / period).
    Diurnal {
        /// The mean rate, above 0.
        mean: f64,
        /// The highest rate, at most twice the mean.
        peak: f64,
        /// From one peak to the next.
        period: f64,
        /// When the first peak is, or would be.
        peak_at: f64,
    },
}

impl Course {
    /// Is there ever any arrival?
    pub fn is_silent(&self) -> bool {
        match *self {
            Self::Flat(rate) => rate <= 0.0,
            Self::Ramp { from, to, .. } => from.max(to) <= 0.0,
            Self::Bursts { base, burst, .. } => base.max(burst) <= 0.0,
            Self::Diurnal { mean, .. } => mean <= 0.0,
        }
    }

    /// The number of arrivals to expect until `t`: Λ(t).
    pub fn until(&self, t: f64) -> f64 {
        match *self {
            Self::Flat(rate) => rate * t,
            Self::Ramp { from, to, over } => {
                let (during, after) = (t.min(over), (t - over).max(0.0));
                from * during + (to - from) / over * during * during / 2.0 + to * after
            }
            Self::Bursts {
                base,
                burst,
                every,
                length,
            } => {
                let (before, quiet) = ((t / every).floor(), every - length);
                let into = t - before * every;
                before * (base * quiet + burst * length)
                    + base * into.min(quiet)
                    + burst * (into - quiet).max(0.0)
            }
            Self::Diurnal {
                mean,
                peak,
                period,
                peak_at,
            } => {
                let swing = (peak - mean) * period / TAU;
                let sine = |t: f64| libm::sin(TAU * (t - peak_at) / period);
                mean * t + swing * (sine(t) - sine(0.0))
            }
        }
    }

    /// When Λ reaches `n`: Λ⁻¹(n). None where it never does.
    pub fn moment(&self, n: f64) -> Option<f64> {
        match *self {
            Self::Flat(rate) => (rate > 0.0).then(|| n / rate),
            Self::Ramp { from, to, over } => ramped(n, from, to, over),
            Self::Bursts {
                base,
                burst,
                every,
                length,
            } => {
                let in_quiet = base * (every - length);
                let in_period = in_quiet + burst * length;
                let before = (n / in_period).floor();
                let into = n - before * in_period;
                let since = match into < in_quiet {
                    true => into / base,
                    // At most to the end of the burst, whatever rounding says.
                    false if burst > 0.0 => {
                        every - length + ((into - in_quiet) / burst).min(length)
                    }
                    false => every - length,
                };
                (in_period > 0.0).then_some(before * every + since)
            }
            Self::Diurnal { mean, period, .. } => {
                let before = (n / (mean * period)).floor();
                let into = n - before * mean * period;
                (mean > 0.0).then(|| before * period + self.within_period(into, period))
            }
        }
    }

    /// Λ⁻¹ within the first period, by halving: Λ rises, but near a trough of 0 it is too flat for
    /// Newton's steps.
    fn within_period(&self, n: f64, period: f64) -> f64 {
        let (mut low, mut high) = (0.0, period);
        // To a nanosecond of a day in 47 steps.
        for _ in 0..56 {
            let middle = (low + high) / 2.0;
            if self.until(middle) < n {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    }
}

fn ramped(n: f64, from: f64, to: f64, over: f64) -> Option<f64> {
    let in_ramp = (from + to) / 2.0 * over;
    if n > in_ramp {
        return (to > 0.0).then(|| over + (n - in_ramp) / to);
    }
    // The root of slope/2 t² + from t = n in a form that loses nothing where the slope is small.
    let slope = (to - from) / over;
    let root = libm::sqrt((from * from + 2.0 * slope * n).max(0.0));
    Some(if n > 0.0 {
        2.0 * n / (from + root)
    } else {
        0.0
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn courses() -> impl Strategy<Value = Course> {
        let rate = || 0.1_f64..1_000.0;
        prop_oneof![
            rate().prop_map(Course::Flat),
            (0.0_f64..100.0, rate(), 1.0_f64..1_000.0).prop_map(|(from, to, over)| Course::Ramp {
                from,
                to,
                over
            }),
            (rate(), 0.0_f64..100.0, 1.0_f64..1_000.0).prop_map(|(from, to, over)| Course::Ramp {
                from,
                to,
                over
            }),
            (0.0_f64..100.0, rate(), 1.0_f64..600.0, 0.01_f64..0.99).prop_map(
                |(base, burst, every, part)| Course::Bursts {
                    base,
                    burst,
                    every,
                    length: every * part,
                }
            ),
            (rate(), 1.0_f64..=2.0, 1.0_f64..90_000.0, 0.0_f64..2.0).prop_map(
                |(mean, ratio, period, phase)| Course::Diurnal {
                    mean,
                    peak: mean * ratio,
                    period,
                    peak_at: period * phase,
                }
            ),
        ]
    }

    proptest! {
        /// The inverse is one, and later numbers come later.
        #[test]
        fn moments_are_when_their_number_is_reached(course in courses(), n in 0.0_f64..10_000.0, more in 0.0_f64..10.0) {
            if let Some(at) = course.moment(n) {
                prop_assert!(at >= 0.0);
                let error = (course.until(at) - n).abs();
                prop_assert!(error < 1e-6 * n.max(1.0), "{} at {at}", course.until(at));
                if let Some(later) = course.moment(n + more) {
                    prop_assert!(later + 1e-6 >= at);
                }
            }
        }
    }

    #[test]
    fn a_ramp_a_burst_and_a_day_by_hand() {
        let ramp = Course::Ramp {
            from: 0.0,
            to: 10.0,
            over: 10.0,
        };
        assert_eq!(ramp.until(10.0), 50.0);
        assert_eq!(ramp.moment(50.0), Some(10.0));
        assert_eq!(ramp.moment(60.0), Some(11.0), "it stays where it ends");
        let fading = Course::Ramp {
            from: 10.0,
            to: 0.0,
            over: 10.0,
        };
        assert_eq!(fading.moment(50.1), None, "nobody comes any more");
        let bursts = Course::Bursts {
            base: 1.0,
            burst: 10.0,
            every: 60.0,
            length: 10.0,
        };
        assert_eq!(bursts.until(60.0), 150.0);
        assert_eq!(bursts.moment(50.0), Some(50.0));
        assert_eq!(bursts.moment(100.0), Some(55.0));
        let day = Course::Diurnal {
            mean: 10.0,
            peak: 20.0,
            period: 86_400.0,
            peak_at: 43_200.0,
        };
        assert!((day.until(86_400.0) - 864_000.0).abs() < 1e-3);
        // The quarter of a day around the trough has 1/4 − 1/(√2 π) of the day's.
        let trough = day.until(10_800.0) * 2.0 / 864_000.0;
        assert!(
            (trough - (0.25 - std::f64::consts::FRAC_1_SQRT_2 / std::f64::consts::PI)).abs() < 1e-9
        );
    }
}
