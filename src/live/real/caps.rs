//! Caps on a real upstream: so many requests at once, so many a second. Whoever comes too soon waits, first come,
//! first served.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::live::clock::Clock;
use crate::time::{Timestamp, seconds};
use crate::upstream::real::RealUpstream;

/// The caps of one upstream.
#[derive(Debug)]
pub struct Caps {
    places: Arc<Semaphore>,
    pace: Option<Mutex<Pace>>,
    clock: Clock,
}

/// A place at the upstream, until it is dropped.
#[derive(Debug)]
pub struct Place(#[allow(dead_code, reason = "held, not read")] Option<OwnedSemaphorePermit>);

/// Evenly spaced moments.
#[derive(Debug)]
struct Pace {
    gap: Duration,
    /// No request goes out before this.
    next: Timestamp,
}

impl Pace {
    fn slot(&mut self, now: Timestamp) -> Timestamp {
        let slot = now.max(self.next);
        self.next = slot + self.gap;
        slot
    }
}

impl Caps {
    /// Caps that nobody has used.
    pub fn new(terms: &RealUpstream, clock: Clock) -> Self {
        let places = usize::try_from(terms.concurrency).unwrap_or(usize::MAX);
        let pace = |rate: f64| Pace {
            gap: seconds(1.0 / rate),
            next: Timestamp::ZERO,
        };
        Self {
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            pace: terms.rate.map(pace).map(Mutex::new),
            clock,
        }
    }

    /// Waits for a place and for the moment at which it may be taken.
    pub async fn enter(&self) -> Place {
        // Nobody ever closes the semaphore.
        let place = Place(self.places.clone().acquire_owned().await.ok());
        let slot = self.pace.as_ref().map(|pace| {
            let mut pace = pace.lock().unwrap_or_else(PoisonError::into_inner);
            pace.slot(self.clock.now())
        });
        if let Some(slot) = slot {
            self.clock.sleep_until(slot).await;
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_rate_there_is_does_no_harm() {
        let terms = RealUpstream {
            concurrency: 1,
            rate: Some(1e-300),
            max_tokens: 1,
            limit_field: "max_tokens",
        };
        assert!(Caps::new(&terms, Clock::starting_now()).pace.is_some());
    }

    #[test]
    fn nothing_goes_out_before_its_turn_and_idle_time_is_not_saved_up() {
        let mut pace = Pace {
            gap: Duration::from_nanos(10),
            next: Timestamp::ZERO,
        };
        let slots = [5, 6, 7, 100, 101].map(|now| pace.slot(Timestamp(now)).0);
        assert_eq!(slots, [5, 15, 25, 100, 110]);
    }
}
