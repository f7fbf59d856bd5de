//! Wakes tasks to some 0.1 ms. The runtime's own timer counts in whole milliseconds and is up to two of them late,
//! which is much between the tokens of a stream. One thread for the whole process keeps the moments that are near.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::thread::{Builder, Thread};
use std::time::Duration;

use crate::live::clock::Clock;
use crate::time::Timestamp;

/// Only moments that are nearer than this are kept here, so that what nobody waits for any more is soon gone.
pub const NEAR: Duration = Duration::from_millis(4);

static PACER: OnceLock<Pacer> = OnceLock::new();
/// The thread, once it is there; none when the system gave none.
static THREAD: OnceLock<Option<Thread>> = OnceLock::new();

struct Pacer {
    clock: Clock,
    calls: Mutex<Calls>,
}

#[derive(Default)]
struct Calls {
    heap: BinaryHeap<Reverse<(Timestamp, u64)>>,
    /// Those to be woken, by the number of their call.
    wakers: BTreeMap<u64, Waker>,
    next: u64,
}

/// Wakes a task after so long. False when nobody can: then the runtime's timer must do.
pub fn wake_in(length: Duration, waker: &Waker) -> bool {
    let pacer = PACER.get_or_init(|| Pacer {
        clock: Clock::starting_now(),
        calls: Mutex::default(),
    });
    let thread = THREAD.get_or_init(|| {
        let thread = Builder::new()
            .name("pacer".to_owned())
            .spawn(|| pacer.run());
        thread.ok().map(|handle| handle.thread().clone())
    });
    let Some(thread) = thread else {
        return false;
    };
    if pacer.put(pacer.clock.now() + length, waker) {
        thread.unpark();
    }
    true
}

impl Pacer {
    /// Notes a call. Is it the first that is due?
    fn put(&self, at: Timestamp, waker: &Waker) -> bool {
        let mut calls = self.lock();
        let is_first = calls
            .heap
            .peek()
            .is_none_or(|Reverse((first, _))| at < *first);
        let number = calls.next;
        calls.next += 1;
        calls.wakers.insert(number, waker.clone());
        calls.heap.push(Reverse((at, number)));
        is_first
    }

    fn run(&self) {
        let mut due = Vec::new();
        loop {
            let next = self.take_due(&mut due);
            // Outside of the lock: whoever wakes may call at once.
            due.drain(..).for_each(Waker::wake);
            match next {
                Some(at) => std::thread::park_timeout(at.since(self.clock.now())),
                None => std::thread::park(),
            }
        }
    }

    /// Takes those whose time has come; says when the next one's does.
    fn take_due(&self, due: &mut Vec<Waker>) -> Option<Timestamp> {
        let mut calls = self.lock();
        let now = self.clock.now();
        while let Some(&Reverse((at, number))) = calls.heap.peek() {
            if at > now {
                return Some(at);
            }
            calls.heap.pop();
            due.extend(calls.wakers.remove(&number));
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
