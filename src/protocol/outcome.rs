//! How an attempt or a request ended. This file alone knows what 429 means.

use serde::{Deserialize, Serialize};

/// The one outcome of an attempt or a request. Everything downstream (retry, fallback, judge,
/// gates, reports) asks this enum and never looks at a status code again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// 2xx with a well-formed chat completion.
    Success,
    /// 401: the upstream refused the key.
    Unauthorized,
    /// 402 or 403: the key is known but may not.
    Forbidden,
    /// 404: the upstream has no such model (or no such route, which comes to the same).
    ModelNotFound,
    /// 429: too many requests for now.
    RateLimited,
    /// 429 with code `insufficient_quota`: waiting does not help.
    QuotaExhausted,
    /// Any other 4xx: the caller's request was refused on its own merits.
    BadRequest,
    /// 5xx other than those below.
    ServerError,
    /// 503 or 529: the upstream is there but too busy.
    Overloaded,
    /// No answer within the attempt's limit, or upstream 408 or 504.
    Timeout,
    /// No connection: refused, unreachable, name not found.
    Connect,
    /// The connection broke before an answer was complete.
    Reset,
    /// The answer ended before its announced length, or a stream before its terminal event.
    Truncated,
    /// A stream that began as a success brought an error.
    StreamError,
    /// An answer that is not what was asked for: 2xx without a chat completion, 1xx, 3xx.
    Malformed,
    /// The caller hung up first.
    ClientGone,
    /// The request's own deadline passed.
    Deadline,
    /// The router's own rate limiter had no slot for it within the maximum wait.
    Limited,
    /// The router itself ended it: it is shutting down, or the canary was closed over it.
    Shutdown,
}

impl Outcome {
    /// Every outcome, in the order of the enum.
    pub const ALL: [Self; 19] = [
        Self::Success,
        Self::Unauthorized,
        Self::Forbidden,
        Self::ModelNotFound,
        Self::RateLimited,
        Self::QuotaExhausted,
        Self::BadRequest,
        Self::ServerError,
        Self::Overloaded,
        Self::Timeout,
        Self::Connect,
        Self::Reset,
        Self::Truncated,
        Self::StreamError,
        Self::Malformed,
        Self::ClientGone,
        Self::Deadline,
        Self::Limited,
        Self::Shutdown,
    ];

    /// The position in [`Outcome::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// True for [`Outcome::Success`] only.
    pub fn is_success(self) -> bool {
        self == Self::Success
    }

    /// What a whole answer with this outcome is for whoever wanted one, or a stream.
    pub fn of_whole_answer(self, is_stream_wanted: bool) -> Self {
        match self {
            Self::Success if is_stream_wanted => Self::Malformed,
            outcome => outcome,
        }
    }

    /// May the same version be tried again? Never for answers that will be the same next time
    /// (bad key, missing model, bad request, spent quota).
    pub fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::RateLimited
                | Self::ServerError
                | Self::Overloaded
                | Self::Timeout
                | Self::Connect
                | Self::Reset
                | Self::Truncated
                | Self::StreamError
        )
    }

    /// May stable be asked instead, once the canary failed like this?
    pub fn fallback(self) -> Fallback {
        match self {
            Self::Success
            | Self::BadRequest
            | Self::ClientGone
            | Self::Deadline
            | Self::Limited => Fallback::Never,
            // The same key would be refused again: only other credentials can help.
            Self::Unauthorized | Self::Forbidden => Fallback::WithOtherCredentials,
            _ => Fallback::Always,
        }
    }

    /// Is this the version's doing, so that it counts for or against its SLO?
    pub fn judgement(self) -> Judgement {
        match self {
            Self::Success => Judgement::Good,
            // Refusals of the request itself, and endings that the caller or our own limits chose.
            Self::BadRequest
            | Self::ClientGone
            | Self::Deadline
            | Self::Limited
            | Self::Shutdown => Judgement::Excluded,
            _ => Judgement::Bad,
        }
    }

    /// The name in files and messages: `rate_limited`, `model_not_found` …
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::ModelNotFound => "model_not_found",
            Self::RateLimited => "rate_limited",
            Self::QuotaExhausted => "quota_exhausted",
            Self::BadRequest => "bad_request",
            Self::ServerError => "server_error",
            Self::Overloaded => "overloaded",
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::Truncated => "truncated",
            Self::StreamError => "stream_error",
            Self::Malformed => "malformed",
            Self::ClientGone => "client_gone",
            Self::Deadline => "deadline",
            Self::Limited => "limited",
            Self::Shutdown => "shutdown",
        }
    }

    /// The outcome with this [`name`](Self::name).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|o| o.name() == name)
    }
}

