//! Watches whether the machine keeps up with a live run, beside everything that the run does.
//!
//! A task of its own waits for a moment every few milliseconds, on the runtime that gateway, mocks and client share. When it comes
//! late, so did they: a timer that should have been stopped by an answer fired, and a latency is the machine's.

mod system;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinHandle;

use crate::live::clock::Clock;
use crate::observe::machine::{MachineFacts, Moments};

use system::Counters;

/// Watches from time 0 of a clock on.
#[derive(Debug)]
pub(super) struct Watchdog {
    clock: Clock,
    moments: Arc<Mutex<Moments>>,
    before: Counters,
    task: JoinHandle<()>,
}

impl Watchdog {
    /// Begins to watch. Within a runtime only.
    pub(super) fn start(clock: Clock) -> Self {
        let moments = Arc::<Mutex<Moments>>::default();
        Self {
            clock,
            task: tokio::spawn(watch(clock, moments.clone())),
            moments,
            before: Counters::now(),
        }
    }

    /// What it saw until now. A stall that is not over yet counts, too.
    pub(super) fn finish(self) -> MachineFacts {
        self.task.abort();
        let mut moments = lock(&self.moments);
        moments.awake(self.clock.now());
        moments.facts(Counters::now().since(&self.before))
    }
}

async fn watch(clock: Clock, moments: Arc<Mutex<Moments>>) {
    loop {
        let next = lock(&moments).next();
        clock.sleep_until(next).await;
        lock(&moments).awake(clock.now());
    }
}

fn lock(moments: &Mutex<Moments>) -> MutexGuard<'_, Moments> {
    moments.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The only thread of the runtime is kept busy, as it would be if it did not get a processor.
    #[tokio::test]
    async fn it_sees_that_nobody_was_woken() {
        let busy = Duration::from_millis(120);
        let clock = Clock::starting_now();
        let watchdog = Watchdog::start(clock);
        clock.sleep(Duration::from_millis(30)).await;
        let begin = clock.now();
        while clock.now().since(begin) < busy {}
        clock.sleep(Duration::from_millis(30)).await;
        let facts = watchdog.finish();
        let stall = facts.stall.expect("moments");
        assert!(
            stall.length >= busy - Duration::from_millis(10),
            "{facts:?}"
        );
        assert!(stall.until >= begin + busy, "{facts:?}");
        assert!(facts.wake_delay_p99 >= Some(busy / 2), "{facts:?}");
    }

    #[tokio::test]
    async fn a_stall_that_is_not_over_at_the_end_counts() {
        let clock = Clock::starting_now();
        let watchdog = Watchdog::start(clock);
        tokio::task::yield_now().await;
        while clock.now().elapsed() < Duration::from_millis(60) {}
        let stall = watchdog.finish().stall.expect("moments");
        assert!(stall.length >= Duration::from_millis(50), "{stall:?}");
    }
}
