//! The kinds of faults, and what each does to a planned response.

use std::borrow::Cow;
use std::time::Duration;

use crate::upstream::plan::{Act, Refusal, ResponsePlan};

/// How fast a mock answers with an error, unless a fault says otherwise.
const ERROR_LATENCY: Duration = Duration::from_millis(5);

/// One kind of fault, with its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FaultKind {
    /// 401 `invalid_api_key`.
    Unauthorized,
    /// Silence: the request is taken and never answered.
    Timeout,
    /// 429 `rate_limit_exceeded`.
    RateLimited {
        /// The `Retry-After` header.
        retry_after: Option<Duration>,
    },
    /// 404 `model_not_found`.
    ModelNotFound,
    /// A 5xx.
    ServerError {
        /// 500 to 599.
        status: u16,
    },
    /// The connection is reset instead of an answer.
    Reset,
    /// The answer comes this much later.
    Slow {
        /// Added to the latency.
        delay: Duration,
    },
}

impl FaultKind {
    /// The names of all kinds, as written in files.
    pub const NAMES: [&'static str; 7] = [
        "unauthorized",
        "timeout",
        "rate_limited",
        "model_not_found",
        "server_error",
        "reset",
        "slow",
    ];

    /// The name in files.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Timeout => "timeout",
            Self::RateLimited { .. } => "rate_limited",
            Self::ModelNotFound => "model_not_found",
            Self::ServerError { .. } => "server_error",
            Self::Reset => "reset",
            Self::Slow { .. } => "slow",
        }
    }

    /// Can a server that sends only whole HTTP replies play this?
    pub fn is_whole_reply(&self) -> bool {
        !matches!(self, Self::Reset)
    }

    /// What becomes of a planned response.
    pub fn apply(&self, plan: ResponsePlan) -> ResponsePlan {
        let refuse = |status, kind, code, message, retry_after| ResponsePlan {
            after: ERROR_LATENCY,
            act: Act::Refuse(Refusal {
                status,
                kind,
                code,
                message: Cow::Borrowed(message),
                retry_after,
            }),
        };
        match *self {
            Self::Unauthorized => refuse(
                401,
                "invalid_request_error",
                "invalid_api_key",
                "Invalid API key provided",
                None,
            ),
            Self::RateLimited { retry_after } => refuse(
                429,
                "rate_limit_error",
                "rate_limit_exceeded",
                "Rate limit exceeded",
                retry_after,
            ),
            Self::ModelNotFound => refuse(
                404,
                "invalid_request_error",
                "model_not_found",
                "The model does not exist",
                None,
            ),
            Self::ServerError { status } => refuse(
                status,
                "server_error",
                "server_error",
                "The server had an error",
                None,
            ),
            Self::Reset => ResponsePlan {
                after: ERROR_LATENCY,
                act: Act::Reset,
            },
            Self::Timeout => ResponsePlan {
                after: Duration::ZERO,
                act: Act::Silence,
            },
            Self::Slow { delay } => ResponsePlan {
                after: plan.after.saturating_add(delay),
                act: plan.act,
            },
        }
    }
}
