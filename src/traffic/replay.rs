//! Recorded traffic, sent again: at its own pace, faster, or as fast as it is answered.
//!
//! A turn of a conversation is never sent before the answer to the turn before it. Where the log tells how long
//! that answer took, or how long its reader thought, the same time passes again.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::id::{IdMap, RequestKey};
use crate::time::{Timestamp, nanos};
use crate::traffic::body::Prompt;
use crate::traffic::log::book::Book;
use crate::traffic::log::{Offset, RecordedLog, Row, scaled};
use crate::traffic::source::{Next, Planned, Source};

/// Requests under way at `--speed max`.
pub const MAX_SPEED_CONCURRENCY: u32 = 64;

/// Turns that may wait for answers at once: until some are there, nothing more of the log is read.
const MOST_WAITING: usize = 100_000;

/// How fast a log is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// This many times as fast as it was recorded (> 0).
    Times(f64),
    /// The next request as soon as one of 64 is answered; the recorded times are ignored.
    Max,
}

impl Speed {
    fn moment(self, offset: u64) -> Timestamp {
        match self {
            Self::Times(factor) => scaled(offset, factor),
            Self::Max => Timestamp::ZERO,
        }
    }

    /// When a turn is due whose answer before it came at this time.
    fn after(self, at: Timestamp, before: &Turn, turn: &Turn) -> Timestamp {
        let pause = self.moment(nanos(pause(before, turn))).elapsed();
        turn.due.max(at + pause)
    }
}

/// How many requests of a log are scheduled before `duration`; all of them when answers set the pace.
pub fn planned(log: &RecordedLog, speed: Speed, duration: Option<Duration>) -> u64 {
    match (speed, duration) {
        (Speed::Times(factor), Some(duration)) => log.scheduled_before(factor, duration),
        _ => log.len(),
    }
}

