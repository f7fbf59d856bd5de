//! Readers of recorded traffic, one a format, all over `impl BufRead`: from the bytes of a log to [`Record`]s, one at a
//! time, and to lines that cannot be used.
//!
//! [`opened`] unpacks a file, [`detect`] finds out what it is, [`lines`], [`items`] and [`table`] read text, JSON and CSV
//! within limits, [`values`] are the times and counts in them. [`write`](mod@write) goes the other way.

pub mod aiperf;
pub mod azure;
pub mod burstgpt;
pub mod chats;
pub mod gor;
pub mod graygate;
pub mod guidellm;
pub mod har;
pub mod helicone;
pub mod items;
pub mod langfuse;
pub mod lines;
pub mod litellm;
pub mod mooncake;
pub mod openai_batch;
pub mod opened;
pub mod otel;
mod pairs;
pub mod ragpulse;
pub mod record;
pub mod sharegpt;
pub mod table;
#[cfg(test)]
mod testing;
pub mod values;
pub mod weka;
pub mod write;

use std::fmt;
use std::io::{self, BufRead, Cursor, Read};

use serde_json::{Map, Value};

use items::{Item, Items};
pub use record::{BadRow, DropReason, Record};

/// Most tokens of a prompt or an answer that are replayed: more than any model takes, and a body of
/// less than the 16 MiB that a gateway reads.
pub const MAX_TOKENS: u32 = 2_000_000;

/// How much of a log is looked at to find out its format, in bytes.
const HEAD: u64 = 1 << 16;

/// Whoever takes the records of a log as they come.
pub type Each<'a> = &'a mut dyn FnMut(Result<Record, BadRow>);

/// A format of logs.
pub struct Format {
    /// Its name on the command line and in files.
    pub name: &'static str,
    /// What it is, for people.
    pub title: &'static str,
    /// What its times are written in.
    pub times: &'static str,
    /// Why a log that begins like this is of this format; none when it is not.
    pub detect: fn(&Head<'_>) -> Option<&'static str>,
    /// Reads a whole log.
    pub read: fn(&mut dyn BufRead, Each<'_>) -> Result<(), LogError>,
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// All formats, in the order in which they are tried: those whose mark is unmistakable come first.
pub static FORMATS: &[Format] = &[
    graygate::FORMAT,
    graygate::ATTEMPTS,
    azure::FORMAT,
    burstgpt::FORMAT,
    gor::FORMAT,
    otel::FORMAT,
    har::FORMAT,
    litellm::SPEND,
    litellm::FORMAT,
    openai_batch::FORMAT,
    helicone::FORMAT,
    langfuse::FORMAT,
    sharegpt::FORMAT,
    ragpulse::FORMAT,
    aiperf::FORMAT,
    weka::FORMAT,
    mooncake::FORMAT,
    guidellm::FORMAT,
];

/// The format of this name.
pub fn named(name: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.name == name)
}

/// The beginning of a log.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a>(&'a [u8]);

impl<'a> Head<'a> {
    /// A log that begins with these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes))
    }

    /// Is there nothing?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Does it begin with this, but for white space?
    pub fn begins_with(&self, start: &[u8]) -> bool {
        self.0.trim_ascii_start().starts_with(start)
    }

    /// The first line, whatever is in it.
    pub fn first_bytes(&self) -> &'a [u8] {
        let end = self.0.iter().position(|byte| *byte == b'\n');
        &self.0[..end.unwrap_or(self.0.len())]
    }

    /// The first line, if it is text, without its end.
    pub fn first_line(&self) -> Option<&'a str> {
        let line = self.first_bytes();
        Some(std::str::from_utf8(line).ok()?.trim_end())
    }

    /// Is this text in it?
    pub fn contains(&self, text: &str) -> bool {
        let mut places = self.0.windows(text.len().max(1));
        places.any(|at| at == text.as_bytes())
    }

    /// The names that the first line has, read as CSV.
    pub fn columns(&self) -> Vec<String> {
        let line = self.first_line().unwrap_or_default();
        table::fields(line)
    }

    /// Does the first line name all of these columns?
    pub fn has_columns(&self, names: &[&str]) -> bool {
        let columns = self.columns();
        names.iter().all(|name| columns.iter().any(|c| c == name))
    }

    /// The first JSON object: the first line of a JSONL file, the first item of an array, or of the array at a path of
    /// keys. None when there is none, or it is longer than what is looked at.
    pub fn first_object(&self, path: &'static [&'static str]) -> Option<Map<String, Value>> {
        let mut items = Items::at(self.0, path);
        let (_, item) = items.next_item().ok()??;
        match item {
            Item::Text(text) => serde_json::from_str(text).ok(),
            Item::TooLong(_) | Item::NotUtf8 => None,
        }
    }

    /// The keys of the first JSON object, or of the first one of the array at a path of keys, as far as they can be seen:
    /// an object may be longer than what is looked at.
    pub fn keys(&self, path: &'static [&'static str]) -> Vec<String> {
        Items::at(self.0, path).first_keys().unwrap_or_default()
    }

    /// Has the first JSON object all of these keys?
    pub fn has_keys(&self, names: &[&str]) -> bool {
        let keys = self.keys(&[]);
        names.iter().all(|name| keys.iter().any(|key| key == name))
    }
}

