//! The ledger of a stand-alone mock as it can be asked for: a line a request, the newest so many of them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::id::RequestKey;
use crate::protocol::openai::Usage;
use crate::protocol::outcome::Outcome;
use crate::time::Timestamp;

/// One request. What is not known yet is absent.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Counted from 0, over all models.
    pub row: u64,
    /// The model that took it.
    pub model: Arc<str>,
    /// Its key, if it brought one.
    pub key: Option<RequestKey>,
    /// Which try of the key it is.
    pub r#try: u32,
    /// Does it get a stream?
    pub stream: bool,
    /// The fault that hit it.
    pub fault: Option<&'static str>,
    /// When it was taken, in seconds since the mock began.
    pub at_s: f64,
    /// When the upstream began on it: later than it was taken, if it had to wait for a place.
    pub began_s: Option<f64>,
    /// When it was over.
    pub ended_s: Option<f64>,
    /// How it ended.
    pub outcome: Option<&'static str>,
    /// Tokens that were read for it.
    pub prompt_tokens: Option<u32>,
    /// Tokens that were written for it.
    pub completion_tokens: Option<u32>,
}

/// The newest lines.
#[derive(Debug)]
pub struct Book {
    /// How many there are at most.
    most: usize,
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    lines: VecDeque<Line>,
    /// Lines that are not there any more: the number of the first one that is.
    forgotten: u64,
}

impl Pages {
    fn line(&mut self, row: u64) -> Option<&mut Line> {
        let index = row.checked_sub(self.forgotten)?;
        self.lines.get_mut(usize::try_from(index).ok()?)
    }
}

/// What a book says when it is asked.
#[derive(Debug)]
pub struct Copy {
    /// The lines, oldest first.
    pub lines: Vec<Line>,
    /// How many were there before them.
    pub forgotten: u64,
}

impl Book {
    /// An empty book of at most so many lines.
    pub fn new(most: usize) -> Self {
        let pages = Mutex::default();
        Self { most, pages }
    }

    /// Writes a line, and forgets the oldest if there is no room. Returns its number, which it is given here.
    pub fn open(&self, line: Line) -> u64 {
        let mut pages = self.lock();
        if pages.lines.len() >= self.most && pages.lines.pop_front().is_some() {
            pages.forgotten += 1;
        }
        let row = pages.forgotten + pages.lines.len() as u64;
        pages.lines.push_back(Line { row, ..line });
        row
    }

    /// The upstream begins on a request.
    pub fn begin(&self, row: u64, at: Timestamp) {
        if let Some(line) = self.lock().line(row) {
            line.began_s = Some(at.as_secs_f64());
        }
    }

    /// A request is over.
    pub fn close(&self, row: u64, at: Timestamp, outcome: Outcome, usage: Option<Usage>) {
        if let Some(line) = self.lock().line(row) {
            line.ended_s = Some(at.as_secs_f64());
            line.outcome = Some(outcome.name());
            line.prompt_tokens = usage.map(|usage| usage.prompt_tokens);
            line.completion_tokens = usage.map(|usage| usage.completion_tokens);
        }
    }

    /// All that is written in it.
    pub fn copy(&self) -> Copy {
        let pages = self.lock();
        Copy {
            lines: pages.lines.iter().cloned().collect(),
            forgotten: pages.forgotten,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        // A page is whole after every step, also when whoever held it panicked.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Copy {
    /// A JSON object a line. When lines were forgotten, the first one says how many.
    pub fn jsonl(&self) -> String {
        let forgotten = self.forgotten;
        let first = (forgotten > 0).then(|| format!("{{\"forgotten\":{forgotten}}}"));
        let lines = self.lines.iter();
        let lines = lines.filter_map(|line| serde_json::to_string(line).ok());
        let all = first.into_iter().chain(lines);
        all.flat_map(|line| [line, "\n".to_owned()]).collect()
    }

    /// A table with a header line. Its rows are numbered: it begins after those that were forgotten.
    pub fn csv(&self) -> String {
        let mut writer = csv::WriterBuilder::new()
            .has_headers(false)
            .from_writer(Vec::new());
        let header = writer.write_record(HEADER);
        // Writing to memory does not fail; if it ever did, fewer lines would say so.
        let _ = header.and_then(|()| {
            self.lines
                .iter()
                .try_for_each(|line| writer.serialize(line))
        });
        let bytes = writer.into_inner().unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// The columns, in the order of the fields of a line.
const HEADER: [&str; 12] = [
    "row",
    "model",
    "key",
    "try",
    "stream",
    "fault",
    "at_s",
    "began_s",
    "ended_s",
    "outcome",
    "prompt_tokens",
    "completion_tokens",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn line(model: &str) -> Line {
        Line {
            row: 0,
            model: model.into(),
            key: Some(RequestKey(7)),
            r#try: 0,
            stream: false,
            fault: None,
            at_s: 0.5,
            began_s: None,
            ended_s: None,
            outcome: None,
            prompt_tokens: None,
            completion_tokens: None,
        }
    }

    #[test]
    fn the_newest_lines_are_kept_and_what_was_forgotten_is_counted() {
        let book = Book::new(2);
        assert_eq!(book.copy().jsonl(), "");
        let rows = ["a", "b", "c,\"d"].map(|model| book.open(line(model)));
        assert_eq!(rows, [0, 1, 2]);
        let usage = Usage {
            prompt_tokens: 3,
            completion_tokens: 4,
        };
        let at = Timestamp::from_secs_f64(1.25);
        for row in rows {
            book.begin(row, at);
            book.close(row, at, Outcome::Success, Some(usage));
        }
        let copy = book.copy();
        let jsonl = copy.jsonl();
        let lines: Vec<_> = jsonl.lines().collect();
        assert_eq!(lines[0], "{\"forgotten\":1}");
        assert!(
            lines[1].starts_with("{\"row\":1,\"model\":\"b\""),
            "{jsonl}"
        );
        assert_eq!(lines.len(), 3);
        assert_eq!(
            copy.csv(),
            "row,model,key,try,stream,fault,at_s,began_s,ended_s,outcome,prompt_tokens,completion_tokens\n\
             1,b,7,0,false,,0.5,1.25,1.25,success,3,4\n\
             2,\"c,\"\"d\",7,0,false,,0.5,1.25,1.25,success,3,4\n"
        );
    }

    #[test]
    fn the_header_names_the_fields_of_a_line() {
        let value = serde_json::to_value(line("a")).unwrap();
        let mut names: Vec<_> = HEADER.to_vec();
        names.sort_unstable();
        let fields: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        let mut fields: Vec<_> = fields.iter().map(String::as_str).collect();
        fields.sort_unstable();
        assert_eq!(names, fields);
    }
}
