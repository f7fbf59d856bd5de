//! Plays the live scenarios, several at a time: each mostly waits.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use graygate::observe::meta::Engine;
use graygate::runner::RunOptions;
use graygate::verdict::result::{Status, Verdict};

use super::serving::with_mutant;
use crate::support::{run, shipped};

/// The live scenarios, of five seconds at most each.
pub(crate) const LIVE: [&str; 12] = [
    "live/canary-at-zero",
    "live/every-failure-falls-back",
    "live/harmless-canary-is-kept",
    "live/hopeless-requests",
    "live/limited-canary-is-not-flooded",
    "live/refused-key-is-rolled-back",
    "live/retry-storm",
    "live/slow-canary-is-rolled-back",
    "live/split-and-rules",
    "live/sticky-callers-leave-a-closed-canary",
    "live/streams-break",
    "live/waits-are-waited",
];

/// How often a run is tried that the machine made invalid.
const TRIES: usize = 5;

/// The verdict on a gateway in a live scenario, and how many runs before it were invalid.
pub(crate) fn played(id: &str, name: &str) -> (Verdict, usize) {
    let scenario = with_mutant(&shipped(name), id);
    let play = || {
        run(&scenario, &RunOptions::new(Engine::Live))
            .report
            .verdict
    };
    let mut verdict = play();
    for invalid in 0..TRIES {
        if verdict.status != Status::Invalid {
            return (verdict, invalid);
        }
        verdict = play();
    }
    (verdict, TRIES)
}

/// Does something with each of these, so many at a time, and says what came out in their order.
pub(crate) fn several_at_once<T: Sync, R: Send>(
    items: &[T],
    at_once: usize,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(n) else {
                        return;
                    };
                    let result = work(item);
                    done.lock().expect("no panic").push((n, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no panic");
    done.sort_by_key(|(n, _)| *n);
    done.into_iter().map(|(_, result)| result).collect()
}
