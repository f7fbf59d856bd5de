//! The way of events from many tasks to the one that records them, put back in order of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use crate::live::clock::Clock;
use crate::observe::event::{RunEvent, Sink, What};
use crate::time::Timestamp;

/// How long an event waits for earlier ones that are still on their way.
const PATIENCE: Duration = Duration::from_millis(250);

/// Takes events from anywhere.
#[derive(Clone, Debug)]
pub struct Outbox {
    sender: Sender<RunEvent>,
}

impl Outbox {
    /// Sends an event. When nobody records any more, it is gone.
    pub fn send(&self, at: Timestamp, what: What) {
        let _ = self.sender.send(RunEvent { at, what });
    }
}

/// A new way: the outbox and its other end.
pub fn outbox() -> (Outbox, Inbox) {
    let (sender, receiver) = channel();
    let inbox = Inbox {
        receiver,
        waiting: BinaryHeap::new(),
        next_seq: 0,
    };
    (Outbox { sender }, inbox)
}

/// The other end of an outbox.
#[derive(Debug)]
pub struct Inbox {
    receiver: Receiver<RunEvent>,
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
    /// Hands events to `sink` in order of time, until every outbox is gone or `is_over` says so.
    /// What was to happen later than that (a fault's edge, say) is left out.
    pub fn record(mut self, clock: Clock, sink: &mut dyn Sink, is_over: impl Fn() -> bool) {
        loop {
            match self.receiver.recv_timeout(Duration::from_millis(20)) {
                Ok(event) => self.keep(event),
                Err(RecvTimeoutError::Timeout) if !is_over() => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
            self.hand_over(clock.now() - PATIENCE, sink);
        }
        self.hand_over(clock.now(), sink);
        // Ledgers of servers that cannot see a hang-up tell the end of an answer in advance.
        while let Some(Reverse(waiting)) = self.waiting.pop() {
            if matches!(waiting.what, What::UpstreamEnded(_)) {
                hand(waiting, sink);
            }
        }
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

fn hand(waiting: Waiting, sink: &mut dyn Sink) {
    sink.event(&RunEvent {
        at: waiting.at,
        what: waiting.what,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Times(Vec<u64>);

    impl Sink for Times {
        fn event(&mut self, event: &RunEvent) {
            self.0.push(event.at.0);
        }
    }

    #[test]
    fn events_come_out_in_order_and_the_future_stays_away() {
        let (outbox, inbox) = outbox();
        let memory = What::Memory {
            in_flight: 0,
            bytes: 0,
        };
        for at in [5, 1, 3, u64::MAX] {
            outbox.send(Timestamp(at), memory.clone());
        }
        drop(outbox);
        let mut times = Times(Vec::new());
        inbox.record(Clock::starting_now(), &mut times, || false);
        assert_eq!(times.0, [1, 3, 5]);
    }
}
