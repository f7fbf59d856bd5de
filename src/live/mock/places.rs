//! The places of a mock that does only so much at once. Whoever waits for one is a future: dropped, when the
//! other side hangs up, it leaves the line.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::fault::inject::Response;
use crate::live::clock::Clock;
use crate::time::Timestamp;
use crate::upstream::capacity::{Capacity, Entry, Line, Ticket};

/// The places of one upstream.
#[derive(Debug)]
pub struct Places {
    line: Mutex<Line<oneshot::Sender<Timestamp>>>,
    clock: Clock,
}

/// What a request that comes gets.
#[derive(Debug)]
pub enum Place {
    /// It is worked on at once, and leaves its place when this is dropped.
    Has(Held),
    /// It waits.
    Waits(Turn),
    /// It is told something else; the response says so already.
    Refused,
}

/// A place that is taken. Free again when dropped.
#[derive(Debug)]
pub struct Held(Arc<Places>);

/// The wait for a place.
#[derive(Debug)]
pub struct Turn {
    places: Arc<Places>,
    ticket: Ticket,
    call: oneshot::Receiver<Timestamp>,
    is_over: bool,
}

impl Places {
    /// All of them are free.
    pub fn new(capacity: Capacity, clock: Clock) -> Arc<Self> {
        let line = Mutex::new(Line::new(capacity));
        Arc::new(Self { line, clock })
    }

    /// A request comes. Where there is no room for it, it gets another answer.
    pub fn enter(self: &Arc<Self>, response: &mut Response) -> Place {
        let (sender, call) = oneshot::channel();
        let mut line = self.lock();
        match line.enter(sender) {
            Entry::Begins => Place::Has(Held(self.clone())),
            Entry::Waits(ticket) => Place::Waits(Turn {
                places: self.clone(),
                ticket,
                call,
                is_over: false,
            }),
            Entry::Full => {
                response.plan = line.when_full().plan();
                response.fault = None;
                response.is_told = None;
                Place::Refused
            }
        }
    }

    /// How many are worked on, and how many wait.
    pub fn load(&self) -> (u32, usize) {
        self.lock().load()
    }

    /// Gives a place to whoever is next. Under the lock, so that nobody can leave the line meanwhile.
    fn pass_on(&self) {
        let mut line = self.lock();
        while let Some(next) = line.leave() {
            if next.send(self.clock.now()).is_ok() {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Line<oneshot::Sender<Timestamp>>> {
        // A line is whole after every step, also when whoever held it panicked.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.pass_on();
    }
}

impl Turn {
    /// Waits for the place, and says since when it is held.
    pub async fn wait(mut self) -> (Held, Timestamp) {
        let called = (&mut self.call).await;
        self.is_over = true;
        let since = called.unwrap_or_else(|_| self.places.clock.now());
        (Held(self.places.clone()), since)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let was_waiting = self.places.lock().give_up(self.ticket);
        if !was_waiting {
            // Called, and gone before it heard of it.
            self.places.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::capacity::{FullStatus, WhenFull};
    use crate::upstream::plan::{Act, ResponsePlan};

    fn places(concurrent: u32, queue: u32) -> Arc<Places> {
        let when_full = WhenFull {
            status: FullStatus::RateLimited,
            retry_after: None,
        };
        let capacity = Capacity {
            concurrent,
            queue,
            when_full,
        };
        Places::new(capacity, Clock::starting_now())
    }

    fn enter(places: &Arc<Places>) -> Place {
        let mut response = Response {
            plan: ResponsePlan {
                after: std::time::Duration::ZERO,
                act: Act::Complete(crate::protocol::openai::Usage::default()),
            },
            fault: None,
            is_told: None,
        };
        let place = enter_as(places, &mut response);
        let is_refused = matches!(response.plan.act, Act::Refuse(_));
        assert_eq!(matches!(place, Place::Refused), is_refused);
        place
    }

    fn enter_as(places: &Arc<Places>, response: &mut Response) -> Place {
        places.enter(response)
    }

    #[tokio::test]
    async fn whoever_waits_is_called_and_whoever_leaves_is_not_waited_for() {
        let places = places(1, 3);
        let first = enter(&places);
        let Place::Waits(second) = enter(&places) else {
            panic!("no room yet");
        };
        let third = enter(&places);
        let Place::Waits(fourth) = enter(&places) else {
            panic!("no room yet");
        };
        assert!(matches!(enter(&places), Place::Refused));
        drop(third);
        assert_eq!(places.load(), (1, 2));
        // Called, but gone before it hears of it: the next one is called.
        drop(first);
        drop(second);
        let (held, _) = fourth.wait().await;
        assert_eq!(places.load(), (1, 0));
        drop(held);
        assert_eq!(places.load(), (0, 0));
    }
}
