//! Readers of recorded traffic, one a format, all over `impl BufRead`.

pub mod azure;
pub mod lines;

use std::fmt;

/// Most tokens of a prompt or an answer that are replayed: more than any model takes, and a body of
/// less than the 16 MiB that a gateway reads.
pub const MAX_TOKENS: u32 = 2_000_000;

/// One request of a recorded log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRow {
    /// When it arrived, in nanoseconds of the log's own clock.
    pub at: i64,
    /// Tokens of the prompt.
    pub input_tokens: u32,
    /// Tokens of the answer.
    pub output_tokens: u32,
}

/// A line of a log that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// Line in the file, from 1.
    pub line: u64,
    /// Column of the trouble, in characters from 1.
    pub column: usize,
    /// The start of the line, as read.
    pub text: String,
    /// Why it is dropped.
    pub reason: DropReason,
}

/// Why a line of a log is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// Longer than [`lines::MAX_LINE`] bytes.
    LineTooLong,
    /// Not UTF-8.
    NotUtf8,
    /// Too few or too many fields.
    FieldCount,
    /// The time cannot be read.
    BadTimestamp,
    /// A token count is no whole number.
    BadTokens,
    /// A token count is above [`MAX_TOKENS`].
    TooManyTokens,
}

impl DropReason {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::LineTooLong => "line_too_long",
            Self::NotUtf8 => "not_utf8",
            Self::FieldCount => "field_count",
            Self::BadTimestamp => "bad_timestamp",
            Self::BadTokens => "bad_tokens",
            Self::TooManyTokens => "too_many_tokens",
        }
    }

    /// What was expected instead.
    pub fn expected(self) -> &'static str {
        match self {
            Self::LineTooLong => "a line of at most 1 MiB",
            Self::NotUtf8 => "UTF-8 text",
            Self::FieldCount => "three fields: TIMESTAMP,ContextTokens,GeneratedTokens",
            Self::BadTimestamp => "a time like 2023-11-16 18:17:03.9799600",
            Self::BadTokens | Self::TooManyTokens => "a whole number from 0 to 2000000",
        }
    }
}

/// Why a log cannot be read at all.
#[derive(Debug)]
pub enum LogError {
    /// Reading failed.
    Io(std::io::Error),
    /// The file is empty.
    Empty,
    /// The first line is no known header.
    UnknownHeader {
        /// The line as read, shortened.
        found: String,
    },
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "cannot read the log: {error}"),
            Self::Empty => f.write_str("the log is empty"),
            Self::UnknownHeader { found } => write!(f, "unknown log format: it starts `{found}`"),
        }
    }
}

impl std::error::Error for LogError {}
