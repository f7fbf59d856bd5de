//! One response of an upstream as a script, to be played by the simulator or by a mock server.

use std::borrow::Cow;
use std::time::Duration;

use crate::protocol::openai::{ErrorReply, Usage};
use crate::protocol::outcome::{AnswerFacts, Outcome, classify};
use crate::upstream::stream::StreamPlan;

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
    /// The connection is reset: no answer, no clean close.
    Reset,
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
    /// The `Retry-After` header.
    pub retry_after: Option<Duration>,
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
}

impl ResponsePlan {
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
            Act::Reset => Some(Outcome::Reset),
            Act::Silence => None,
        }
    }

    /// The wait that the answer asks for.
    pub fn retry_after(&self) -> Option<Duration> {
        match &self.act {
            Act::Refuse(refusal) => refusal.retry_after,
            Act::Complete(_) | Act::Stream(_) | Act::Reset | Act::Silence => None,
        }
    }

    /// Does a token of a stream come before the end?
    pub fn begins(&self) -> bool {
        matches!(&self.act, Act::Stream(stream) if stream.has_token())
    }

    /// Does the model itself work on it? Then it takes a place of an upstream with a capacity; refusals,
    /// resets and silence come from what stands before the model.
    pub fn needs_place(&self) -> bool {
        matches!(self.act, Act::Complete(_) | Act::Stream(_))
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
            Act::Complete(_) | Act::Refuse(_) | Act::Reset => Some(self.after),
        }
    }

    /// The tokens that the answer states.
    pub fn stated_usage(&self) -> Option<Usage> {
        match &self.act {
            Act::Complete(usage) => Some(*usage),
            Act::Stream(stream) => stream.stated_usage(),
            Act::Refuse(_) | Act::Reset | Act::Silence => None,
        }
    }

    /// The tokens that the upstream spends on it.
    pub fn usage(&self) -> Option<Usage> {
        match &self.act {
            Act::Stream(stream) => Some(Usage {
                completion_tokens: stream.tokens_sent(),
                ..stream.usage
            }),
            _ => self.stated_usage(),
        }
    }
}
