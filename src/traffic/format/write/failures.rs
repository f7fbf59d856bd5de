//! How a request ended, in the words of those who log exceptions: a status and the class that OpenAI's clients and LiteLLM
//! give it.

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
    /// Is that all that is known of it? Endings of which these logs know nothing become the one that is next to them.
    pub(super) is_exact: bool,
}

/// What is said of this ending; nothing of a success.
pub(super) fn told(end: Outcome) -> Option<Told> {
    let (known, is_exact) = nearest(end);
    let (status, class) = words(known)?;
    Some(Told {
        status,
        class,
        message: (known == Outcome::QuotaExhausted).then_some("insufficient_quota"),
        is_exact,
    })
}

/// The ending that there are words for, and whether it is the same one.
fn nearest(end: Outcome) -> (Outcome, bool) {
    match end {
        Outcome::Truncated => (Outcome::Reset, false),
        Outcome::StreamError | Outcome::Malformed => (Outcome::ServerError, false),
        Outcome::Deadline => (Outcome::Timeout, false),
        Outcome::Limited => (Outcome::RateLimited, false),
        Outcome::Shutdown => (Outcome::Overloaded, false),
        same => (same, true),
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
