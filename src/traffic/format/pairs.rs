//! Requests and answers that stand apart in a log, put together by their ids in bounded memory.

use std::collections::{BTreeMap, VecDeque};

use crate::traffic::format::{BadRow, DropReason, Each, Record, gor};

/// Most halves that wait for the other one.
const MAX_WAITING: usize = 4_096;

/// Most bytes of text in them, roughly.
const MAX_BYTES: usize = 64 << 20;

/// One half.
#[derive(Debug)]
pub(super) enum Part {
    /// A request, or why it is of no use.
    Request(Result<Box<Record>, DropReason>),
    /// An answer.
    Answer(Answer),
}

/// An answer, or why it is of no use.
#[derive(Debug)]
pub(super) struct Answer {
    /// When its first byte came.
    pub(super) began: i64,
    /// When its last one came.
    pub(super) ended: i64,
    /// What it tells.
    pub(super) record: Result<Box<Record>, DropReason>,
}

/// Halves that wait for the other one, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    waiting: BTreeMap<u64, Waiting>,
    /// Where the half of this id is, by its number.
    ids: BTreeMap<String, u64>,
    order: VecDeque<u64>,
    bytes: usize,
    next: u64,
}

#[derive(Debug)]
struct Waiting {
    line: u64,
    id: String,
    part: Part,
    bytes: usize,
}

impl Pairs {
    /// A half that begins on this line.
    pub(super) fn add(&mut self, line: u64, id: &str, part: Part, each: Each<'_>) {
        let other = self.ids.get(id).copied();
        let other = other.and_then(|at| self.remove(at));
        let (first, second) = match (other, part) {
            (None, part) => return self.wait(line, id, part, each),
            (Some(other), part) => (other, part),
        };
        match (first.part, second) {
            (Part::Request(request), Part::Answer(answer)) => {
                emit(first.line, id, join(request, answer), each);
            }
            (Part::Answer(answer), Part::Request(request)) => {
                emit(line, id, join(request, answer), each);
            }
            // The same id twice: the first one has no other half.
            (part, second) => {
                alone(first.line, id, part, each);
                self.wait(line, id, second, each);
            }
        }
    }

    /// No more come.
    pub(super) fn finish(mut self, each: Each<'_>) {
        while self.give_up(each) {}
    }

    fn wait(&mut self, line: u64, id: &str, part: Part, each: Each<'_>) {
        let bytes = size(&part);
        let id = id.to_owned();
        self.ids.insert(id.clone(), self.next);
        self.order.push_back(self.next);
        self.waiting.insert(
            self.next,
            Waiting {
                line,
                id,
                part,
                bytes,
            },
        );
        self.next += 1;
        self.bytes += bytes;
        while self.waiting.len() > MAX_WAITING || self.bytes > MAX_BYTES {
            self.give_up(each);
        }
        // Numbers of pairs that were found stay behind.
        if self.order.len() > 2 * MAX_WAITING {
            self.order.retain(|at| self.waiting.contains_key(at));
        }
    }

    fn remove(&mut self, at: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&at)?;
        self.ids.remove(&waiting.id);
        self.bytes -= waiting.bytes;
        Some(waiting)
    }

    /// The half that waits longest goes alone. False when none does.
    fn give_up(&mut self, each: Each<'_>) -> bool {
        let Some(at) = self.order.pop_front() else {
            return false;
        };
        if let Some(waiting) = self.remove(at) {
            alone(waiting.line, &waiting.id, waiting.part, each);
        }
        true
    }
}

fn join(request: Result<Box<Record>, DropReason>, answer: Answer) -> Result<Record, DropReason> {
    // What is wrong with the answer to something else does not matter.
    let request = *request?;
    let told = *answer.record?;
    Ok(gor::joined(request, answer.began, answer.ended, told))
}

/// A half without the other one: a request that nobody answered, or an answer to nothing.
fn alone(line: u64, id: &str, part: Part, each: Each<'_>) {
    let record = match part {
        Part::Request(request) => request.map(|record| *record),
        Part::Answer(_) => Err(DropReason::NoRequest),
    };
    emit(line, id, record, each);
}

fn emit(line: u64, id: &str, record: Result<Record, DropReason>, each: Each<'_>) {
    each(record.map_err(|reason| BadRow {
        line,
        column: 1,
        text: id.chars().take(120).collect(),
        reason,
    }));
}

/// How much memory a half takes, roughly: its texts.
fn size(part: &Part) -> usize {
    let record = match part {
        Part::Request(record) => record.as_ref(),
        Part::Answer(answer) => answer.record.as_ref(),
    };
    let Ok(record) = record else {
        return 0;
    };
    let body = record.body.as_ref();
    let body = body.map_or(0, |body| {
        let values = body.values().map(|value| value.to_string().len());
        values.sum()
    });
    body + record.answer.as_ref().map_or(0, String::len)
}
