//! A recorded log as it is replayed: rows in order of time, read anew from the beginning for every run, so that memory
//! does not grow with the log.
//!
//! [`account`] counts what became of its lines, [`order`] sorts rows that stand a little late, [`mod@survey`] says how its
//! arrivals are spaced, [`requests`] puts the attempts of one request together, [`shape`] cuts, samples and spreads them,
//! [`scale`] copies and thins them, [`book`] keeps how they had been answered while they are under way.

pub mod account;
pub mod attempts;
pub mod book;
pub mod fingerprint;
pub mod order;
pub mod requests;
pub mod scale;
pub mod shape;
pub mod survey;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use smallvec::{SmallVec, smallvec};

use crate::id::Seed;
use crate::protocol::recorded::Answer;
use crate::time::{Timestamp, nanos};
use crate::traffic::body::{count_tokens, prompt_tokens};
use crate::traffic::format::Record;

use account::LogAccount;
use fingerprint::fingerprint;
use requests::Attempt;
use shape::Shape;
use survey::Survey;

/// What is needed of a recorded request to send it again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// When it arrived, in nanoseconds of the log's own clock.
    pub at: i64,
    /// Tokens of the prompt.
    pub input_tokens: u32,
    /// Tokens of the answer.
    pub output_tokens: u32,
    /// Its conversation, by a fingerprint of the name; none when it has none.
    pub session: Option<u64>,
    /// From its arrival to the end of its answer, where the log says so.
    pub latency: Option<Duration>,
    /// So long after the answer to the turn before it, where the log says so.
    pub delay: Option<Duration>,
    /// What else the log tells of it; none where that is nothing.
    pub told: Option<Arc<Told>>,
}

/// What a log tells of a request beyond what it takes to send it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Did it ask for a stream?
    pub is_stream: bool,
    /// The trace that it is a part of.
    pub trace: Option<Trace>,
    /// How each of its attempts was answered.
    pub answers: SmallVec<[Answer; 1]>,
}

/// What groups the attempts of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// A fingerprint of its name.
    pub name: u64,
    /// A fingerprint of the messages.
    pub contents: Option<u64>,
    /// Tokens of the prompt, as the log states them.
    pub input_tokens: Option<u32>,
}

impl Told {
    /// What is told of a record; none where that is nothing.
    fn of(record: &Record) -> Option<Arc<Self>> {
        let answer = Answer::from(record);
        let is_stream = record.is_stream == Some(true);
        let is_nothing = record.trace.is_none() && !is_stream && !answer.is_told();
        if is_nothing && record.end.is_none() {
            return None;
        }
        let attempt = record.trace.as_ref().map(|_| Attempt::of(record, ()));
        let trace = attempt.and_then(|attempt| {
            Some(Trace {
                name: attempt.trace?,
                contents: attempt.contents,
                input_tokens: attempt.input_tokens,
            })
        });
        Some(Arc::new(Self {
            is_stream,
            trace,
            answers: smallvec![answer],
        }))
    }
}

impl From<&Record> for Answer {
    fn from(record: &Record) -> Self {
        Self {
            latency: record.latency,
            first_token: record.first_token,
            end: record.end,
            output_tokens: record.output_tokens,
        }
    }
}

/// Tokens of an answer of which the log says nothing.
const UNKNOWN_OUTPUT: u32 = 128;

impl Row {
    /// The row of a record that follows one of this time. Tokens that it does not state are counted in its texts; a turn
    /// without a time stands where the row before it stood, and waits for its answer.
    pub fn after(record: &Record, last: Option<i64>) -> Self {
        let in_prompt = || record.body.as_ref().map(|body| prompt_tokens(body));
        let in_answer = || record.answer.as_deref().map(count_tokens);
        let output = record.output_tokens.or_else(in_answer);
        Self {
            at: record.at.or(last).unwrap_or_default(),
            input_tokens: record.input_tokens.or_else(in_prompt).unwrap_or(1),
            output_tokens: output.unwrap_or(UNKNOWN_OUTPUT),
            session: record.session.as_deref().map(fingerprint),
            latency: record.latency,
            delay: record.delay,
            told: Told::of(record),
        }
    }

    /// Did it ask for a stream? Not, where nobody knows.
    pub fn is_stream(&self) -> bool {
        self.told.as_ref().is_some_and(|told| told.is_stream)
    }
}

/// Rows of a log, one after the other.
pub type Rows = Box<dyn Iterator<Item = Row> + Send>;

/// Where the rows of a log come from.
pub trait RowSource: fmt::Debug + Send + Sync {
    /// All of them in order of time, from the beginning. Rows of one moment keep the order of the file.
    fn rows(&self) -> Rows;

    /// Are they others than when they were looked through?
    fn has_changed(&self) -> bool {
        false
    }
}

/// Rows that are kept in memory.
#[derive(Debug)]
pub struct Kept(Arc<Vec<Row>>);

impl Kept {
    /// These rows, put in order of time.
    pub fn new(mut rows: Vec<Row>) -> Self {
        rows.sort_by_key(|row| row.at);
        Self(Arc::new(rows))
    }
}

