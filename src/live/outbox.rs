//! The way of events from many tasks to the one that records them, put back in order of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::live::clock::Clock;
use crate::observe::event::{RunEvent, Sink, What};
use crate::time::Timestamp;

/// How long an event waits for earlier ones that are still on their way.
const PATIENCE: Duration = Duration::from_millis(250);
/// How often events are fetched. Nobody is woken by one: that would cost a gateway more than its
/// router does.
const ROUND: Duration = Duration::from_millis(20);
/// Longest time for reading what was sent before the end, should events never stop coming.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Takes events from anywhere.
#[derive(Clone, Debug)]
pub struct Outbox {
    tray: Arc<Tray>,
    /// What somebody wants to hear of.
    heard: fn(&What) -> bool,
}

/// Where events lie until they are fetched.
#[derive(Debug, Default)]
struct Tray(Mutex<Pile>);

#[derive(Debug, Default)]
struct Pile {
    events: Vec<RunEvent>,
    is_closed: bool,
}

impl Tray {
    fn lock(&self) -> MutexGuard<'_, Pile> {
        // A pile is whole after every step, also when whoever held it panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outbox {
    /// Sends an event. When nobody records any more, it is gone.
    pub fn send(&self, at: Timestamp, what: What) {
        if !(self.heard)(&what) {
            return;
        }
        let mut pile = self.tray.lock();
        if !pile.is_closed {
            pile.events.push(RunEvent { at, what });
        }
    }

    /// The same outbox for what `heard` says only: for a recorder that would throw the rest away.
    #[must_use]
    pub fn only(self, heard: fn(&What) -> bool) -> Self {
        Self { heard, ..self }
    }
}

/// A new way: the outbox and its other end.
pub fn outbox() -> (Outbox, Inbox) {
    let tray = Arc::<Tray>::default();
    let inbox = Inbox {
        tray: tray.clone(),
        spare: Vec::new(),
        waiting: BinaryHeap::new(),
        next_seq: 0,
    };
    let heard = |_: &What| true;
    (Outbox { tray, heard }, inbox)
}

/// The other end of an outbox.
#[derive(Debug)]
pub struct Inbox {
    tray: Arc<Tray>,
    /// Empty, in exchange for the next pile: so neither side allocates again and again.
    spare: Vec<RunEvent>,
    waiting: BinaryHeap<Reverse<Waiting>>,
    next_seq: u64,
}

#[derive(Debug)]
struct Waiting {
    at: Timestamp,
    seq: u64,
    what: What,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.seq) == (other.at, other.seq)
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.seq).cmp(&(other.at, other.seq))
    }
}

impl Inbox {
    /// Hands events to `sink` as they were sent, until `is_over` says so: for a gateway in service, whose
    /// only sender tells what happened when it happens. Putting them in order costs more than all that
    /// is done with them.
    pub fn pass_on(self, sink: &mut dyn Sink, is_over: impl Fn() -> bool) {
        let mut pile = Vec::new();
        loop {
            // Asked before the events are fetched, so that the last ones are not missed.
            let is_last = is_over() || Arc::strong_count(&self.tray) == 1;
            {
                let mut tray = self.tray.lock();
                std::mem::swap(&mut tray.events, &mut pile);
                tray.is_closed |= is_last;
            }
            pile.drain(..).for_each(|event| sink.event(&event));
            if is_last {
                return;
            }
            std::thread::park_timeout(ROUND);
        }
    }

    /// Hands events to `sink` in order of time, until every outbox is gone or `is_over` says so.
    /// What was to happen later than that (a fault's edge, say) is left out.
    pub fn record(mut self, clock: Clock, sink: &mut dyn Sink, is_over: impl Fn() -> bool) {
        // Asked on every turn: events that never stop coming must not keep the recording alive.
        while !is_over() {
            // Asked before the events are fetched, so that the last ones are not missed.
            let is_last = Arc::strong_count(&self.tray) == 1;
            self.fetch();
            self.hand_over(clock.now() - PATIENCE, sink);
            if is_last {
                break;
            }
            std::thread::park_timeout(ROUND);
        }
        self.take_the_rest(clock);
        let end = clock.now();
        self.hand_over(end, sink);
        // Ledgers of servers that cannot see a hang-up tell the end of an answer in advance. The run
        // ends now, and with it what they have not done yet.
        while let Some(Reverse(mut waiting)) = self.waiting.pop() {
            if matches!(waiting.what, What::UpstreamEnded(_)) {
                waiting.at = end;
                hand(waiting, sink);
            }
        }
    }

    /// Takes what was sent before the end. Whoever still sends is not waited for.
    fn take_the_rest(&mut self, clock: Clock) {
        let give_up = clock.now() + LAST_WORDS;
        while clock.now() < give_up && self.fetch() {}
    }

    /// Takes what lies there. Was there anything?
    fn fetch(&mut self) -> bool {
        let mut events = std::mem::take(&mut self.spare);
        std::mem::swap(&mut events, &mut self.tray.lock().events);
        let any = !events.is_empty();
        events.drain(..).for_each(|event| self.keep(event));
        self.spare = events;
        any
    }

