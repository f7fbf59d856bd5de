//! Patterns of a fault in time: steady, flapping, growing, in bursts.

use std::time::Duration;

use crate::id::{RequestKey, Seed, VersionId};
use crate::rng::{Draw, Purpose, draw};
use crate::time::{nanos, seconds};

/// When, between its start and its end, a fault hits, and how many.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Pattern {
    /// Always, at its share.
    #[default]
    Steady,
    /// On and off in turns, beginning with on.
    Flapping {
        /// How long it is on.
        on: Duration,
        /// How long it is off.
        off: Duration,
    },
    /// At a share that grows, or falls, in a straight line over the fault's whole length.
    Ramp {
        /// The share at its start, 0 to 1.
        from: f64,
        /// The share at its end, 0 to 1.
        to: f64,
        /// From its start to its end.
        over: Duration,
    },
    /// In bursts that come and go by chance: the channel of Gilbert ("Capacity of a burst-noise channel",
    /// Bell System Technical Journal 39, 1960) and Elliott ("Estimates of error rates for codes on
    /// burst-noise channels", BSTJ 42, 1963), in continuous time. The stays in both states are
    /// exponentially distributed with these means, so a moment is in a burst with probability
    /// `mean / (mean + gap)`.
    Bursts {
        /// Mean length of a burst.
        mean: Duration,
        /// Mean length of the gap between two.
        gap: Duration,
    },
}

/// A walk through bursts and gaps begins anew after so many of both, on average: else the way to a moment
/// would be the longer, the later it is.
const CYCLES: u32 = 64;

impl Pattern {
    /// The share of a fault at this moment after its start: what it was given, what the pattern makes of
    /// it, or nothing while it is off.
    pub fn share(&self, given: f64, after: Duration, seed: Seed, fault: u16) -> f64 {
        let while_on = |is_on| if is_on { given } else { 0.0 };
        match *self {
            Self::Steady => given,
            Self::Flapping { on, off } => {
                let period = nanos(on.saturating_add(off)).max(1);
                while_on(nanos(after) % period < nanos(on))
            }
            Self::Ramp { from, to, over } => {
                let part = after.as_secs_f64() / over.as_secs_f64().max(f64::MIN_POSITIVE);
                from + (to - from) * part.min(1.0)
            }
            Self::Bursts { mean, gap } => while_on(is_in_burst(mean, gap, after, seed, fault)),
        }
    }

    /// The share over all its time, for what is expected of a whole run.
    pub fn mean_share(&self, given: f64) -> f64 {
        let part = |on: Duration, off: Duration| {
            let whole = on.saturating_add(off).as_secs_f64();
            on.as_secs_f64() / whole.max(f64::MIN_POSITIVE)
        };
        match *self {
            Self::Steady => given,
            Self::Flapping { on, off } => given * part(on, off),
            Self::Ramp { from, to, .. } => f64::midpoint(from, to),
            Self::Bursts { mean, gap } => given * part(mean, gap),
        }
    }
}

/// The state at a moment: a walk from the beginning of its stretch, whose first state comes from the
/// chain's stationary distribution. Every step is a draw by its number, so traffic changes nothing.
fn is_in_burst(mean: Duration, gap: Duration, after: Duration, seed: Seed, fault: u16) -> bool {
    let stretch = nanos(mean.saturating_add(gap).saturating_mul(CYCLES)).max(1);
    let (number, mut left) = (nanos(after) / stretch, nanos(after) % stretch);
    let drawn = |step| {
        let purpose = Purpose::Burst(fault);
        draw(
            seed,
            purpose,
            RequestKey(number),
            VersionId::default(),
            step,
        )
    };
    let share = Pattern::Bursts { mean, gap }.mean_share(1.0);
    let mut is_burst = drawn(0).unit() < share;
    for step in 1_u32.. {
        let length = nanos(stay(if is_burst { mean } else { gap }, drawn(step)));
        if left < length {
            break;
        }
        left -= length;
        is_burst = !is_burst;
    }
    is_burst
}

/// An exponentially distributed time, of a nanosecond at least.
fn stay(mean: Duration, drawn: Draw) -> Duration {
    let length = -libm::log(1.0 - drawn.unit()) * mean.as_secs_f64();
    seconds(length).max(Duration::from_nanos(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn share(pattern: Pattern, at: f64, seed: u64) -> f64 {
        pattern.share(0.5, Duration::from_secs_f64(at), Seed(seed), 3)
    }

    #[test]
    fn flapping_is_on_then_off_then_on() {
        let pattern = Pattern::Flapping {
            on: SECOND,
            off: 2 * SECOND,
        };
        let seen = [0.0, 0.999, 1.0, 2.999, 3.0, 4.5].map(|at| share(pattern, at, 1));
        assert_eq!(seen, [0.5, 0.5, 0.0, 0.0, 0.5, 0.0]);
        assert!((pattern.mean_share(0.6) - 0.2).abs() < 1e-12);
    }

    #[test]
    fn a_ramp_goes_in_a_straight_line() {
        let over = 10 * SECOND;
        let pattern = Pattern::Ramp {
            from: 0.1,
            to: 0.5,
            over,
        };
        for (at, expected) in [(0.0, 0.1), (2.5, 0.2), (10.0, 0.5), (99.0, 0.5)] {
            assert!((share(pattern, at, 1) - expected).abs() < 1e-12, "{at}");
        }
        assert!((pattern.mean_share(1.0) - 0.3).abs() < 1e-12);
    }

    #[test]
    fn bursts_have_the_lengths_that_were_asked_for_and_their_seeds_differ() {
        let (mean, gap) = (2 * SECOND, 8 * SECOND);
        let pattern = Pattern::Bursts { mean, gap };
        let states: Vec<bool> = (0..1_000_000)
            .map(|i| share(pattern, f64::from(i) * 0.05, 9) > 0.0)
            .collect();
        let on = states.iter().filter(|on| **on).count() as f64 * 0.05;
        let starts = states.windows(2).filter(|w| !w[0] && w[1]).count() as f64;
        // 50,000 s, 5,000 bursts: standard errors of about 2 %.
        assert!((on / 50_000.0 - 0.2).abs() < 0.02, "{on}");
        assert!((on / starts - 2.0).abs() < 0.15, "{}", on / starts);
        let differ = (0..1_000).filter(|i| {
            let at = f64::from(*i);
            share(pattern, at, 9) != share(pattern, at, 10)
        });
        assert!(differ.count() > 100);
    }
}
