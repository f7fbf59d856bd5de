//! The purse of a run, shared by the proxies of all real upstreams. What may be spent is set aside before a request
//! is sent; when that cannot be had, nothing is sent any more, and the run ends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::live::clock::Clock;
use crate::live::outbox::Outbox;
use crate::observe::event::What;
use crate::upstream::real::{Budget, Purse, Spending};

/// A purse that many take from.
#[derive(Clone, Debug)]
pub struct SharedPurse(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    purse: Mutex<Purse>,
    is_shut: watch::Sender<bool>,
    clock: Clock,
    outbox: Outbox,
}

impl SharedPurse {
    /// A purse nothing was taken from. How it stands is told to `outbox`.
    pub fn new(budget: Budget, clock: Clock, outbox: Outbox) -> Self {
        Self(Arc::new(Inner {
            purse: Mutex::new(Purse::new(budget)),
            is_shut: watch::Sender::new(false),
            clock,
            outbox,
        }))
    }

    /// Sets aside what a request may spend at most; none when the budget could be passed by it.
    pub fn reserve(&self, most: Spending) -> Option<Reserved> {
        if self.lock().reserve(most) {
            let purse = self.clone();
            return Some(Reserved {
                purse,
                most,
                used: most,
            });
        }
        if !self.0.is_shut.send_replace(true) {
            self.tell();
        }
        None
    }

    /// Waits until it is shut.
    pub async fn shut(&self) {
        let mut is_shut = self.0.is_shut.subscribe();
        // It lives as long as this does, so it is never closed.
        let _ = is_shut.wait_for(|is_shut| *is_shut).await;
    }

    /// Tells how it stands.
    pub fn tell(&self) {
        let state = self.lock().state();
        self.0.outbox.send(self.0.clock.now(), What::Purse(state));
    }

    fn lock(&self) -> MutexGuard<'_, Purse> {
        // It is whole after every step.
        let purse = &self.0.purse;
        purse.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was set aside for one request. It is booked when this is dropped: in full, unless it is known what was
/// used.
#[derive(Debug)]
pub struct Reserved {
    purse: SharedPurse,
    most: Spending,
    used: Spending,
}

impl Reserved {
    /// The request used so much.
    pub fn used(mut self, used: Spending) {
        self.used = used;
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.purse.lock().settle(self.most, self.used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::outbox::outbox;

    fn tokens(tokens: u64) -> Spending {
        Spending {
            tokens,
            ..Spending::default()
        }
    }

    #[tokio::test]
    async fn who_says_nothing_has_used_it_all_and_an_empty_purse_is_shut() {
        let budget = Budget {
            tokens: Some(10),
            money: None,
        };
        let purse = SharedPurse::new(budget, Clock::starting_now(), outbox().0);
        drop(purse.reserve(tokens(6)).unwrap());
        purse.reserve(tokens(4)).unwrap().used(tokens(1));
        assert_eq!(purse.lock().state().spent, tokens(7));
        assert!(purse.reserve(tokens(4)).is_none());
        purse.shut().await;
        assert!(purse.reserve(tokens(1)).is_none());
        assert_eq!(purse.lock().state().refused, Some(tokens(4)));
    }
}
