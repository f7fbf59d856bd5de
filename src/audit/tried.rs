//! One attempt of a log, as far as an audit needs it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::VersionId;
use crate::pricing::Cost;
use crate::protocol::openai::Usage;
use crate::protocol::outcome::Outcome;
use crate::traffic::format::Record;
use crate::traffic::log::fingerprint::{fingerprint, fingerprint_of};
use crate::traffic::log::requests::Attempt;

/// An attempt at a version.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tried {
    /// When it began, in nanoseconds of the log's own clock.
    pub at: i64,
    /// How long it took.
    pub took: Duration,
    /// From its beginning to its first token, where it was a stream and the log says so.
    pub first_token: Option<Duration>,
    /// How it ended.
    pub end: Outcome,
    /// The version that was tried.
    pub version: VersionId,
    /// The tokens that it spent, where the log says so.
    pub usage: Option<Usage>,
    /// What it cost, where the log says so.
    pub cost: Option<Cost>,
    /// Did it ask for a stream?
    pub is_stream: bool,
    /// Did chance decide where it went? So it is taken where the log does not say otherwise.
    pub by_chance: bool,
    /// Who asked, by a fingerprint.
    pub user: Option<u64>,
    /// What it belongs to.
    pub trace: Option<u64>,
    /// Its conversation.
    pub session: Option<u64>,
    /// What it asks.
    pub contents: Option<u64>,
    /// Tokens of its prompt, where that has any.
    pub input_tokens: Option<u32>,
}

/// Why an attempt says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lacking {
    /// It has no time.
    Time,
    /// Nobody knows how it ended.
    End,
    /// It succeeded, and nobody knows when.
    Latency,
    /// Nobody knows who was tried.
    Version,
    /// Somebody was tried who is none of the versions.
    KnownVersion,
}

impl Lacking {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Time => "no_time",
            Self::End => "no_outcome",
            Self::Latency => "no_latency",
            Self::Version => "no_version",
            Self::KnownVersion => "another_version",
        }
    }
}

/// The versions by the names that a log has for them.
pub type Names = BTreeMap<String, VersionId>;

/// The name that a record gives to who was tried: who served, or for a failure who was asked.
pub fn name_of(record: &Record) -> Option<&str> {
    let is_failure = record.end.is_some_and(|end| !end.is_success());
    let asked = record.asked_model.as_deref().filter(|_| is_failure);
    let served = record.served_by.as_deref();
    served.or(asked).filter(|name| !name.is_empty())
}

impl Tried {
    /// The attempt of a record.
    ///
    /// # Errors
    /// What it lacks.
    pub fn read(record: &Record, names: &Names) -> Result<Self, Lacking> {
        let at = record.at.ok_or(Lacking::Time)?;
        let end = record.end.ok_or(Lacking::End)?;
        let name = name_of(record).ok_or(Lacking::Version)?;
        let version = *names.get(name).ok_or(Lacking::KnownVersion)?;
        let took = match (record.latency, end.is_success()) {
            (Some(took), _) => took,
            (None, true) => return Err(Lacking::Latency),
            // When a failure came is not what matters of it.
            (None, false) => Duration::ZERO,
        };
        let messages = record.body.as_ref().and_then(|body| body.get("messages"));
        let usage = record.input_tokens.zip(record.output_tokens);
        Ok(Self {
            at,
            took,
            end,
            version,
            first_token: record.first_token,
            usage: usage.map(|(prompt_tokens, completion_tokens)| Usage {
                prompt_tokens,
                completion_tokens,
            }),
            cost: record.cost,
            is_stream: record.is_stream == Some(true),
            by_chance: record.by_chance != Some(false),
            user: record.user.as_deref().map(fingerprint),
            trace: record.trace.as_deref().map(fingerprint),
            session: record.session.as_deref().map(fingerprint),
            contents: messages.map(fingerprint_of),
            input_tokens: record.input_tokens.filter(|tokens| *tokens > 0),
        })
    }

    /// The same as what finds its request takes it, with what is to be remembered of it.
    pub fn attempt<T>(&self, of: T) -> Attempt<T> {
        Attempt {
            at: self.at,
            latency: Some(self.took),
            end: Some(self.end),
            trace: self.trace,
            session: self.session,
            contents: self.contents,
            input_tokens: self.input_tokens,
            of,
        }
    }

    /// When it was over, on the log's own clock.
    pub fn over_at(&self) -> i64 {
        let took = i64::try_from(self.took.as_nanos()).unwrap_or(i64::MAX);
        self.at.saturating_add(took)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            at: Some(5),
            end: Some(Outcome::Success),
            latency: Some(Duration::from_nanos(7)),
            served_by: Some("b".to_owned()),
            asked_model: Some("chat".to_owned()),
            ..Record::default()
        }
    }

    fn names() -> Names {
        Names::from([
            ("a".to_owned(), VersionId(0)),
            ("b".to_owned(), VersionId(1)),
        ])
    }

    #[test]
    fn what_says_nothing_is_told_apart() {
        let lacking = |change: fn(&mut Record)| {
            let mut record = record();
            change(&mut record);
            Tried::read(&record, &names()).err()
        };
        assert_eq!(lacking(|_| {}), None);
        assert_eq!(lacking(|r| r.at = None), Some(Lacking::Time));
        assert_eq!(lacking(|r| r.end = None), Some(Lacking::End));
        assert_eq!(lacking(|r| r.latency = None), Some(Lacking::Latency));
        assert_eq!(lacking(|r| r.served_by = None), Some(Lacking::Version));
        assert_eq!(
            lacking(|r| r.served_by = Some("c".to_owned())),
            Some(Lacking::KnownVersion)
        );
        let failed = |r: &mut Record| (r.end, r.latency) = (Some(Outcome::Timeout), None);
        assert_eq!(lacking(failed), None, "a failure needs no latency");
    }

    #[test]
    fn of_a_failure_counts_who_was_asked() {
        let failed = Record {
            end: Some(Outcome::ServerError),
            served_by: None,
            asked_model: Some("a".to_owned()),
            ..record()
        };
        assert_eq!(
            Tried::read(&failed, &names()).unwrap().version,
            VersionId(0)
        );
        let tried = Tried::read(&record(), &names()).unwrap();
        assert_eq!((tried.version, tried.over_at()), (VersionId(1), 12));
        assert!(tried.by_chance, "nobody says otherwise");
    }
}
