//! One request of a recorded log, whatever wrote it.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::pricing::Cost;
use crate::protocol::outcome::Outcome;

/// A request of a log, as far as its format tells. What it does not tell is none, never 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// When it arrived, in nanoseconds of the log's own clock; none where the format knows no times.
    pub at: Option<i64>,
    /// So long after the answer to the request before it in its session, where the log says so.
    pub delay: Option<Duration>,
    /// Tokens of the prompt.
    pub input_tokens: Option<u32>,
    /// Tokens of the answer.
    pub output_tokens: Option<u32>,
    /// The conversation that it is a turn of.
    pub session: Option<String>,
    /// How it ended; none where the log does not tell.
    pub end: Option<Outcome>,
    /// From its arrival to the end of its answer.
    pub latency: Option<Duration>,
    /// From its arrival to the first token of its answer.
    pub first_token: Option<Duration>,
    /// Did it ask for a stream?
    pub is_stream: Option<bool>,
    /// Who asked.
    pub user: Option<String>,
    /// On whose account.
    pub tenant: Option<String>,
    /// What groups the attempts of one request: LiteLLM's `trace_id`, say.
    pub trace: Option<String>,
    /// The model that was asked for.
    pub asked_model: Option<String>,
    /// The model or deployment that served.
    pub served_by: Option<String>,
    /// Did chance decide which version it was given to first, and not a rule or an order? None where the log does not tell.
    pub by_chance: Option<bool>,
    /// What it cost, where the log says so.
    pub cost: Option<Cost>,
    /// The fields of the chat request, but for `model` and `stream`, where the log has them.
    pub body: Option<Box<Map<String, Value>>>,
    /// The text of the answer, where the log has it.
    pub answer: Option<String>,
}

/// A line (or record) of a log that cannot be used.
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
    /// Longer than a line may be.
    LineTooLong,
    /// Not UTF-8.
    NotUtf8,
    /// Not JSON, or not of the form that its format has.
    BadForm,
    /// Too few or too many fields.
    FieldCount,
    /// The time cannot be read, or is missing.
    BadTimestamp,
    /// A token count is no whole number.
    BadTokens,
    /// A token count is above [`MAX_TOKENS`](super::MAX_TOKENS).
    TooManyTokens,
    /// A number that is no time, length or count: `latency`, `delay` …
    BadNumber,
    /// A request to another address than one for chats.
    NoChat,
    /// An answer whose request is not in the log, or too far away in it.
    NoRequest,
}

impl DropReason {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::LineTooLong => "line_too_long",
            Self::NotUtf8 => "not_utf8",
            Self::BadForm => "bad_form",
            Self::FieldCount => "field_count",
            Self::BadTimestamp => "bad_timestamp",
            Self::BadTokens => "bad_tokens",
            Self::TooManyTokens => "too_many_tokens",
            Self::BadNumber => "bad_number",
            Self::NoChat => "no_chat",
            Self::NoRequest => "no_request",
        }
    }

    /// What was expected instead.
    pub fn expected(self) -> &'static str {
        match self {
            Self::LineTooLong => "a line of at most 16 MiB (1 MiB in an Azure trace)",
            Self::NotUtf8 => "UTF-8 text",
            Self::BadForm => "a record as docs/formats.md describes it",
            Self::FieldCount => "as many fields as the first line names",
            Self::BadTimestamp => {
                "a time as docs/formats.md describes it, like 2023-11-16 18:17:03.9799600"
            }
            Self::BadTokens | Self::TooManyTokens => "a whole number from 0 to 2000000",
            Self::BadNumber => "a number that is not negative",
            Self::NoChat => "a request for a chat completion",
            Self::NoRequest => "the request that it answers, near it",
        }
    }

    /// Does it mean that the log is damaged? Logs of all that passes by hold other things than chats.
    pub fn is_damage(self) -> bool {
        !matches!(self, Self::NoChat | Self::NoRequest)
    }
}
