//! How a request ended, in the words of those who log exceptions: a status and the class that OpenAI's clients and LiteLLM
//! give it.
//!
//! Endings that nobody else knows keep their names: a deadline is not the fault of the version that was tried, and an audit
//! of a log that called it a timeout would blame it.

use crate::protocol::outcome::Outcome;

/// What is said of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// The status of the answer, where there was one.
    pub(super) status: Option<u16>,
    /// The class of the exception.
    pub(super) class: &'static str,
    /// What was said, where it matters.
    pub(super) message: Option<&'static str>,
}

/// What is said of this ending; nothing of a success.
pub(super) fn told(end: Outcome) -> Option<Told> {
    let known = nearest(end);
    let (status, class) = words(known)?;
    let message = match end {
        Outcome::QuotaExhausted => Some("insufficient_quota"),
        _ => (known != end).then(|| end.name()),
    };
    Some(Told {
        status,
        class,
        message,
    })
}

/// The ending that there are words for. Of one of which these logs know nothing it is the one next to it, and its own name
/// is the message: [`Failure`](crate::traffic::format::chats::Failure) knows it by that.
fn nearest(end: Outcome) -> Outcome {
    match end {
        Outcome::Truncated => Outcome::Reset,
        Outcome::StreamError | Outcome::Malformed => Outcome::ServerError,
        Outcome::Deadline => Outcome::Timeout,
        Outcome::Limited => Outcome::RateLimited,
        Outcome::Shutdown => Outcome::Overloaded,
        same => same,
    }
}

fn words(end: Outcome) -> Option<(Option<u16>, &'static str)> {
    Some(match end {
        Outcome::Unauthorized => (Some(401), "AuthenticationError"),
        Outcome::Forbidden => (Some(403), "PermissionDeniedError"),
        Outcome::ModelNotFound => (Some(404), "NotFoundError"),
        Outcome::RateLimited | Outcome::QuotaExhausted => (Some(429), "RateLimitError"),
        Outcome::BadRequest => (Some(400), "BadRequestError"),
        Outcome::ServerError => (Some(500), "InternalServerError"),
        Outcome::Overloaded => (Some(503), "ServiceUnavailableError"),
        Outcome::Timeout => (Some(408), "Timeout"),
        Outcome::Connect => (None, "APIConnectionError"),
        Outcome::Reset => (None, "RemoteProtocolError"),
        Outcome::ClientGone => (None, "CancelledError"),
        _ => return None,
    })
}
