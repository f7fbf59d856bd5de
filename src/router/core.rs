//! The contract between a router core and the drivers that run it.

use crate::router::io::{Action, Event, Input};
use crate::time::Timestamp;

/// A router core: a state machine without clock, socket, file or thread.
///
/// # How to drive one
///
/// 1. Give it what happened: [`handle`](Self::handle) with an [`Input`], or
///    [`handle_timeout`](Self::handle_timeout) once the time of
///    [`poll_timeout`](Self::poll_timeout) has come.
/// 2. Then drain [`poll_action`](Self::poll_action) and carry each action out in order, and drain
///    [`poll_event`](Self::poll_event).
/// 3. Ask [`poll_timeout`](Self::poll_timeout) again: any call may have moved it.
///
/// # Rules for the driver
///
/// * `now` never goes back from one call to the next. A live driver reads the clock under the lock
///   that guards the core, and clamps it.
/// * When an input and a timeout are due at the same time, the input comes first. (A late driver
///   does no harm: before an input at `now`, the core itself handles what was due before `now`.)
/// * The driver never waits on its own account: backoff, `Retry-After` and deadlines are state of
///   the core and show in `poll_timeout`.
/// * No byte of an answer reaches a caller before [`Action::Forward`], which answers
///   [`Input::FirstContent`].
/// * A request id is used for one arrival only.
///
/// # Promises of the core
///
/// * `handle` and `handle_timeout` never fail: failures are outcomes.
/// * Every arrival ends in exactly one [`Event::RequestEnded`].
/// * Inputs about attempts that are over, or requests that ended, change nothing.
/// * The same inputs at the same times, given to a core of the same configuration and seed, give
///   the same actions and events.
pub trait Core: Send {
    /// Something happened.
    fn handle(&mut self, now: Timestamp, input: Input);

    /// Time passed: everything due at `now` happens.
    fn handle_timeout(&mut self, now: Timestamp);

    /// The next thing to do, oldest first.
    fn poll_action(&mut self) -> Option<Action>;

    /// The next thing to know, oldest first.
    fn poll_event(&mut self) -> Option<Event>;

    /// When `handle_timeout` must be called, if nothing else happens before.
    fn poll_timeout(&self) -> Option<Timestamp>;

    /// What the core holds in memory right now.
    fn footprint(&self) -> Footprint;
}

/// What a core holds in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Requests under way.
    pub in_flight: usize,
    /// Bytes on the heap for everything the core keeps, requests under way included.
    pub bytes: usize,
}
