//! What a format cannot carry, counted by field.

use crate::traffic::format::Record;

/// A field of a [`Record`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// Its time: digits that the format has no room for.
    Time,
    /// The wait after the answer before it.
    Delay,
    /// Tokens of the prompt.
    InputTokens,
    /// Tokens of the answer.
    OutputTokens,
    /// The conversation.
    Session,
    /// How it ended.
    Outcome,
    /// The time to the end of its answer.
    Latency,
    /// The time to the first token.
    FirstToken,
    /// Whether it asked for a stream.
    Stream,
    /// Who asked.
    User,
    /// On whose account.
    Tenant,
    /// What groups the attempts of a request.
    Trace,
    /// The model that was asked for.
    Model,
    /// What served.
    ServedBy,
    /// That a rule or an order decided which version it went to: what says nothing is taken for chance.
    NoChance,
    /// What it cost.
    Cost,
    /// The chat request.
    Body,
    /// The text of the answer.
    Answer,
}

impl Field {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Time,
        Self::Delay,
        Self::InputTokens,
        Self::OutputTokens,
        Self::Session,
        Self::Outcome,
        Self::Latency,
        Self::FirstToken,
        Self::Stream,
        Self::User,
        Self::Tenant,
        Self::Trace,
        Self::Model,
        Self::ServedBy,
        Self::NoChance,
        Self::Cost,
        Self::Body,
        Self::Answer,
    ];

    /// The name for people: that of `graygate.log/1` without its unit.
    pub fn name(self) -> &'static str {
        match self {
            Self::Time => "time (digits)",
            Self::Delay => "delay",
            Self::InputTokens => "input_tokens",
            Self::OutputTokens => "output_tokens",
            Self::Session => "session",
            Self::Outcome => "outcome",
            Self::Latency => "latency",
            Self::FirstToken => "first_token",
            Self::Stream => "stream",
            Self::User => "user",
            Self::Tenant => "tenant",
            Self::Trace => "trace",
            Self::Model => "model",
            Self::ServedBy => "served_by",
            Self::NoChance => "by_chance",
            Self::Cost => "cost",
            Self::Body => "body",
            Self::Answer => "answer",
        }
    }

    /// Does a record know this?
    pub fn is_known(self, record: &Record) -> bool {
        match self {
            Self::Time => record.at.is_some(),
            Self::Delay => record.delay.is_some(),
            Self::InputTokens => record.input_tokens.is_some(),
            Self::OutputTokens => record.output_tokens.is_some(),
            Self::Session => record.session.is_some(),
            Self::Outcome => record.end.is_some(),
            Self::Latency => record.latency.is_some(),
            Self::FirstToken => record.first_token.is_some(),
            Self::Stream => record.is_stream.is_some(),
            Self::User => record.user.is_some(),
            Self::Tenant => record.tenant.is_some(),
            Self::Trace => record.trace.is_some(),
            Self::Model => record.asked_model.is_some(),
            Self::ServedBy => record.served_by.is_some(),
            Self::NoChance => record.by_chance == Some(false),
            Self::Cost => record.cost.is_some(),
            Self::Body => record.body.is_some(),
            Self::Answer => record.answer.is_some(),
        }
    }
}

/// How many records lost which field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses([u64; Field::ALL.len()]);

impl Losses {
    /// A record lost this.
    pub fn note(&mut self, field: Field) {
        self.0[field as usize] += 1;
    }

    /// A record lost this, if it is so.
    pub fn note_if(&mut self, is_lost: bool, field: Field) {
        if is_lost {
            self.note(field);
        }
    }

    /// A record lost all of these that it knows.
    pub fn note_known(&mut self, record: &Record, fields: &[Field]) {
        for field in fields {
            self.note_if(field.is_known(record), *field);
        }
    }

    /// The fields that were lost, and how often.
    pub fn counts(&self) -> impl Iterator<Item = (Field, u64)> {
        let all = Field::ALL.into_iter().zip(self.0);
        all.filter(|(_, n)| *n > 0)
    }
}