/// The format of a log, and why: the first one that knows it.
pub fn detect(head: &Head<'_>) -> Option<(&'static Format, &'static str)> {
    let found = |format: &'static Format| Some((format, (format.detect)(head)?));
    FORMATS.iter().find_map(found)
}

/// Reads the beginning of a log, and gives it back with the whole log.
///
/// # Errors
/// When reading fails.
pub fn begin(
    mut reader: Box<dyn BufRead + Send>,
) -> io::Result<(Vec<u8>, Box<dyn BufRead + Send>)> {
    let mut head = Vec::new();
    reader.by_ref().take(HEAD).read_to_end(&mut head)?;
    let whole = Cursor::new(head.clone()).chain(reader);
    Ok((head, Box::new(whole)))
}

/// Why a log cannot be read at all.
#[derive(Debug)]
pub enum LogError {
    /// Reading failed.
    Io(io::Error),
    /// The file is empty.
    Empty,
    /// It could be of several formats.
    Ambiguous(&'static str),
    /// It is not of the format that it was read as.
    UnknownHeader {
        /// Its beginning, shortened.
        found: String,
    },
}

impl LogError {
    /// A log that begins with something else.
    pub fn unknown(found: &str) -> Self {
        let found = found.chars().take(60).collect();
        Self::UnknownHeader { found }
    }
}

impl From<io::Error> for LogError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "cannot read the log: {error}"),
            Self::Empty => f.write_str("the log is empty"),
            Self::Ambiguous(doubt) => write!(f, "several formats look like this log: {doubt}"),
            Self::UnknownHeader { found } => write!(f, "unknown log format: it starts `{found}`"),
        }
    }
}

impl std::error::Error for LogError {}

/// Reads JSON records: `read` makes a record of the fields of each object, or says what is wrong with it.
///
/// # Errors
/// When reading fails, or there is nothing.
pub fn read_objects(
    reader: &mut dyn BufRead,
    path: &'static [&'static str],
    each: Each<'_>,
    mut read: impl FnMut(Map<String, Value>) -> Result<Record, DropReason>,
) -> Result<(), LogError> {
    let items = Items::at(reader, path);
    read_items(items, each, |object, found| found(read(object)))
}

/// Whoever takes what is found in one JSON object.
pub type Found<'a> = &'a mut dyn FnMut(Result<Record, DropReason>);

/// Reads JSON objects that hold any number of records each.
///
/// # Errors
/// When reading fails, or there is nothing.
pub fn read_items<R: BufRead>(
    mut items: Items<R>,
    each: Each<'_>,
    mut read: impl FnMut(Map<String, Value>, Found<'_>),
) -> Result<(), LogError> {
    let mut is_empty = true;
    while let Some((line, item)) = items.next_item()? {
        is_empty = false;
        let text = match item {
            Item::Text(text) | Item::TooLong(text) => text,
            Item::NotUtf8 => "",
        };
        let mut found = |record: Result<Record, DropReason>| {
            each(record.map_err(|reason| BadRow {
                line,
                column: 1,
                text: text.chars().take(120).collect(),
                reason,
            }));
        };
        match item {
            Item::Text(text) => match serde_json::from_str(text) {
                Ok(object) => read(object, &mut found),
                Err(_) => found(Err(DropReason::BadForm)),
            },
            Item::TooLong(_) => found(Err(DropReason::LineTooLong)),
            Item::NotUtf8 => found(Err(DropReason::NotUtf8)),
        }
    }
    match is_empty {
        true => Err(LogError::Empty),
        false => Ok(()),
    }
}

/// Does a log begin like JSON? What else may be read here is CSV.
///
/// # Errors
/// When reading fails.
pub fn is_json(reader: &mut dyn BufRead) -> io::Result<bool> {
    let head = Head::new(reader.fill_buf()?);
    let first = head.0.iter().find(|byte| !byte.is_ascii_whitespace());
    Ok(matches!(first, Some(b'{' | b'[')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_format_is_known_by_the_beginning_of_a_log() {
        let found = |text: &str| detect(&Head::new(text.as_bytes())).map(|(format, _)| format.name);
        let azure = "\u{feff}TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023";
        assert_eq!(found(azure), Some("azure"));
        assert_eq!(found(""), None);
        assert_eq!(found("{}"), None);
    }

    proptest! {
        #[test]
        fn no_beginning_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..200), is_json: bool) {
            let start = if is_json { &b"{\"timestamp\":1,\"requests\":"[..] } else { b"" };
            detect(&Head::new(&[start, &body].concat()));
        }
    }

    #[test]
    fn an_object_longer_than_what_is_looked_at_is_known_by_its_first_keys() {
        let long = "x".repeat(HEAD as usize);
        let text = format!(
            "[\n{{\"call_type\": \"completion\", \"trace_id\": \"t\", \"startTime\": 1, \"messages\": \"{long}"
        );
        let head = Head::new(&text.as_bytes()[..HEAD as usize]);
        assert_eq!(
            detect(&head).map(|(format, _)| format.name),
            Some("litellm")
        );
        assert_eq!(head.first_object(&[]), None);
    }

    #[test]
    fn the_beginning_of_a_log_is_read_and_nothing_is_lost() {
        let text = "x".repeat(100_000);
        let (head, mut whole) = begin(Box::new(Cursor::new(text.clone()))).unwrap();
        assert_eq!(head.len() as u64, HEAD);
        let mut read = String::new();
        whole.read_to_string(&mut read).unwrap();
        assert_eq!(read, text);
    }
}
