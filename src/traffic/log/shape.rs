//! What is replayed of a log: a stretch of it, a sample of it, more or less of it, several times, its rows spread within
//! the grain of its clock. In this order.

use std::sync::Arc;
use std::time::Duration;

use crate::id::{RequestKey, Seed, VersionId};
use crate::rng::{Draw, Purpose, draw};
use crate::time::nanos;
use crate::traffic::log::order::InOrder;
use crate::traffic::log::scale::{Scale, Scaled, other};
use crate::traffic::log::{Offset, Row, RowSource};

/// Copies of a conversation begin up to so much later than it, in the log's own time: at once they would be pairs that never
/// were.
pub const SPACING: Duration = Duration::from_secs(10);
/// Most times that a log is scaled up.
pub const MOST_SCALE: f64 = 1_000.0;
/// Most rounds.
pub const MOST_ROUNDS: u32 = 10_000;

/// What is replayed of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shape {
    /// From this time of the log on, counted from its first row.
    pub from: Option<Duration>,
    /// Up to, but not including, this time.
    pub to: Option<Duration>,
    /// This share of its conversations (and of the rows that belong to none), 0 to 1.
    pub sample: Option<f64>,
    /// So many times its requests, above 0 and at most [`MOST_SCALE`].
    pub scale: Option<f64>,
    /// So many times the whole, one after the other; at most [`MOST_ROUNDS`].
    pub rounds: Option<u32>,
    /// Every row is moved by up to so much, as if the clock had been finer.
    pub spread: Option<Duration>,
    /// Decides who is in the sample, and how far rows move.
    pub seed: Seed,
}

/// A row on its way through a shape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// When, counted from the beginning of the replay.
    pub offset: u64,
    /// Its number in the log.
    pub number: u64,
    /// Which copy of it this is; 0 is the row itself.
    pub copy: u32,
    /// Which round.
    pub round: u32,
    /// The row.
    pub row: Row,
}

impl PartialOrd for Piece {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Piece {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let place = |piece: &Self| (piece.offset, piece.number, piece.copy);
        place(self).cmp(&place(other))
    }
}

/// What a shape makes of a log, in rows: what it leaves out, and what it adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Before the stretch.
    pub before: u64,
    /// After it.
    pub after: u64,
    /// Inside of it, and not in the sample.
    pub unsampled: u64,
    /// In the sample, and scaled away.
    pub thinned: u64,
    /// Copies, in one round.
    pub copies: u64,
}

/// The place of a row's conversation among all; conversations and rows without one are drawn from halves of their own.
pub fn conversation(number: u64, row: &Row) -> u64 {
    match row.session {
        Some(session) => session | 1 << 63,
        None => number & !(1 << 63),
    }
}

impl Shape {
    /// Is all of it replayed, once, as it is?
    pub fn is_whole(&self) -> bool {
        let seed = self.seed;
        let whole = Self {
            seed,
            ..Self::default()
        };
        *self == whole
    }

    /// Does any of it hang on the seed?
    pub fn is_drawn(&self) -> bool {
        self.sample.is_some() || self.scale.is_some() || self.spread.is_some()
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
        let key = conversation(number, row);
        self.draw(Purpose::Sample, key, 0).unit() < share
    }

    fn scale(&self) -> Option<Scale> {
        let seed = self.seed;
        self.scale.map(|factor| Scale { factor, seed })
    }

    fn draw(&self, purpose: Purpose, key: u64, nth: u32) -> Draw {
        let key = RequestKey(key);
        draw(self.seed, purpose, key, VersionId::default(), nth)
    }

    /// The rows that are replayed of a log that began at `start`, each with its time from the beginning of the replay. Each
    /// round begins so many nanoseconds after the one before it.
    pub fn apply(
        &self,
        start: i64,
        source: &Arc<dyn RowSource>,
        period: u64,
    ) -> Box<dyn Iterator<Item = Offset> + Send> {
        let shape = *self;
        let source = source.clone();
        let rounds = 0..self.rounds.unwrap_or(1);
        let pieces = rounds.flat_map(move |round| shape.round(start, &source, round, period));
        match shape.spread {
            None => Box::new(pieces.map(|piece| (piece.offset, piece.row))),
            Some(quantum) => {
                let moved = pieces.map(move |piece| shape.moved(piece, quantum));
                Box::new(InOrder::new(moved).map(|row| (row.at.unsigned_abs(), row)))
            }
        }
    }

    /// One round.
    fn round(
        self,
        start: i64,
        source: &Arc<dyn RowSource>,
        round: u32,
        period: u64,
    ) -> Box<dyn Iterator<Item = Piece> + Send> {
        let late = period.saturating_mul(u64::from(round));
        let pieces = self.pieces(start, source);
        let scaled: Box<dyn Iterator<Item = Piece> + Send> = match self.scale() {
            None => Box::new(pieces),
            Some(scale) => Box::new(Scaled::new(pieces, scale)),
        };
        if round == 0 {
            return scaled;
        }
        Box::new(scaled.map(move |mut piece| {
            piece.round = round;
            piece.offset = piece.offset.saturating_add(late);
            let session = piece.row.session;
            piece.row.session = session.map(|session| other(session, 0, round));
            piece
        }))
    }

