//! Puts rows in order of time that stand a little late, holding only so many of them at once.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::traffic::log::Row;

/// How many rows are held: a row that stands later than that is not put in its place.
pub const WINDOW: usize = 1 << 16;

/// Rows in order of time. Rows of one moment keep their order.
pub struct InOrder<I> {
    rows: I,
    held: BinaryHeap<Reverse<Waiting>>,
    number: u64,
    window: usize,
}

/// A row by its time, then by its place in the file.
struct Waiting {
    at: i64,
    number: u64,
    row: Row,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
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
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl<I: Iterator<Item = Row>> InOrder<I> {
    /// These rows in order of time.
    pub fn new(rows: I) -> Self {
        Self::holding(rows, WINDOW)
    }

    fn holding(rows: I, window: usize) -> Self {
        Self {
            rows,
            held: BinaryHeap::new(),
            number: 0,
            window,
        }
    }
}

impl<I: Iterator<Item = Row>> Iterator for InOrder<I> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        while self.held.len() < self.window
            && let Some(row) = self.rows.next()
        {
            let (at, number) = (row.at, self.number);
            self.number += 1;
            self.held.push(Reverse(Waiting { at, number, row }));
        }
        self.held.pop().map(|Reverse(waiting)| waiting.row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(at: i64, input_tokens: u32) -> Row {
        Row {
            at,
            input_tokens,
            output_tokens: 1,
            ..Row::default()
        }
    }

    #[test]
    fn rows_find_their_place_within_the_window_and_ties_keep_theirs() {
        let rows = [(5, 0), (3, 1), (5, 2), (4, 3), (9, 4)].map(|(at, n)| row(at, n));
        let sorted = |window| {
            let rows = InOrder::holding(rows.clone().into_iter(), window);
            rows.map(|row| row.input_tokens).collect::<Vec<_>>()
        };
        assert_eq!(sorted(4), [1, 3, 0, 2, 4]);
        assert_eq!(sorted(1), [0, 1, 2, 3, 4], "too late to be put right");
    }
}