/// When a failed canary attempt may be answered by stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// Always.
    Always,
    /// Only when stable uses another key than the canary.
    WithOtherCredentials,
    /// Never.
    Never,
}

/// How an outcome counts in the judgement of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// A success.
    Good,
    /// A failure of the version.
    Bad,
    /// Says nothing about the version: neither numerator nor denominator.
    Excluded,
}

/// What the classifier needs to know about a complete HTTP answer.
#[derive(Clone, Copy, Debug)]
pub struct AnswerFacts<'a> {
    /// The HTTP status code.
    pub status: u16,
    /// `error.code` of the body, when there is one.
    pub error_code: Option<&'a str>,
    /// Whether the body is a chat completion with at least one choice.
    pub is_completion: bool,
}

/// The outcome that a complete HTTP answer stands for.
pub fn classify(answer: AnswerFacts<'_>) -> Outcome {
    match answer.status {
        200..=299 if answer.is_completion => Outcome::Success,
        401 => Outcome::Unauthorized,
        402 | 403 => Outcome::Forbidden,
        // The gateway chose URL and model, so a 404 of any code is the upstream's, not the caller's.
        404 => Outcome::ModelNotFound,
        408 | 504 => Outcome::Timeout,
        429 if answer.error_code == Some("insufficient_quota") => Outcome::QuotaExhausted,
        429 => Outcome::RateLimited,
        400..=499 => Outcome::BadRequest,
        503 | 529 => Outcome::Overloaded,
        500..=599 => Outcome::ServerError,
        _ => Outcome::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, code: Option<&str>, is_completion: bool) -> Outcome {
        classify(AnswerFacts {
            status,
            error_code: code,
            is_completion,
        })
    }

    #[test]
    fn every_status_has_its_class() {
        let table = [
            (200, Outcome::Malformed),
            (204, Outcome::Malformed),
            (101, Outcome::Malformed),
            (302, Outcome::Malformed),
            (400, Outcome::BadRequest),
            (401, Outcome::Unauthorized),
            (402, Outcome::Forbidden),
            (403, Outcome::Forbidden),
            (404, Outcome::ModelNotFound),
            (408, Outcome::Timeout),
            (413, Outcome::BadRequest),
            (422, Outcome::BadRequest),
            (429, Outcome::RateLimited),
            (500, Outcome::ServerError),
            (502, Outcome::ServerError),
            (503, Outcome::Overloaded),
            (504, Outcome::Timeout),
            (529, Outcome::Overloaded),
            (600, Outcome::Malformed),
        ];
        for (status, outcome) in table {
            assert_eq!(of(status, None, false), outcome, "{status}");
        }
        assert_eq!(of(200, None, true), Outcome::Success);
        assert_eq!(
            of(429, Some("insufficient_quota"), false),
            Outcome::QuotaExhausted
        );
        assert_eq!(
            of(500, None, true),
            Outcome::ServerError,
            "a body does not heal a status"
        );
    }

    #[test]
    fn hopeless_answers_are_never_retried() {
        for outcome in [
            Outcome::Unauthorized,
            Outcome::Forbidden,
            Outcome::ModelNotFound,
            Outcome::QuotaExhausted,
            Outcome::BadRequest,
            Outcome::Malformed,
        ] {
            assert!(!outcome.is_retryable(), "{outcome:?}");
        }
    }

    #[test]
    fn names_and_positions_are_one_to_one() {
        for (i, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome.index(), i);
            assert_eq!(Outcome::from_name(outcome.name()), Some(outcome));
            let json = serde_json::to_string(&outcome).unwrap();
            assert_eq!(json, format!("\"{}\"", outcome.name()));
        }
    }
}
