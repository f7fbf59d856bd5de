//! One response of an upstream as a script, to be played by the simulator or by a mock server.

use std::borrow::Cow;
use std::time::Duration;

use crate::protocol::openai::{ErrorReply, Usage};
use crate::protocol::outcome::{AnswerFacts, Outcome, classify};

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
            Act::Complete(_) | Act::Reset | Act::Silence => None,
        }
    }

    /// The tokens that the answer states.
    pub fn usage(&self) -> Option<Usage> {
        match &self.act {
            Act::Complete(usage) => Some(*usage),
            Act::Refuse(_) | Act::Reset | Act::Silence => None,
        }
    }
}
