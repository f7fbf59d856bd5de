//! Whether the machine kept up with a live run: how late it woke whoever waited for a moment.
//!
//! There is a moment every [`TICK`] of the run, and each has its own delay, so a stall of a second is two hundred late moments and
//! weighs what it lasted: whoever is asleep does not count once, as in a loop that only sees the first moment it missed.

use std::time::Duration;

use crate::observe::latency::Latencies;
use crate::stats::quantile::Quantile;
use crate::time::Timestamp;

/// From one moment to the next. Whole milliseconds, as the runtime counts them.
pub const TICK: Duration = Duration::from_millis(5);

/// How the machine treated a live run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MachineFacts {
    /// Moments that somebody waited for.
    pub moments: u64,
    /// How late they were noticed, at the 99th percentile; none when there were none.
    pub wake_delay_p99: Option<Duration>,
    /// The longest that nobody was woken, and when it was over; none when there were no moments.
    pub stall: Option<Stall>,
    /// What the system itself tells.
    pub system: SystemFacts,
}

/// A time in which nobody was woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// How long.
    pub length: Duration,
    /// When it was over.
    pub until: Timestamp,
}

/// What the system tells of a stretch of time. Missing is what it does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SystemFacts {
    /// How long the threads of this program were ready to run and did not, all together.
    pub run_delay: Option<Duration>,
    /// The part of the processors' time that other machines on the same hardware took, 0 to 1.
    pub steal: Option<f64>,
    /// The part of the time in which anybody on the machine was ready to run and did not, 0 to 1.
    pub pressure: Option<f64>,
}

/// Counts the moments of a run as they are noticed.
#[derive(Clone, Debug, Default)]
pub struct Moments {
    /// The first moment that nobody has noticed yet.
    next: Timestamp,
    delays: Latencies,
    stall: Option<Stall>,
}

impl Moments {
    /// The moment to wait for.
    pub fn next(&self) -> Timestamp {
        self.next
    }

    /// Somebody is awake: every moment that has passed is noticed now.
    pub fn awake(&mut self, now: Timestamp) {
        if self.next <= now {
            self.note(Stall {
                length: now.since(self.next),
                until: now,
            });
        }
        while self.next <= now {
            self.delays.record(now.since(self.next));
            self.next = self.next + TICK;
        }
    }

    fn note(&mut self, stall: Stall) {
        if self
            .stall
            .is_none_or(|longest| stall.length > longest.length)
        {
            self.stall = Some(stall);
        }
    }

    /// What came of them.
    pub fn facts(&self, system: SystemFacts) -> MachineFacts {
        MachineFacts {
            moments: self.delays.count(),
            wake_delay_p99: self.delays.at(Quantile::P99),
            stall: self.stall,
            system,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from(ms(millis))
    }

    #[test]
    fn a_stall_weighs_what_it_lasted() {
        let mut moments = Moments::default();
        (0..=800).step_by(5).for_each(|now| moments.awake(at(now)));
        assert_eq!(moments.next(), at(805));
        // A fifth of the run is one stall.
        moments.awake(at(1_005));
        let facts = moments.facts(SystemFacts::default());
        assert_eq!(facts.moments, 202);
        let longest = Stall {
            length: ms(200),
            until: at(1_005),
        };
        assert_eq!(facts.stall, Some(longest));
        let p99 = facts.wake_delay_p99.expect("moments");
        assert!(p99.abs_diff(ms(190)) <= ms(1), "{p99:?}");
    }

    #[test]
    fn who_is_woken_in_time_has_no_delay_and_the_first_of_equal_stalls_is_named() {
        let mut moments = Moments::default();
        for now in [0, 7, 12, 15] {
            moments.awake(at(now));
        }
        let facts = moments.facts(SystemFacts::default());
        assert_eq!(facts.moments, 4);
        let longest = Stall {
            length: ms(2),
            until: at(7),
        };
        assert_eq!(facts.stall, Some(longest));
    }

    #[test]
    fn without_moments_there_is_nothing_to_tell() {
        let facts = Moments::default().facts(SystemFacts::default());
        assert_eq!(facts, MachineFacts::default());
    }
}