/// A row with its number in the log, and when it is due by the log alone.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Turn {
    due: Timestamp,
    number: u64,
    offset: u64,
    row: Row,
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Turn {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

/// A conversation: its last turn, and those that wait for the answer to it.
#[derive(Debug)]
struct Talk {
    before: Turn,
    /// When that was answered; none while it is under way, or about to be.
    answered: Option<Timestamp>,
    waiting: VecDeque<Turn>,
}

/// A source that sends a recorded log again.
pub struct Replay {
    rows: Box<dyn Iterator<Item = Offset> + Send>,
    /// The number of the row that is read next.
    number: u64,
    /// When the row before it was due: none is due before that.
    latest: Timestamp,
    /// What the log has next, if it was looked at already.
    peeked: Option<Turn>,
    /// Turns whose answer came, by when they are due.
    ready: BinaryHeap<Reverse<Turn>>,
    talks: BTreeMap<u64, Talk>,
    /// Conversations in the order in which they fell silent; they may have gone on since.
    silent: VecDeque<u64>,
    /// Turns that wait for an answer.
    waiting: usize,
    /// The conversations of the requests under way.
    sessions: IdMap<RequestKey, u64>,
    speed: Speed,
    end: Timestamp,
    free: u32,
    now: Timestamp,
    /// How its requests had been answered, for upstreams that answer like that.
    book: Option<Arc<Book>>,
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Replay {
    /// The requests of `log` at `speed`; those that are due by it at or after `duration` are left out.
    pub fn new(log: &RecordedLog, speed: Speed, duration: Option<Duration>) -> Self {
        Self {
            rows: log.offsets(),
            number: 0,
            latest: Timestamp::ZERO,
            peeked: None,
            ready: BinaryHeap::new(),
            talks: BTreeMap::new(),
            silent: VecDeque::new(),
            waiting: 0,
            sessions: IdMap::default(),
            speed,
            end: duration.map_or(Timestamp::MAX, Timestamp::from),
            free: MAX_SPEED_CONCURRENCY,
            now: Timestamp::ZERO,
            book: None,
        }
    }

    /// The same, which keeps a book of how its requests had been answered.
    #[must_use]
    pub fn with_book(self) -> Self {
        let book = Some(Arc::default());
        Self { book, ..self }
    }

    /// Looks at the next row that need not wait. Turns of conversations that are under way are put aside.
    fn look(&mut self) {
        while self.peeked.is_none() && self.waiting + self.ready.len() < MOST_WAITING {
            let Some((offset, row)) = self.rows.next() else {
                return;
            };
            let turn = Turn {
                due: self.speed.moment(offset).max(self.latest),
                number: self.number,
                offset,
                row,
            };
            if self.speed != Speed::Max && turn.due >= self.end {
                // Those that come after it are due even later.
                self.rows = Box::new(std::iter::empty());
                return;
            }
            self.number += 1;
            self.latest = turn.due;
            self.place(turn);
        }
    }

    /// Puts a turn where it belongs: behind the answer that it waits for, or at the time at which it is due.
    fn place(&mut self, turn: Turn) {
        let session = turn.row.session;
        let Some(talk) = session.and_then(|session| self.talks.get_mut(&session)) else {
            self.peeked = Some(turn);
            return;
        };
        let Some(at) = talk.answered.filter(|_| talk.waiting.is_empty()) else {
            talk.waiting.push_back(turn);
            self.waiting += 1;
            return;
        };
        talk.answered = None;
        let due = self.speed.after(at, &talk.before, &turn);
        self.ready.push(Reverse(Turn { due, ..turn }));
    }

    /// A turn of a conversation is under way.
    fn speak(&mut self, session: u64, turn: Turn) {
        match self.talks.get_mut(&session) {
            Some(talk) => (talk.before, talk.answered) = (turn, None),
            None => {
                let talk = Talk {
                    before: turn,
                    answered: None,
                    waiting: VecDeque::new(),
                };
                self.talks.insert(session, talk);
            }
        }
    }

    /// A conversation has no turn under way. It is remembered for its next one, unless too many others are.
    fn fall_silent(&mut self, session: u64, at: Timestamp) {
        if let Some(talk) = self.talks.get_mut(&session) {
            talk.answered = Some(at);
        }
        self.silent.push_back(session);
        while self.silent.len() > MOST_WAITING {
            let Some(oldest) = self.silent.pop_front() else {
                return;
            };
            let is_silent = |talk: &Talk| talk.answered.is_some() && talk.waiting.is_empty();
            if self.talks.get(&oldest).is_some_and(is_silent) {
                self.talks.remove(&oldest);
            }
        }
    }

    /// The next turn that can be sent: of those whose answer came, or of the log.
    fn next_turn(&mut self) -> Option<Turn> {
        self.look();
        let ready = self.ready.peek().map(|Reverse(turn)| turn);
        ready.into_iter().chain(&self.peeked).min().cloned()
    }
}

/// The time to think before a turn: as the log says, or what is left between the end of the answer before and its
/// arrival.
fn pause(before: &Turn, turn: &Turn) -> Duration {
    let gap = Duration::from_nanos(turn.offset.saturating_sub(before.offset));
    let thought = before
        .row
        .latency
        .map(|latency| gap.saturating_sub(latency));
    turn.row.delay.or(thought).unwrap_or_default()
}

impl Source for Replay {
    fn peek(&mut self) -> Next {
        let Some(turn) = self.next_turn() else {
            return match self.waiting > 0 {
                true => Next::AfterAnswer,
                false => Next::Done,
            };
        };
        let at = match self.speed {
            Speed::Times(_) => turn.due,
            Speed::Max if self.free == 0 => return Next::AfterAnswer,
            Speed::Max => self.now,
        };
        Next::Request(Planned {
            key: RequestKey(turn.number),
            at,
            caller: 0,
            prompt: Prompt::MadeUp {
                input_tokens: turn.row.input_tokens,
                output_tokens: turn.row.output_tokens,
            },
            stream: turn.row.is_stream(),
            forced: None,
            hangs_up: None,
        })
    }

    fn take(&mut self) {
        let Some(turn) = self.next_turn() else {
            return;
        };
        match self.peeked.as_ref() == Some(&turn) {
            true => self.peeked = None,
            false => {
                self.ready.pop();
            }
        }
        let key = RequestKey(turn.number);
        if let (Some(book), Some(told)) = (&self.book, &turn.row.told) {
            book.enter(key, told);
        }
        if let Some(session) = turn.row.session {
            self.sessions.insert(key, session);
            self.speak(session, turn);
        }
        self.free = self
            .free
            .saturating_sub(u32::from(self.speed == Speed::Max));
    }

    fn answered(&mut self, key: RequestKey, at: Timestamp) -> bool {
        self.free += u32::from(self.speed == Speed::Max);
        self.now = at;
        if let Some(book) = &self.book {
            book.answered(key);
        }
        let Some(session) = self.sessions.remove(key) else {
            return self.speed == Speed::Max;
        };
        let Some(talk) = self.talks.get_mut(&session) else {
            return self.speed == Speed::Max;
        };
        match talk.waiting.pop_front() {
            None => self.fall_silent(session, at),
            Some(turn) => {
                self.waiting -= 1;
                let due = self.speed.after(at, &talk.before, &turn);
                self.ready.push(Reverse(Turn { due, ..turn }));
            }
        }
        true
    }

    fn book(&self) -> Option<Arc<Book>> {
        self.book.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::log::account::LogAccount;
    use crate::traffic::log::shape::Shape;
    use crate::traffic::log::survey::Survey;
    use crate::traffic::log::{Kept, Row, RowSource};

    const S: i64 = 1_000_000_000;

    fn log(times: &[i64]) -> RecordedLog {
        let rows = times.iter().zip(0..).map(|(at, n)| Row {
            at: at * S,
            input_tokens: n,
            output_tokens: 1,
            ..Row::default()
        });
        let start = times.iter().min().copied().unwrap_or_default() * S;
        whole(Kept::new(rows.collect()), start)
    }

    fn whole(kept: Kept, start: i64) -> RecordedLog {
        let mut survey = Survey::default();
        kept.rows()
            .for_each(|row| survey.take(row.at.abs_diff(start)));
        let (shape, account) = (Shape::default(), LogAccount::default());
        RecordedLog::new(Arc::new(kept), start, shape, account, survey)
    }

    fn seconds(source: &mut Replay) -> Vec<f64> {
        std::iter::from_fn(|| match source.next() {
            Next::Request(planned) => Some(planned.at.as_secs_f64()),
            Next::AfterAnswer | Next::Done => None,
        })
        .collect()
    }

    #[test]
    fn rows_are_sent_in_order_of_time_and_those_of_one_moment_as_they_stand() {
        let log = log(&[100, 102, 101, 101, 107]);
        let order: Vec<u32> = log.offsets().map(|(_, row)| row.input_tokens).collect();
        assert_eq!(order, [0, 2, 3, 1, 4]);
        assert_eq!((log.len(), log.recorded.ties), (5, 1));
        assert_eq!(log.span(), Duration::from_secs(7));
    }

    #[test]
    fn speed_shrinks_the_gaps() {
        let log = log(&[100, 101, 110]);
        let at = |speed| seconds(&mut Replay::new(&log, speed, None));
        assert_eq!(at(Speed::Times(1.0)), [0.0, 1.0, 10.0]);
        assert_eq!(at(Speed::Times(10.0)), [0.0, 0.1, 1.0]);
        let ten = Some(Duration::from_secs(10));
        let mut cut = Replay::new(&log, Speed::Times(1.0), ten);
        assert_eq!(seconds(&mut cut), [0.0, 1.0]);
    }

    #[test]
    fn at_full_speed_answers_set_the_pace() {
        let times: Vec<i64> = (0..100).collect();
        let mut source = Replay::new(&log(&times), Speed::Max, None);
        assert_eq!(seconds(&mut source).len(), 64);
        assert_eq!(source.next(), Next::AfterAnswer);
        source.answered(RequestKey(0), Timestamp(5));
        assert!(matches!(source.next(), Next::Request(p) if p.at == Timestamp(5)));
    }

    #[test]
    fn what_comes_after_the_duration_is_counted_as_left_out() {
        let log = log(&[0, 2, 4, 6]);
        let before =
            |speed, seconds: Option<u64>| planned(&log, speed, seconds.map(Duration::from_secs));
        assert_eq!(before(Speed::Times(1.0), Some(4)), 2);
        assert_eq!(before(Speed::Times(2.0), Some(3)), 3);
        assert_eq!(before(Speed::Times(1.0), None), 4);
        assert_eq!(before(Speed::Max, Some(1)), 4);
    }

    /// Two conversations, of three turns and one; the log knows how long its answers took.
    fn talks(latency: Option<u64>) -> RecordedLog {
        let rows = [(0, 1), (1, 2), (5, 1), (9, 1)];
        let rows = rows.into_iter().zip(0..).map(|((at, session), n)| Row {
            at: at * S,
            input_tokens: n,
            output_tokens: 1,
            session: Some(session),
            latency: latency.map(Duration::from_secs),
            ..Row::default()
        });
        whole(Kept::new(rows.collect()), 0)
    }

    fn due(source: &mut Replay) -> Option<(u64, f64)> {
        match source.next() {
            Next::Request(planned) => Some((planned.key.0, planned.at.as_secs_f64())),
            Next::AfterAnswer | Next::Done => None,
        }
    }

    #[test]
    fn a_turn_waits_for_its_answer_and_thinks_as_long_as_it_did() {
        let second = |n: f64| Timestamp::from_secs_f64(n);
        let mut source = Replay::new(&talks(Some(2)), Speed::Times(1.0), None);
        assert_eq!(
            [due(&mut source), due(&mut source)],
            [Some((0, 0.0)), Some((1, 1.0))]
        );
        assert_eq!(source.next(), Next::AfterAnswer);
        // It came after 2 s, and the next turn 3 s later; now it takes 4 s.
        assert!(source.answered(RequestKey(0), second(4.0)));
        assert_eq!(due(&mut source), Some((2, 7.0)));
        assert_eq!(source.next(), Next::AfterAnswer);
        source.answered(RequestKey(1), second(7.5));
        assert_eq!(source.next(), Next::AfterAnswer);
        // Sooner than it was: its own time holds.
        source.answered(RequestKey(2), second(6.0));
        assert_eq!(due(&mut source), Some((3, 9.0)));
        source.answered(RequestKey(3), second(9.0));
        assert_eq!(source.next(), Next::Done);
        assert!(source.waiting == 0 && source.sessions.is_empty());
    }

    #[test]
    fn pauses_shrink_with_the_speed_and_are_nothing_where_nobody_knows_them() {
        let second = |n: f64| Timestamp::from_secs_f64(n);
        let mut fast = Replay::new(&talks(Some(2)), Speed::Times(10.0), None);
        let _ = [due(&mut fast), due(&mut fast)];
        fast.answered(RequestKey(0), second(4.0));
        assert_eq!(due(&mut fast), Some((2, 4.3)));
        let mut unknown = Replay::new(&talks(None), Speed::Times(1.0), None);
        let _ = [due(&mut unknown), due(&mut unknown)];
        unknown.answered(RequestKey(0), second(6.0));
        assert_eq!(due(&mut unknown), Some((2, 6.0)));
        let mut max = Replay::new(&talks(Some(2)), Speed::Max, None);
        assert_eq!(
            [due(&mut max), due(&mut max)],
            [Some((0, 0.0)), Some((1, 0.0))]
        );
        assert_eq!(max.next(), Next::AfterAnswer);
        max.answered(RequestKey(0), second(1.0));
        assert_eq!(due(&mut max), Some((2, 1.0)));
    }

    #[test]
    fn turns_that_are_due_in_time_are_sent_however_late_their_answers_are() {
        let six = Some(Duration::from_secs(6));
        let log = talks(Some(2));
        let mut source = Replay::new(&log, Speed::Times(1.0), six);
        let _ = [due(&mut source), due(&mut source)];
        source.answered(RequestKey(0), Timestamp::from_secs_f64(60.0));
        assert_eq!(due(&mut source), Some((2, 63.0)));
        source.answered(RequestKey(2), Timestamp::from_secs_f64(64.0));
        assert_eq!(source.next(), Next::Done);
        assert_eq!(planned(&log, Speed::Times(1.0), six), 3);
    }
}
