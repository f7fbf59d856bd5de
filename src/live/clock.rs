//! The only place that reads a clock.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the one clock of the program"
)]

use std::collections::hash_map::RandomState;
use std::future::Future;
use std::hash::BuildHasher;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::live::pacer::{self, NEAR};
use crate::time::Timestamp;

/// Time since the start of a live run.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Its time 0. It may be still to come.
    origin: Instant,
}

impl Clock {
    /// A clock whose time 0 is now.
    pub fn starting_now() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    /// A clock whose time 0 comes after `lead`, so that what starts at 0 has been set up by then.
    pub fn starting_in(lead: Duration) -> Self {
        Self {
            origin: Instant::now() + lead,
        }
    }

    /// The time on this clock; 0 until it starts.
    pub fn now(&self) -> Timestamp {
        Timestamp::from(Instant::now().saturating_duration_since(self.origin))
    }

    /// Waits until this time; returns at once when it has passed.
    pub async fn sleep_until(&self, at: Timestamp) {
        match self.origin.checked_add(at.elapsed()) {
            Some(instant) => tokio::time::sleep_until(instant).await,
            // Centuries away.
            None => std::future::pending().await,
        }
    }

    /// The same, as exact as an [`alarm`](Self::alarm): for waits whose lateness would be taken for latency.
    pub async fn sleep_exactly_until(&self, at: Timestamp) {
        // An alarm does not wait for a time 0 that is still to come.
        self.sleep_until(at - NEAR).await;
        let mut alarm = self.alarm(at);
        std::future::poll_fn(|context| alarm.poll(context)).await;
    }

    /// A wait for this time that can be set again, for whoever is polled. More exact than
    /// [`sleep_until`](Self::sleep_until).
    pub fn alarm(&self, at: Timestamp) -> Alarm {
        let sleep = Box::pin(tokio::time::sleep_until(self.instant(at - NEAR)));
        Alarm {
            clock: *self,
            at,
            sleep,
        }
    }

    /// The moment of this time; a century away when it is beyond all times.
    fn instant(&self, at: Timestamp) -> Instant {
        const CENTURY: Duration = Duration::from_secs(36_525 * 86_400);
        let instant = self.origin.checked_add(at.elapsed());
        instant.unwrap_or(self.origin + CENTURY)
    }

    /// Waits for this long.
    pub async fn sleep(&self, length: Duration) {
        tokio::time::sleep(length).await;
    }
}

/// A wait for a time: by the runtime's timer until it is near, then by the [`pacer`].
#[derive(Debug)]
pub struct Alarm {
    clock: Clock,
    at: Timestamp,
    sleep: Pin<Box<tokio::time::Sleep>>,
}

impl Alarm {
    /// Waits for another time.
    pub fn set(&mut self, at: Timestamp) {
        let near = self.clock.instant(at - NEAR);
        self.sleep.as_mut().reset(near);
        self.at = at;
    }

    /// Ready when the time has come.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let now = self.clock.now();
        if now >= self.at {
            return Poll::Ready(());
        }
        // Whoever polls again may be another task, so the pacer is called again: a call too many does no harm.
        let left = self.at.since(now);
        if left > NEAR && self.sleep.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        if pacer::wake_in(left, context.waker()) {
            return Poll::Pending;
        }
        // The runtime's timer does what it can.
        let at = self.clock.instant(self.at);
        self.sleep.as_mut().reset(at);
        self.sleep.as_mut().poll(context)
    }
}

/// Both clocks of the machine, read at one moment.
#[derive(Clone, Copy, Debug)]
pub struct BothClocks {
    steady: Instant,
    wall: Duration,
}

impl BothClocks {
    /// Reads both.
    pub fn now() -> Self {
        Self {
            steady: Instant::now(),
            wall: unix_now(),
        }
    }

    /// By how much the wall clock went more, or less, than the other one since then, when that is more than a clock that
    /// is being put right goes: a second, or a thousandth of the time. A machine that sleeps stops the other one.
    pub fn jump(&self) -> Option<Duration> {
        jump(self.steady.elapsed(), self.wall, unix_now())
    }
}

/// Slewing changes a clock by at most 500 millionths (RFC 5905, section 11.3).
fn jump(steady: Duration, wall: Duration, wall_now: Duration) -> Option<Duration> {
    // Below zero when it was set back.
    let went = wall_now.as_secs_f64() - wall.as_secs_f64();
    let by = crate::time::seconds((went - steady.as_secs_f64()).abs());
    let limit = Duration::from_secs(1).max(steady / 1_000);
    (by > limit).then_some(by)
}