impl RowSource for Kept {
    fn rows(&self) -> Rows {
        let rows = self.0.clone();
        Box::new((0..rows.len()).map(move |i| rows[i].clone()))
    }
}

/// A log that was looked through.
#[derive(Clone, Debug)]
pub struct RecordedLog {
    source: Arc<dyn RowSource>,
    /// The moment of its first row.
    start: i64,
    /// What is replayed of it.
    pub shape: Shape,
    /// What became of its lines.
    pub account: LogAccount,
    /// How its arrivals are spaced as it was recorded.
    pub recorded: Survey,
    /// And as it is replayed, at its own pace.
    pub replayed: Survey,
    /// Do its rows come in order of time? Not if they are spread so far, or copied so often, that too many would have to be
    /// held.
    pub is_ordered: bool,
    /// Does any of the requests that are replayed ask for a stream?
    pub has_streams: bool,
    /// From the beginning of a round to that of the next, in nanoseconds.
    period: u64,
}

/// A request of a log as it is replayed: when, counted from the beginning, and its row.
pub type Offset = (u64, Row);

impl RecordedLog {
    /// A log that begins with its first row at `start`. What `shape` leaves out is counted, which takes another look through it.
    pub fn new(
        source: Arc<dyn RowSource>,
        start: i64,
        shape: Shape,
        account: LogAccount,
        recorded: Survey,
    ) -> Self {
        let mut log = Self {
            source,
            start,
            shape,
            account,
            replayed: recorded.clone(),
            recorded,
            is_ordered: true,
            has_streams: false,
            period: 0,
        };
        log.has_streams = log.account.streams > 0;
        if !log.is_as_recorded() {
            log.look_through();
        }
        log
    }

    /// Is every row sent, once, as it is?
    pub fn is_as_recorded(&self) -> bool {
        self.shape.is_whole() && self.account.attempts.merged == 0
    }

    fn look_through(&mut self) {
        let changes = self.shape.changes(self.start, &self.source);
        let reasons = [
            ("before_from", changes.before),
            ("after_to", changes.after),
            ("not_sampled", changes.unsampled),
            ("thinned", changes.thinned),
        ];
        self.account.left_out = reasons.into_iter().filter(|(_, n)| *n > 0).collect();
        let rounds = u64::from(self.shape.rounds.unwrap_or(1));
        if rounds > 1 {
            let round = self.shape.of_one_round();
            self.period = survey(round.apply(self.start, &self.source, 0)).0.period();
        }
        let (replayed, is_ordered, has_streams) = survey(self.offsets());
        self.account.copies = changes.copies;
        self.account.repeated = replayed.rows - replayed.rows / rounds;
        (self.replayed, self.is_ordered, self.has_streams) = (replayed, is_ordered, has_streams);
    }

    /// Are its rows others than when it was looked through?
    pub fn has_changed(&self) -> bool {
        self.source.has_changed()
    }

    /// How many requests are replayed of it.
    pub fn len(&self) -> u64 {
        self.replayed.rows
    }

    /// True when there is nothing to replay.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// From the first request to the last, at its own pace.
    pub fn span(&self) -> Duration {
        self.replayed.span()
    }

    /// The requests as they are replayed, from the beginning.
    pub fn offsets(&self) -> Box<dyn Iterator<Item = Offset> + Send> {
        self.shape.apply(self.start, &self.source, self.period)
    }

    /// How many requests are scheduled before `duration` at this many times its own pace.
    pub fn scheduled_before(&self, factor: f64, duration: Duration) -> u64 {
        let end = Timestamp::from(duration);
        let early = self.offsets();
        let early = early.take_while(|(offset, _)| scaled(*offset, factor) < end);
        early.count() as u64
    }

    /// The same log, whose draws are those of this seed.
    #[must_use]
    pub fn with_seed(mut self, seed: Seed) -> Self {
        let is_drawn = self.shape.is_drawn() && self.shape.seed != seed;
        self.shape.seed = seed;
        if is_drawn {
            self.look_through();
        }
        self
    }
}

/// How rows are spaced, whether they are in order, and whether any of them asks for a stream.
fn survey(rows: impl Iterator<Item = Offset>) -> (Survey, bool, bool) {
    let mut survey = Survey::default();
    let (mut latest, mut is_ordered, mut has_streams) = (0, true, false);
    for (offset, row) in rows {
        is_ordered &= offset >= latest;
        has_streams |= row.is_stream();
        latest = offset;
        survey.take(offset);
    }
    (survey, is_ordered, has_streams)
}

/// When a row is sent, to the microsecond unless it is sent as it was.
pub fn scaled(offset: u64, factor: f64) -> Timestamp {
    if factor == 1.0 {
        return Timestamp(offset);
    }
    let scaled = Duration::from_nanos(offset).as_secs_f64() / factor;
    let micros = (scaled * 1e6).round() as u64;
    Timestamp(nanos(Duration::from_micros(micros)))
}
