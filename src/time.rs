//! The only time type below `live/`: nanoseconds since the run started.
//!
//! Nothing here reads a clock. The virtual driver invents timestamps, the live driver measures
//! them; the router, the mocks and the verdicts cannot tell which one did.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment of a run, in nanoseconds since its start. Range: 0 to about 584 years.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The start of the run.
    pub const ZERO: Self = Self(0);
    /// Later than every moment of any run.
    pub const MAX: Self = Self(u64::MAX);

    /// The moment `seconds` after the start. Negative and non-finite values give the start.
    pub fn from_secs_f64(seconds: f64) -> Self {
        // A float-to-integer `as` saturates and maps NaN to 0: exactly the documented behaviour.
        Self((seconds * 1e9).max(0.0) as u64)
    }

    /// Seconds since the start.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// Time passed since `earlier`; zero when `earlier` is in fact later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The elapsed time since the start of the run.
    pub fn elapsed(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(nanos(by)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(by)))
    }
}

impl From<Duration> for Timestamp {
    fn from(since_start: Duration) -> Self {
        Self(nanos(since_start))
    }
}

/// Seconds with the microseconds, as written into CSV files: `12.345678`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0 / 1_000;
        write!(f, "{}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }
}

/// Whole nanoseconds of a duration, saturating at 584 years.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A duration of so many seconds; zero for negative ones and NaN, the longest one beyond that.
pub fn seconds(value: f64) -> Duration {
    if value.is_nan() || value <= 0.0 {
        return Duration::ZERO;
    }
    Duration::try_from_secs_f64(value).unwrap_or(Duration::MAX)
}

/// Milliseconds of a duration, with its fraction.
pub fn millis_f64(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// A duration for people: `0 s`, `340 µs`, `12.5 ms`, `25.0 s`, `3m 20s`, `1h 05m`.
pub struct Human(pub Duration);

impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let d = self.0;
        let secs = d.as_secs();
        if d.is_zero() {
            f.write_str("0 s")
        } else if d < Duration::from_millis(1) {
            write!(f, "{} µs", d.as_micros())
        } else if d < Duration::from_secs(1) {
            write!(f, "{} ms", trim_zero(millis_f64(d)))
        } else if secs < 120 {
            write!(f, "{} s", trim_zero(d.as_secs_f64()))
        } else if secs < 7_200 {
            write!(f, "{}m {:02}s", secs / 60, secs % 60)
        } else {
            write!(f, "{}h {:02}m", secs / 3_600, secs % 3_600 / 60)
        }
    }
}

/// One decimal, unless it is zero.
fn trim_zero(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_never_go_below_zero() {
        let (early, late) = (Timestamp(5), Timestamp(8));
        assert_eq!(late.since(early), Duration::from_nanos(3));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(early - Duration::from_secs(1), Timestamp::ZERO);
        assert_eq!(Timestamp::MAX + Duration::from_secs(1), Timestamp::MAX);
    }

    #[test]
    fn seconds_that_are_no_moment_give_the_start() {
        for odd in [-1.0, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(Timestamp::from_secs_f64(odd), Timestamp::ZERO);
        }
        assert_eq!(Timestamp::from_secs_f64(1.5), Timestamp(1_500_000_000));
    }

    #[test]
    fn people_read_short_forms() {
        let cases = [
            (0, "0 s"),
            (340_000, "340 µs"),
            (12_500_000, "12.5 ms"),
            (25_000_000_000, "25 s"),
            (200_000_000_000, "3m 20s"),
            (3_900_000_000_000, "65m 00s"),
            (25_200_000_000_000, "7h 00m"),
        ];
        for (ns, expected) in cases {
            assert_eq!(Human(Duration::from_nanos(ns)).to_string(), expected);
        }
    }
}
