//! Puts attempts in order of time that stand a little late: gateways write them when they end.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::audit::tried::Tried;
use crate::traffic::log::order::WINDOW;

/// Attempts on their way to their place. Those of one moment keep their order.
#[derive(Debug, Default)]
pub struct Sorter {
    held: BinaryHeap<Reverse<Held>>,
    number: u64,
    latest: Option<i64>,
    /// Attempts that stood too late to be put in their place.
    pub too_late: u64,
}

#[derive(Debug)]
struct Held {
    number: u64,
    tried: Tried,
}

impl Held {
    fn place(&self) -> (i64, u64) {
        (self.tried.at, self.number)
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.place().cmp(&other.place())
    }
}

impl Sorter {
    /// Takes the next attempt of the file, and gives one back when so many are held that its place is sure.
    pub fn push(&mut self, tried: Tried) -> Option<Tried> {
        let number = self.number;
        self.number += 1;
        self.held.push(Reverse(Held { number, tried }));
        match self.held.len() > WINDOW {
            true => self.pop(),
            false => None,
        }
    }

    /// The earliest of those that are held.
    pub fn pop(&mut self) -> Option<Tried> {
        let Reverse(Held { tried, .. }) = self.held.pop()?;
        let is_late = self.latest.is_some_and(|latest| tried.at < latest);
        self.too_late += u64::from(is_late);
        self.latest = self.latest.max(Some(tried.at));
        Some(tried)
    }
}
