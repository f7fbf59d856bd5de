//! The judge's own sense of time: regular looks, leaps of the clock, and silence.

use std::time::Duration;

use super::metric::Arm;
use crate::time::Timestamp;

/// When things were last seen.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    pause: Duration,
    stale_after: Duration,
    now: Timestamp,
    last_tick: Timestamp,
    next_tick: Timestamp,
    /// After a leap or a long silence, nothing is fresh before this.
    fresh_from: Timestamp,
    /// When each version last got a unit, or the step began.
    last_unit: [Timestamp; 2],
}

impl Watch {
    pub(super) fn new(now: Timestamp, pause: Duration, stale_after: Duration) -> Self {
        Self {
            pause,
            stale_after,
            now,
            last_tick: now,
            next_tick: now + pause,
            fresh_from: now,
            last_unit: [now; 2],
        }
    }

    /// A moment that is not before the last one.
    pub(super) fn clamp(&self, now: Timestamp) -> Timestamp {
        now.max(self.now)
    }

    /// Goes on to `now`, clamped. Says how far the clock has leapt, when nobody called for so long
    /// that regular looks were missed.
    pub(super) fn advance(&mut self, now: Timestamp) -> (Timestamp, Option<Duration>) {
        let now = self.clamp(now);
        let gap = now.since(self.now);
        self.now = now;
        if gap <= self.stale_after {
            return (now, None);
        }
        self.fresh_from = now + self.pause;
        (now, Some(gap))
    }

    pub(super) fn next_tick(&self) -> Timestamp {
        self.next_tick
    }

    /// A regular look was made.
    pub(super) fn tick(&mut self, now: Timestamp) {
        if now.since(self.last_tick) > self.stale_after {
            self.fresh_from = self.fresh_from.max(now + self.pause);
        }
        self.last_tick = now;
        self.next_tick = now + self.pause;
    }

    /// Were regular looks missed, now or a moment ago?
    pub(super) fn is_stale(&self, now: Timestamp) -> bool {
        now < self.fresh_from || now.since(self.last_tick) > self.stale_after
    }

    pub(super) fn saw(&mut self, now: Timestamp, arm: Arm) {
        self.last_unit[arm.index()] = now;
    }

    /// Another step begins: silence is counted from here.
    pub(super) fn restart_data(&mut self, now: Timestamp) {
        self.last_unit = [now; 2];
    }

    pub(super) fn lacks_data(&self, now: Timestamp, arm: Arm) -> bool {
        now.since(self.last_unit[arm.index()]) > self.stale_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from(Duration::from_secs(seconds))
    }

    fn watch() -> Watch {
        let minute = Duration::from_secs(60);
        Watch::new(at(0), minute, 2 * minute)
    }

    #[test]
    fn two_ticks_may_be_missed() {
        let mut watch = watch();
        assert!(!watch.is_stale(at(120)));
        assert!(watch.is_stale(at(121)));
        watch.tick(at(121));
        assert!(watch.is_stale(at(150)), "what was missed is not fresh yet");
        watch.tick(at(181));
        assert!(!watch.is_stale(at(181)));
    }

    #[test]
    fn a_leap_is_noticed_and_a_step_back_is_none() {
        let mut watch = watch();
        assert_eq!(watch.advance(at(50)), (at(50), None));
        assert_eq!(watch.advance(at(10)), (at(50), None));
        let (now, leap) = watch.advance(at(3_650));
        assert_eq!((now, leap), (at(3_650), Some(Duration::from_secs(3_600))));
        watch.tick(now);
        assert!(watch.is_stale(now));
    }
}
