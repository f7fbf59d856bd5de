//! More of a log than it holds, or less: every conversation several times, or only some of them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::id::{RequestKey, Seed, VersionId};
use crate::rng::{Draw, Purpose, draw};
use crate::time::nanos;
use crate::traffic::log::shape::{Piece, SPACING, conversation};

/// Copies that wait for their time. Past that, the next one comes too early, and the order is lost.
const MOST_HELD: usize = 1 << 18;

/// How many times as many requests are sent, and by which draws.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// So many times.
    pub factor: f64,
    /// Decides who is sent once more, and when.
    pub seed: Seed,
}

impl Scale {
    /// How often the conversation of a row is sent: as often as the factor says, on average.
    pub fn times(&self, piece: &Piece) -> u32 {
        let whole = libm::floor(self.factor);
        let more = self.draw(piece, 0).unit() < self.factor - whole;
        whole as u32 + u32::from(more)
    }

    /// The copy with this number, from 1: another conversation, which begins a little later.
    fn copy(&self, piece: &Piece, number: u32) -> Piece {
        let late = SPACING.mul_f64(self.draw(piece, number).unit());
        let mut copy = piece.clone();
        copy.copy = number;
        copy.offset = piece.offset.saturating_add(nanos(late));
        copy.row.session = piece.row.session.map(|session| other(session, number, 0));
        copy
    }

    fn draw(&self, piece: &Piece, number: u32) -> Draw {
        let key = RequestKey(conversation(piece.number, &piece.row));
        draw(self.seed, Purpose::Copy, key, VersionId::default(), number)
    }
}

/// The name of another conversation like this one.
pub fn other(session: u64, copy: u32, round: u32) -> u64 {
    let key = RequestKey(u64::from(copy));
    draw(
        Seed(session),
        Purpose::Copy,
        key,
        VersionId::default(),
        round,
    )
    .0
}

/// Rows in order of time with their copies.
pub struct Scaled<I: Iterator<Item = Piece>> {
    rows: std::iter::Peekable<I>,
    scale: Scale,
    held: BinaryHeap<Reverse<Piece>>,
}

impl<I: Iterator<Item = Piece>> Scaled<I> {
    /// These rows, so many times.
    pub fn new(rows: I, scale: Scale) -> Self {
        Self {
            rows: rows.peekable(),
            scale,
            held: BinaryHeap::new(),
        }
    }

    /// Is a copy next?
    fn is_copy_next(&mut self) -> bool {
        let Some(Reverse(copy)) = self.held.peek() else {
            return false;
        };
        let row = self.rows.peek();
        row.is_none_or(|row| copy.offset < row.offset) || self.held.len() > MOST_HELD
    }
}

impl<I: Iterator<Item = Piece>> Iterator for Scaled<I> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        loop {
            if self.is_copy_next() {
                return self.held.pop().map(|Reverse(copy)| copy);
            }
            let row = self.rows.next()?;
            let times = self.scale.times(&row);
            let copies = (1..times).map(|number| Reverse(self.scale.copy(&row, number)));
            self.held.extend(copies);
            if times > 0 {
                return Some(row);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::log::Row;

    const S: u64 = 1_000_000_000;

    fn scaled(factor: f64, sessions: u64, n: u64) -> Vec<Piece> {
        let rows = (0..n).map(move |number| Piece {
            offset: number * S,
            number,
            row: Row {
                session: (sessions > 0).then(|| number % sessions),
                ..Row::default()
            },
            ..Piece::default()
        });
        let seed = Seed(3);
        Scaled::new(rows, Scale { factor, seed }).collect()
    }

    #[test]
    fn so_many_times_as_many_are_sent_in_order() {
        for factor in [0.3, 1.0, 1.5, 3.0] {
            let all = scaled(factor, 0, 4_000);
            // Five standard deviations of Binomial(4,000, 0.5) at the most.
            let off = all.len() as f64 - 4_000.0 * factor;
            assert!(off.abs() < 160.0, "{factor}: {}", all.len());
            assert!(all.is_sorted_by_key(|piece| piece.offset), "{factor}");
        }
        assert_eq!(scaled(2.0, 0, 1_000).len(), 2_000);
        assert_eq!(scaled(1.0, 7, 50), scaled(1.0, 7, 50));
    }

    #[test]
    fn a_copy_is_another_conversation_that_keeps_its_pace() {
        let all = scaled(2.0, 10, 100);
        let mut talks = std::collections::BTreeMap::<u64, Vec<u64>>::new();
        for piece in &all {
            let session = piece.row.session.unwrap();
            talks.entry(session).or_default().push(piece.offset);
        }
        assert_eq!(talks.len(), 20);
        let late: Vec<u64> = talks.values().map(|times| times[0] % S).collect();
        assert!(
            late.iter().filter(|late| **late > 0).count() >= 9,
            "{late:?}"
        );
        let keeps_pace = |times: &Vec<u64>| times.windows(2).all(|two| two[1] - two[0] == 10 * S);
        assert!(talks.values().all(keeps_pace));
        let longest = nanos(SPACING);
        assert!(all.iter().all(|p| p.offset - p.number * S < longest));
    }

    #[test]
    fn thinning_takes_whole_conversations() {
        let all = scaled(0.5, 40, 400);
        let mut counts = [0; 40];
        all.iter()
            .for_each(|p| counts[p.row.session.unwrap() as usize] += 1);
        assert!(counts.iter().all(|n| [0, 10].contains(n)), "{counts:?}");
        assert!((5..=35).contains(&counts.iter().filter(|n| **n > 0).count()));
    }
}
