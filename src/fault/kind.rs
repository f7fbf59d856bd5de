//! The kinds of faults, and what each does to a planned response.

use std::borrow::Cow;
use std::time::Duration;

use crate::upstream::plan::{Act, Refusal, ResponsePlan};
use crate::upstream::stream::{Breakage, Ending, StreamPlan};

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
    /// A stream breaks after so many tokens. Answers that are no streams are left alone.
    Stream {
        /// How.
        how: Breakage,
        /// Tokens that come before.
        after: u32,
    },
    /// The answer comes this much later.
    Slow {
        /// Added to the latency.
        delay: Duration,
    },
}

impl FaultKind {
    /// The names of all kinds, as written in files.
    pub const NAMES: [&'static str; 17] = [
        "unauthorized",
        "timeout",
        "rate_limited",
        "model_not_found",
        "server_error",
        "reset",
        "slow",
        "stream_close",
        "stream_cut",
        "stream_reset",
        "stream_mid_character",
        "stream_mid_string",
        "stream_stall",
        "stream_no_done",
        "stream_error",
        "stream_malformed",
        "stream_duplicate",
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
            Self::Stream { how, .. } => how.name(),
        }
    }

    /// Can a server that sends only whole HTTP replies play this?
    pub fn is_whole_reply(&self) -> bool {
        !matches!(self, Self::Reset | Self::Stream { .. })
    }

    /// Can it happen to this response at all?
    pub fn concerns(&self, plan: &ResponsePlan) -> bool {
        !matches!(self, Self::Stream { .. }) || matches!(plan.act, Act::Stream(_))
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
            Self::Stream { how, after } => match plan.act {
                Act::Stream(stream) => ResponsePlan {
                    after: plan.after,
                    act: Act::Stream(StreamPlan {
                        ending: Ending::Broken { after, how },
                        ..stream
                    }),
                },
                act => ResponsePlan { act, ..plan },
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