    fn keep(&mut self, event: RunEvent) {
        let seq = self.next_seq;
        self.next_seq += 1;
        self.waiting.push(Reverse(Waiting {
            at: event.at,
            seq,
            what: event.what,
        }));
    }

    fn hand_over(&mut self, until: Timestamp, sink: &mut dyn Sink) {
        while self.waiting.peek().is_some_and(|w| w.0.at <= until) {
            if let Some(Reverse(waiting)) = self.waiting.pop() {
                hand(waiting, sink);
            }
        }
    }
}

/// Nobody fetches any more: nothing is kept from now on.
impl Drop for Inbox {
    fn drop(&mut self) {
        *self.tray.lock() = Pile {
            events: Vec::new(),
            is_closed: true,
        };
    }
}

fn hand(waiting: Waiting, sink: &mut dyn Sink) {
    sink.event(&RunEvent {
        at: waiting.at,
        what: waiting.what,
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::id::VersionId;
    use crate::observe::event::UpstreamEnded;
    use crate::protocol::drift::Drift;
    use crate::protocol::outcome::Outcome;

    #[derive(Default)]
    struct Times(Vec<u64>);

    impl Sink for Times {
        fn event(&mut self, event: &RunEvent) {
            self.0.push(event.at.0);
        }
    }

    fn memory() -> What {
        What::Memory {
            in_flight: 0,
            bytes: 0,
        }
    }

    fn told_in_advance() -> What {
        What::UpstreamEnded(UpstreamEnded {
            row: 0,
            key: None,
            version: VersionId(0),
            ordinal: 0,
            outcome: Outcome::Success,
            usage: None,
            cost: None,
            drift: Drift::NONE,
        })
    }

    #[test]
    fn what_is_passed_on_comes_as_it_was_sent_and_to_the_last() {
        let (outbox, inbox) = outbox();
        for at in [5, 1, 3] {
            outbox.send(Timestamp(at), memory());
        }
        let mut times = Times::default();
        inbox.pass_on(&mut times, || true);
        assert_eq!(times.0, [5, 1, 3]);
        outbox.send(Timestamp(7), memory());
        assert!(
            outbox.tray.lock().events.is_empty(),
            "nobody fetches any more"
        );
    }

    #[test]
    fn events_come_out_in_order_and_the_future_stays_away() {
        let (outbox, inbox) = outbox();
        for at in [5, 1, 3, u64::MAX] {
            outbox.send(Timestamp(at), memory());
        }
        drop(outbox);
        let mut times = Times::default();
        inbox.record(Clock::starting_now(), &mut times, || false);
        assert_eq!(times.0, [1, 3, 5]);
    }

    #[test]
    fn what_nobody_wants_to_hear_is_not_sent() {
        let (outbox, inbox) = outbox();
        let outbox = outbox.only(|what| matches!(what, What::UpstreamEnded(_)));
        outbox.send(Timestamp(1), memory());
        outbox.send(Timestamp(2), told_in_advance());
        drop(outbox);
        let mut times = Times::default();
        inbox.record(Clock::starting_now(), &mut times, || false);
        assert_eq!(times.0, [2]);
    }

    #[test]
    fn nothing_piles_up_when_nobody_records() {
        let (outbox, inbox) = outbox();
        outbox.send(Timestamp(1), memory());
        drop(inbox);
        outbox.send(Timestamp(2), memory());
        assert!(outbox.tray.lock().events.is_empty());
    }

    #[test]
    fn what_is_in_the_channel_at_the_end_is_recorded() {
        let (outbox, inbox) = outbox();
        (1..=1_000).for_each(|at| outbox.send(Timestamp(at), memory()));
        let clock = Clock::starting_now();
        let mut times = Times::default();
        inbox.record(clock, &mut times, || true);
        assert_eq!(times.0.len(), 1_000);
        drop(outbox);
    }

    #[test]
    fn ends_told_in_advance_are_no_later_than_the_end_of_the_run() {
        let (outbox, inbox) = outbox();
        let clock = Clock::starting_now();
        let day = clock.now() + Duration::from_secs(86_400);
        outbox.send(day, told_in_advance());
        outbox.send(day, memory());
        outbox.send(Timestamp(1), memory());
        let mut times = Times::default();
        inbox.record(clock, &mut times, || true);
        assert_eq!(times.0.len(), 2);
        assert!(times.0[1] <= clock.now().0, "{:?}", times.0);
    }

    #[test]
    fn a_stream_of_events_that_never_ends_does_not_keep_the_recording_alive() {
        let (outbox, inbox) = outbox();
        let clock = Clock::starting_now();
        let stop = Arc::new(AtomicBool::new(false));
        let stream = {
            let stop = stop.clone();
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    outbox.send(clock.now(), memory());
                    std::thread::park_timeout(Duration::from_micros(1));
                }
            })
        };
        let mut times = Times::default();
        let asked = std::cell::Cell::new(0);
        inbox.record(clock, &mut times, || asked.replace(asked.get() + 1) == 5);
        stop.store(true, Ordering::Relaxed);
        stream.join().unwrap();
        assert!(times.0.is_sorted());
    }
}
