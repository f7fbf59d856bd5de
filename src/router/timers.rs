//! The core's deadlines: at most one a request, found in order of time.
//!
//! A request that ends early leaves its entry behind; entries are checked against the request when
//! they surface, and swept out when they outnumber the living four to one. Memory therefore follows
//! the requests in flight, not the rate times the longest timeout.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::id::RequestId;
use crate::time::Timestamp;

/// A queue of deadlines.
#[derive(Clone, Debug, Default)]
pub struct Timers {
    heap: BinaryHeap<Reverse<(Timestamp, RequestId)>>,
}

impl Timers {
    /// Notes that `request` is due at `at`, in place of any time noted before.
    pub fn set(&mut self, at: Timestamp, request: RequestId) {
        self.heap.push(Reverse((at, request)));
    }

    /// The next deadline, valid once [`tidy`](Self::tidy) has run.
    pub fn next(&self) -> Option<Timestamp> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes out the first entry that is due at `now`.
    pub fn pop_due(&mut self, now: Timestamp) -> Option<(Timestamp, RequestId)> {
        let Reverse((at, _)) = self.heap.peek()?;
        if *at > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// Drops entries that no longer hold, so that the first one does. `living` is the number of
    /// requests under way.
    pub fn tidy(&mut self, living: usize, holds: impl Fn(Timestamp, RequestId) -> bool) {
        if self.heap.len() > 64 + 4 * living {
            self.heap
                .retain(|Reverse((at, request))| holds(*at, *request));
        }
        while let Some(Reverse((at, request))) = self.heap.peek() {
            if holds(*at, *request) {
                break;
            }
            self.heap.pop();
        }
    }

    /// Bytes kept on the heap.
    pub fn bytes(&self) -> usize {
        self.heap.capacity() * size_of::<Reverse<(Timestamp, RequestId)>>()
    }
}