/// Now in UTC, for the name of a folder: `20261121T101500Z`.
pub fn utc_stamp() -> String {
    let now = jiff::Timestamp::now();
    now.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// The time since 1970, for dates that others write.
pub fn unix_now() -> Duration {
    let now = jiff::Timestamp::now().as_duration();
    Duration::try_from(now).unwrap_or_default()
}

/// A seed that no other run has: for a gateway in service, whose draws nobody repeats.
pub fn fresh_seed() -> u64 {
    let now = jiff::Timestamp::now().as_nanosecond();
    // The low 64 bits of the nanoseconds since 1970 are as fresh as all of them.
    now as u64 ^ u64::from(std::process::id()).rotate_left(32)
}

/// What tells this process from every other one, of this machine and of others: random, drawn once.
pub fn process_mark() -> u64 {
    static MARK: OnceLock<u64> = OnceLock::new();
    // The only randomness of the system that the standard library gives away: the keys of its hashes.
    *MARK.get_or_init(|| RandomState::new().hash_one(fresh_seed()))
}

/// A word that nobody can guess: 128 bits from the system's randomness, by the keys of the standard library's
/// hashes.
pub fn secret_word() -> String {
    let half = |n: u8| RandomState::new().hash_one((n, fresh_seed()));
    format!("{:016x}{:016x}", half(0), half(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_stands_at_zero_until_it_starts() {
        let clock = Clock::starting_in(Duration::from_secs(3_600));
        assert_eq!(clock.now(), Timestamp::ZERO);
    }

    #[test]
    fn a_clock_that_was_set_or_slept_has_jumped_and_one_that_is_slewed_has_not() {
        let s = Duration::from_secs_f64;
        assert_eq!(jump(s(10.0), s(1e9), s(1e9 + 10.9)), None);
        assert_eq!(jump(s(7_200.0), s(1e9), s(1e9 + 7_203.6)), None);
        let slept = jump(s(10.0), s(1e9), s(1e9 + 70.0)).unwrap();
        assert!(slept.abs_diff(s(60.0)) < s(1e-3), "{slept:?}");
        let set_back = jump(s(10.0), s(1e9), s(1e9 - 20.0)).unwrap();
        assert!(set_back.abs_diff(s(30.0)) < s(1e-3), "{set_back:?}");
        assert_eq!(BothClocks::now().jump(), None);
    }

    #[tokio::test]
    async fn its_zero_is_waited_for() {
        let before = Instant::now();
        let lead = Duration::from_millis(20);
        let clock = Clock::starting_in(lead);
        clock.sleep_until(Timestamp::ZERO).await;
        assert!(before.elapsed() >= lead);
        assert!(clock.now() < Timestamp::from(before.elapsed()));
    }

    /// The middle of nine waits, in how late they are.
    async fn lateness(clock: Clock) -> Duration {
        let mut late = [Duration::ZERO; 9];
        for late in &mut late {
            let at = clock.now() + Duration::from_micros(2_300);
            clock.sleep_exactly_until(at).await;
            *late = clock.now().since(at);
            assert!(clock.now() >= at);
        }
        late.sort_unstable();
        late[4]
    }

    /// The runtime's timer is late by a millisecond on average. A busy machine is no reason to fail: of many rounds one
    /// is undisturbed.
    #[tokio::test]
    async fn exact_waits_are_late_by_less_than_the_runtimes_own() {
        let clock = Clock::starting_now();
        let mut best = Duration::MAX;
        for _ in 0..200 {
            best = best.min(lateness(clock).await);
            if best < Duration::from_micros(400) {
                return;
            }
        }
        panic!("{best:?} at best");
    }

    #[tokio::test]
    async fn exact_waits_wait_for_a_zero_that_is_to_come() {
        let before = Instant::now();
        let lead = Duration::from_millis(20);
        let clock = Clock::starting_in(lead);
        clock.sleep_exactly_until(Timestamp::ZERO).await;
        assert!(before.elapsed() >= lead);
    }

    #[tokio::test]
    async fn an_alarm_rings_when_its_time_has_come_and_can_be_set_again() {
        let clock = Clock::starting_now();
        let mut alarm = clock.alarm(Timestamp::ZERO);
        for micros in [100, 900, 3_100, 9_700] {
            let at = clock.now() + Duration::from_micros(micros);
            alarm.set(at);
            std::future::poll_fn(|context| alarm.poll(context)).await;
            assert!(clock.now() >= at, "{micros}");
        }
    }
}
