//! Caps on a real upstream: so many requests at once, so many a second. Whoever comes too soon waits, first come,
//! first served.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

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
    /// Takes the slot that is free now; else says when the next one is. Whoever leaves while waiting takes none.
    fn take(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        if now < self.next {
            return Err(self.next);
        }
        self.next = now + self.gap;
        Ok(())
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
        if let Some(pace) = &self.pace {
            // Held while it waits, so that the others stay behind it; whoever leaves lets go of it.
            let mut pace = pace.lock().await;
            while let Err(next) = pace.take(self.clock.now()) {
                self.clock.sleep_until(next).await;
            }
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
        let taken = [5, 6, 14, 15, 16, 100, 101, 110].map(|now| pace.take(Timestamp(now)));
        let (ok, next) = (Ok(()), |at| Err(Timestamp(at)));
        let expected = [ok, next(15), next(15), ok, next(25), ok, next(110), ok];
        assert_eq!(taken, expected);
    }
}
