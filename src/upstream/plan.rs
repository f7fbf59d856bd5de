//! One response of an upstream as a script, to be played by the simulator or by a mock server.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::Value;

use crate::protocol::drift::Drift;
use crate::protocol::openai::{ErrorReply, Usage};
use crate::protocol::outcome::{AnswerFacts, Outcome, classify};
use crate::upstream::odd::{Form, Odd};
use crate::upstream::stream::StreamPlan;
use crate::upstream::wish::Wish;

/// The most words that a mock writes into a whole answer, whatever tokens it states.
pub const MOST_WORDS: u32 = 100_000;

/// What an upstream does with one attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct ResponsePlan {
    /// From taking the request to doing [`act`](Self::act).
    pub after: Duration,
    /// What happens then.
    pub act: Act,
}

/// The end of a response.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// A whole chat completion.
    Complete(Usage),
    /// A stream, whose first token comes now.
    Stream(StreamPlan),
    /// An error in OpenAI's envelope.
    Refuse(Refusal),
    /// An answer that is not what was asked for.
    Odd(Odd),
    /// The connection is reset: no answer, no clean close.
    Reset,
    /// The connection is closed in order, without an answer.
    Close,
    /// There is no connection to be had: nobody listens, or nobody who can be believed.
    Unreachable,
    /// Nothing, for as long as the other side waits.
    Silence,
}

/// An error answer of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// `error.type`.
    pub kind: &'static str,
    /// `error.code`.
    pub code: &'static str,
    /// For people.
    pub message: Cow<'static, str>,
    /// The wait that it asks for.
    pub wish: Option<Wish>,
}

impl Refusal {
    /// The error as it goes over the wire.
    pub fn reply(&self) -> ErrorReply {
        ErrorReply {
            status: self.status,
            message: self.message.clone().into_owned(),
            kind: self.kind,
            code: self.code,
        }
    }

    /// The body as it goes over the wire.
    pub fn body(&self) -> String {
        let body = self.reply().body();
        let Some(seconds) = self.wish.and_then(Wish::in_body) else {
            return body;
        };
        let mut tree: Value = serde_json::from_str(&body).unwrap_or_default();
        tree["error"]["retry_after"] = seconds.into();
        tree.to_string()
    }
}

impl ResponsePlan {
    /// The plan of an answer that somebody else gives: what is planned is only whether it is a stream. Faults can
    /// spoil it like any other.
    pub fn passed_on(is_stream: bool) -> Self {
        let usage = Usage::default();
        let act = match is_stream {
            false => Act::Complete(usage),
            true => Act::Stream(StreamPlan::EMPTY),
        };
        let after = Duration::ZERO;
        Self { after, act }
    }

    /// How the attempt ends for whoever asked, if they wait long enough; none for silence.
    pub fn outcome(&self) -> Option<Outcome> {
        match &self.act {
            Act::Complete(_) => Some(Outcome::Success),
            Act::Stream(stream) => stream.end(self.after).map(|(_, outcome)| outcome),
            Act::Refuse(refusal) => Some(classify(AnswerFacts {
                status: refusal.status,
                error_code: Some(refusal.code),
                is_completion: false,
            })),
            Act::Odd(odd) => Some(odd.reading().outcome),
            Act::Reset | Act::Close => Some(Outcome::Reset),
            Act::Unreachable => Some(Outcome::Connect),
            Act::Silence => None,
        }
    }

    /// The wait that the answer asks for.
    pub fn retry_after(&self) -> Option<Duration> {
        match &self.act {
            Act::Refuse(refusal) => refusal.wish.and_then(Wish::wait),
            _ => None,
        }
    }

    /// Does a token of a stream come before the end?
    pub fn begins(&self) -> bool {
        matches!(&self.act, Act::Stream(stream) if stream.has_token())
    }

    /// Does the model itself work on it? Then it takes a place of an upstream with a capacity; refusals,
    /// resets and silence come from what stands before the model.
    pub fn needs_place(&self) -> bool {
        matches!(self.act, Act::Complete(_) | Act::Stream(_) | Act::Odd(_))
    }

    /// When the first chunk of the stream comes that is no earlier than this; none when there is none.
    pub fn next_chunk(&self, at: Duration) -> Option<Duration> {
        match &self.act {
            Act::Stream(stream) => stream.next_chunk(self.after, at),
            _ => None,
        }
    }

    /// From taking the request to the end of the answer; none when it has none.
    pub fn length(&self) -> Option<Duration> {
        match &self.act {
            Act::Stream(stream) => stream.end(self.after).map(|(at, _)| at),
            Act::Silence => None,
            _ => Some(self.after),
        }
    }

    /// The tokens that are spent, as far as the upstream can tell: what a success does not state,
    /// nobody knows.
    pub fn usage(&self) -> Option<Usage> {
        match &self.act {
            Act::Complete(usage) => Some(*usage),
            Act::Stream(stream) => stream.spent(),
            Act::Odd(odd) if matches!(odd.form, Form::Redirect { .. }) => None,
            Act::Odd(odd) => match odd.reading() {
                reading if reading.outcome.is_success() => reading.usage,
                _ => Some(odd.usage),
            },
            _ => None,
        }
    }

    /// The tokens that the answer states.
    pub fn stated_usage(&self) -> Option<Usage> {
        match &self.act {
            Act::Complete(usage) => Some(*usage),
            Act::Stream(stream) => stream.stated_usage(),
            Act::Odd(odd) => odd.reading().usage,
            _ => None,
        }
    }

    /// How the answer differs from the OpenAI shape.
    pub fn drift(&self) -> Drift {
        match &self.act {
            Act::Odd(odd) => odd.reading().drift,
            Act::Stream(stream) => stream.drift().0,
            _ => Drift::NONE,
        }
    }

    /// How it still differs once a gateway has put it into shape.
    pub fn remaining_drift(&self) -> Drift {
        match &self.act {
            Act::Odd(odd) => odd.reading().remaining,
            Act::Stream(stream) => stream.drift().1,
            _ => Drift::NONE,
        }
    }

    /// From taking the request to the first byte of an answer.
    pub fn until_first_byte(&self) -> Duration {
        match &self.act {
            Act::Odd(odd) => self.after.saturating_sub(odd.sending_time()),
            _ => self.after,
        }
    }

    /// What becomes of a request that slipped in while the door was being shut: its connection is closed.
    pub fn shut_late(&mut self) {
        if !self.is_taken() {
            self.act = Act::Close;
        }
    }

    /// Does anybody take the request?
    pub fn is_taken(&self) -> bool {
        self.act != Act::Unreachable
    }
}