    /// The rows of the stretch and the sample.
    fn pieces(
        self,
        start: i64,
        source: &Arc<dyn RowSource>,
    ) -> impl Iterator<Item = Piece> + Send + use<> {
        let begin = nanos(self.from.unwrap_or_default());
        (0_u64..)
            .zip(source.rows())
            .filter_map(move |(number, row)| {
                let offset = row.at.abs_diff(start);
                let is_in = !self.is_before(offset)
                    && !self.is_after(offset)
                    && self.is_sampled(number, &row);
                is_in.then(|| Piece {
                    offset: offset - begin,
                    number,
                    copy: 0,
                    round: 0,
                    row,
                })
            })
    }

    fn moved(&self, piece: Piece, quantum: Duration) -> Row {
        let nth = piece.round * MOST_SCALE as u32 + piece.copy;
        let part = self.draw(Purpose::Spread, piece.number, nth).unit();
        let by = nanos(quantum.mul_f64(part));
        let at = i64::try_from(piece.offset.saturating_add(by)).unwrap_or(i64::MAX);
        Row { at, ..piece.row }
    }

    /// The same, once and not yet spread: what the rounds are made of.
    #[must_use]
    pub fn of_one_round(self) -> Self {
        Self {
            rounds: None,
            spread: None,
            ..self
        }
    }

    /// What is left out, and what is added in one round.
    pub fn changes(&self, start: i64, source: &Arc<dyn RowSource>) -> Changes {
        let mut changes = Changes::default();
        for (number, row) in (0_u64..).zip(source.rows()) {
            let offset = row.at.abs_diff(start);
            match () {
                () if self.is_before(offset) => changes.before += 1,
                () if self.is_after(offset) => changes.after += 1,
                () if !self.is_sampled(number, &row) => changes.unsampled += 1,
                () => {
                    let row = Piece {
                        number,
                        row,
                        ..Piece::default()
                    };
                    match self.scale().map_or(1, |scale| scale.times(&row)) {
                        0 => changes.thinned += 1,
                        times => changes.copies += u64::from(times) - 1,
                    }
                }
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::log::Kept;

    const S: i64 = 1_000_000_000;

    fn rows(sessions: u64) -> Arc<dyn RowSource> {
        let rows = (0..1_000_i64).map(move |n| Row {
            at: (100 + n) * S,
            input_tokens: n as u32,
            output_tokens: 1,
            session: (sessions > 0).then(|| n as u64 % sessions),
            ..Row::default()
        });
        Arc::new(Kept::new(rows.collect()))
    }

    fn kept(shape: Shape, sessions: u64) -> Vec<Offset> {
        shape
            .apply(100 * S, &rows(sessions), 1_000 * S as u64)
            .collect()
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
        let changes = Changes {
            before: 10,
            after: 987,
            ..Changes::default()
        };
        assert_eq!(shape.changes(100 * S, &rows(0)), changes);
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

    #[test]
    fn rounds_come_one_after_the_other_and_are_other_conversations() {
        let shape = Shape {
            rounds: Some(3),
            sample: Some(0.5),
            ..Shape::default()
        };
        let all = kept(shape, 50);
        let one = kept(shape.of_one_round(), 50);
        assert_eq!(all.len(), 3 * one.len());
        assert!(all.is_sorted_by_key(|(offset, _)| *offset));
        for (index, (offset, row)) in all.iter().enumerate() {
            let (round, place) = (index / one.len(), index % one.len());
            let (was, original) = &one[place];
            assert_eq!(*offset, was + round as u64 * 1_000 * S as u64);
            assert_eq!(row.session == original.session, round == 0);
        }
        let sessions = |rows: &[Offset]| {
            let all = rows.iter().filter_map(|(_, row)| row.session);
            all.collect::<std::collections::BTreeSet<_>>().len()
        };
        assert_eq!(sessions(&all), 3 * sessions(&one));
    }

    #[test]
    fn what_is_scaled_is_counted() {
        for (scale, thinned, copies) in [(0.5, 500, 0), (3.0, 0, 2_000), (1.5, 0, 500)] {
            let shape = Shape {
                scale: Some(scale),
                ..Shape::default()
            };
            let changes = shape.changes(100 * S, &rows(0));
            let rows = kept(shape, 0).len() as u64;
            assert_eq!(rows, 1_000 - changes.thinned + changes.copies);
            // Five standard deviations of Binomial(1,000, 0.5).
            assert!(changes.thinned.abs_diff(thinned) < 80, "{changes:?}");
            assert!(changes.copies.abs_diff(copies) < 80, "{changes:?}");
        }
    }
}
