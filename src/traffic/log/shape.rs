//! What is replayed of a log: a stretch of it, a sample of it, its rows spread within the grain of its clock.

use std::time::Duration;

use crate::id::{RequestKey, Seed, VersionId};
use crate::rng::{Draw, Purpose, draw};
use crate::time::nanos;
use crate::traffic::log::order::InOrder;
use crate::traffic::log::{Offset, Row, Rows};

/// What is replayed of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shape {
    /// From this time of the log on, counted from its first row.
    pub from: Option<Duration>,
    /// Up to, but not including, this time.
    pub to: Option<Duration>,
    /// This share of its conversations (and of the rows that belong to none), 0 to 1.
    pub sample: Option<f64>,
    /// Every row is moved by up to so much, as if the clock had been finer.
    pub spread: Option<Duration>,
    /// Decides who is in the sample, and how far rows move.
    pub seed: Seed,
}

impl Shape {
    /// Is all of it replayed, as it is?
    pub fn is_whole(&self) -> bool {
        let parts = [
            self.from.is_none(),
            self.to.is_none(),
            self.sample.is_none(),
        ];
        parts.into_iter().all(|whole| whole) && self.spread.is_none()
    }

    fn is_before(&self, offset: u64) -> bool {
        self.from.is_some_and(|from| offset < nanos(from))
    }

    fn is_after(&self, offset: u64) -> bool {
        self.to.is_some_and(|to| offset >= nanos(to))
    }

    /// Is this row in the sample? All rows of a conversation are, or none.
    fn is_sampled(&self, number: u64, row: &Row) -> bool {
        let Some(share) = self.sample else {
            return true;
        };
        // Conversations and rows without one are drawn from halves of their own.
        let key = match row.session {
            Some(session) => session | 1 << 63,
            None => number & !(1 << 63),
        };
        self.draw(Purpose::Sample, key).unit() < share
    }

    fn draw(&self, purpose: Purpose, key: u64) -> Draw {
        draw(self.seed, purpose, RequestKey(key), VersionId::default(), 0)
    }

    /// The rows that are replayed of a log that began at `start`, each with its time from the beginning of the replay.
    pub fn apply(&self, start: i64, rows: Rows) -> Box<dyn Iterator<Item = Offset> + Send> {
        let shape = *self;
        let begin = nanos(shape.from.unwrap_or_default());
        let rows = (0_u64..).zip(rows).filter_map(move |(number, row)| {
            let offset = row.at.abs_diff(start);
            let is_in = !shape.is_before(offset)
                && !shape.is_after(offset)
                && shape.is_sampled(number, &row);
            is_in.then(|| (number, offset - begin, row))
        });
        match shape.spread {
            None => Box::new(rows.map(|(_, offset, row)| (offset, row))),
            Some(quantum) => {
                let moved = rows.map(move |(number, offset, row)| {
                    let part = shape.draw(Purpose::Spread, number).unit();
                    let by = nanos(quantum.mul_f64(part));
                    let at = i64::try_from(offset.saturating_add(by)).unwrap_or(i64::MAX);
                    Row { at, ..row }
                });
                Box::new(InOrder::new(moved).map(|row| (row.at.unsigned_abs(), row)))
            }
        }
    }

    /// How many rows are left out: those before the stretch, those after it, and those inside of it that are not in the
    /// sample.
    pub fn left_out(&self, start: i64, rows: Rows) -> (u64, u64, u64) {
        let (mut before, mut after, mut unsampled) = (0, 0, 0);
        for (number, row) in (0_u64..).zip(rows) {
            let offset = row.at.abs_diff(start);
            match () {
                () if self.is_before(offset) => before += 1,
                () if self.is_after(offset) => after += 1,
                () if !self.is_sampled(number, &row) => unsampled += 1,
                () => {}
            }
        }
        (before, after, unsampled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    fn rows(sessions: u64) -> Rows {
        Box::new((0..1_000_i64).map(move |n| Row {
            at: (100 + n) * S,
            input_tokens: n as u32,
            output_tokens: 1,
            session: (sessions > 0).then(|| n as u64 % sessions),
            latency: None,
            delay: None,
        }))
    }

    fn kept(shape: Shape, sessions: u64) -> Vec<Offset> {
        shape.apply(100 * S, rows(sessions)).collect()
    }

    #[test]
    fn a_stretch_begins_at_its_beginning_and_the_rest_is_counted() {
        let shape = Shape {
            from: Some(Duration::from_secs(10)),
            to: Some(Duration::from_secs(13)),
            ..Shape::default()
        };
        let kept = kept(shape, 0);
        let offsets: Vec<u64> = kept.iter().map(|(offset, _)| *offset / S as u64).collect();
        assert_eq!(offsets, [0, 1, 2]);
        assert_eq!(kept[0].1.input_tokens, 10);
        assert_eq!(shape.left_out(100 * S, rows(0)), (10, 987, 0));
    }

    #[test]
    fn a_sample_takes_whole_conversations() {
        let shape = Shape {
            sample: Some(0.3),
            ..Shape::default()
        };
        let kept_rows = kept(shape, 0).len();
        // Five standard deviations of Binomial(1,000, 0.3).
        assert!((228..=372).contains(&kept_rows), "{kept_rows}");
        let of_sessions = kept(shape, 50);
        let mut counts = [0; 50];
        for (_, row) in &of_sessions {
            counts[row.session.unwrap() as usize] += 1;
        }
        assert!(counts.iter().all(|n| [0, 20].contains(n)), "{counts:?}");
        assert_eq!(kept(shape, 50), of_sessions);
        let other = Shape {
            seed: Seed(1),
            ..shape
        };
        assert_ne!(kept(other, 50), of_sessions);
    }

    #[test]
    fn rows_are_spread_within_the_quantum_and_stay_in_order() {
        let quantum = Duration::from_secs(3);
        let shape = Shape {
            spread: Some(quantum),
            ..Shape::default()
        };
        let spread = kept(shape, 0);
        assert_eq!(spread.len(), 1_000);
        assert!(spread.is_sorted_by_key(|(offset, _)| *offset));
        for (offset, row) in spread {
            let was = u64::from(row.input_tokens) * S as u64;
            assert!((was..was + nanos(quantum)).contains(&offset));
        }
    }
}
