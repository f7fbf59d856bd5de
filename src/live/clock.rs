//! The only place that reads a clock.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the one clock of the program"
)]

use std::time::Duration;

use tokio::time::Instant;

use crate::time::Timestamp;

/// Time since the start of a live run.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock whose time 0 is now.
    pub fn starting_now() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    /// The time on this clock.
    pub fn now(&self) -> Timestamp {
        Timestamp::from(self.origin.elapsed())
    }

    /// Waits until this time; returns at once when it has passed.
    pub async fn sleep_until(&self, at: Timestamp) {
        match self.origin.checked_add(at.elapsed()) {
            Some(instant) => tokio::time::sleep_until(instant).await,
            // Centuries away.
            None => std::future::pending().await,
        }
    }

    /// Waits for this long.
    pub async fn sleep(&self, length: Duration) {
        tokio::time::sleep(length).await;
    }
}

/// Now in UTC, for the name of a folder: `20261121T101500Z`.
pub fn utc_stamp() -> String {
    let now = jiff::Timestamp::now();
    now.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// A seed that no other run has: for a gateway in service, whose draws nobody repeats.
pub fn fresh_seed() -> u64 {
    let now = jiff::Timestamp::now().as_nanosecond();
    // The low 64 bits of the nanoseconds since 1970 are as fresh as all of them.
    now as u64 ^ u64::from(std::process::id()).rotate_left(32)
}
