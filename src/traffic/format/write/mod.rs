//! Writers of logs, one a format: from a [`Record`] to its line. What a format cannot carry is noted field by field
//! ([`losses`]); a record that lacks what a format needs is [`Unfit`] for it.

mod azure;
mod burstgpt;
mod failures;
pub mod line;
mod litellm;
pub mod losses;
mod mooncake;
mod native;
mod otel;
#[cfg(test)]
mod round_trip;

use std::fmt;

use crate::traffic::body::{count_tokens, prompt_tokens};
use crate::traffic::format::{MAX_TOKENS, Record};
pub use losses::{Field, Losses};

/// How a format of logs is written.
pub struct Writer {
    /// The name of the format.
    pub name: &'static str,
    /// The first line, without its end; empty where there is none.
    pub header: &'static str,
    /// What its times count from.
    pub clock: LogClock,
    /// The line of a record, without its end. The number is that of the record in the log, from 1.
    pub write: fn(&Record, u64, &mut Losses) -> Result<String, Unfit>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Writer {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// What the times of a format count from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogClock {
    /// Anything: they stay as they are.
    Own,
    /// The first record of the log.
    Zero,
    /// 1970: they are dates.
    Calendar,
}

/// Times before this are no dates of chats, but of a clock of the log's own: 2000-01-01T00:00:00Z.
const YEAR_2000: i64 = 946_684_800_000_000_000;

impl LogClock {
    /// What the times of a log are moved by that begins at this moment.
    pub fn shift(self, first: i64) -> i64 {
        match self {
            Self::Own => 0,
            Self::Zero => first.saturating_neg(),
            Self::Calendar if first < YEAR_2000 => YEAR_2000,
            Self::Calendar => 0,
        }
    }
}

/// What a format needs and a record lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unfit {
    /// It has no time, or one that the format has no digits for.
    NoTime,
    /// It is not known how long its prompt was.
    NoInputTokens,
    /// It is not known how long its answer was.
    NoOutputTokens,
}

impl Unfit {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoTime => "no_time",
            Self::NoInputTokens => "no_input_tokens",
            Self::NoOutputTokens => "no_output_tokens",
        }
    }
}

/// Tokens of the prompt, stated or counted in its text, for formats that have no texts.
fn input_tokens(record: &Record) -> Option<u32> {
    let counted = || Some(prompt_tokens(record.body.as_deref()?).min(MAX_TOKENS));
    record.input_tokens.or_else(counted)
}

/// The same of the answer.
fn output_tokens(record: &Record) -> Option<u32> {
    let counted = || Some(count_tokens(record.answer.as_deref()?).min(MAX_TOKENS));
    record.output_tokens.or_else(counted)
}

/// All formats that can be written.
pub static WRITERS: &[Writer] = &[
    native::WRITER,
    litellm::WRITER,
    otel::WRITER,
    azure::WRITER,
    burstgpt::WRITER,
    mooncake::WRITER,
];

/// The writer of this name.
pub fn named(name: &str) -> Option<&'static Writer> {
    WRITERS.iter().find(|writer| writer.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_written_can_be_read() {
        for writer in WRITERS {
            assert!(crate::traffic::format::named(writer.name).is_some());
            assert_eq!(named(writer.name), Some(writer));
        }
        assert_eq!(named("sharegpt"), None);
    }

    #[test]
    fn clocks_that_are_no_calendars_are_moved_to_one() {
        let now = 1_772_442_000_000_000_000;
        assert_eq!(LogClock::Own.shift(now), 0);
        assert_eq!(LogClock::Zero.shift(now), -now);
        assert_eq!(LogClock::Calendar.shift(now), 0);
        assert_eq!(LogClock::Calendar.shift(5), YEAR_2000);
    }
}
