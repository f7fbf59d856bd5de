//! The kinds of faults, and what each does to a planned response.

use std::time::Duration;

use crate::fault::refusals;
use crate::upstream::odd::{Form, Odd, Shape};
use crate::upstream::plan::{Act, Refusal, ResponsePlan};
use crate::upstream::stream::{Breakage, Ending, Manner, StreamPlan};
use crate::upstream::wish::Wish;

/// How fast a mock answers with an error, unless a fault says otherwise.
pub const ERROR_LATENCY: Duration = Duration::from_millis(5);

/// How fast a connection is refused.
const REFUSED_LATENCY: Duration = Duration::from_millis(1);

/// One kind of fault, with its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FaultKind {
    /// 401 `invalid_api_key`.
    Unauthorized,
    /// 402 or 403.
    Forbidden {
        /// One of these.
        status: u16,
    },
    /// Silence: the request is taken and never answered.
    Timeout,
    /// 408: the upstream says that it was too slow.
    RequestTimeout,
    /// 429 `rate_limit_exceeded`.
    RateLimited {
        /// The wait that it asks for.
        retry_after: Option<Wish>,
    },
    /// 429 `insufficient_quota`.
    InsufficientQuota,
    /// 404 `model_not_found`.
    ModelNotFound,
    /// Another 4xx: the request is refused on its own merits.
    BadRequest {
        /// 400, 405 to 499 but for those with a meaning of their own.
        status: u16,
    },
    /// 400 `context_length_exceeded`.
    ContextLength,
    /// 400 `content_filter`, or an answer that says so.
    ContentFilter {
        /// A 200 with `finish_reason: content_filter` instead of a refusal.
        as_answer: bool,
    },
    /// 503 or 529.
    Overloaded {
        /// One of these.
        status: u16,
        /// The wait that it asks for.
        retry_after: Option<Wish>,
    },
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
        /// If none do: is it said before that who speaks?
        has_role: bool,
    },
    /// The connection is closed in order instead of an answer.
    Close,
    /// The answer comes this much later.
    Slow {
        /// Added to the latency.
        delay: Duration,
    },
    /// A 200 that is no JSON.
    Malformed,
    /// A 200 without choices.
    EmptyChoices,
    /// A completion that says it is `text/html`.
    WrongContentType,
    /// A completion in another shape.
    SchemaDrift {
        /// Which.
        shape: Shape,
    },
    /// A body that ends before its announced length.
    Cut,
    /// An announced length that ends before the body.
    WrongContentLength,
    /// A body that comes bit by bit.
    SlowBody {
        /// From its first byte to its last.
        over: Duration,
    },
    /// A body larger than anybody reads.
    HugeBody,
    /// 3xx to somewhere else.
    Redirect {
        /// 300 to 399.
        status: u16,
    },
    /// Nobody listens.
    Refused,
    /// Nobody who can be believed: TLS fails.
    TlsFailure,
}

impl FaultKind {
    /// The names of all kinds, as written in files.
    pub const NAMES: [&'static str; 37] = [
        "unauthorized",
        "forbidden",
        "timeout",
        "request_timeout",
        "rate_limited",
        "insufficient_quota",
        "model_not_found",
        "bad_request",
        "context_length",
        "content_filter",
        "overloaded",
        "server_error",
        "reset",
        "close",
        "slow",
        "malformed",
        "empty_choices",
        "wrong_content_type",
        "schema_drift",
        "cut",
        "wrong_content_length",
        "slow_body",
        "huge_body",
        "redirect",
        "refused",
        "tls_failure",
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
        "stream_splice",
    ];

    /// Other names that are understood: those of llm-d-inference-sim, where they differ.
    pub const ALIASES: [(&'static str, &'static str); 3] = [
        ("invalid_api_key", "unauthorized"),
        ("rate_limit", "rate_limited"),
        ("invalid_request", "bad_request"),
    ];

    /// The name in files.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Forbidden { .. } => "forbidden",
            Self::Timeout => "timeout",
            Self::RequestTimeout => "request_timeout",
            Self::RateLimited { .. } => "rate_limited",
            Self::InsufficientQuota => "insufficient_quota",
            Self::ModelNotFound => "model_not_found",
            Self::BadRequest { .. } => "bad_request",
            Self::ContextLength => "context_length",
            Self::ContentFilter { .. } => "content_filter",
            Self::Overloaded { .. } => "overloaded",
            Self::ServerError { .. } => "server_error",
            Self::Reset => "reset",
            Self::Close => "close",
            Self::Slow { .. } => "slow",
            Self::Stream { how, .. } => how.name(),
            Self::Malformed => "malformed",
            Self::EmptyChoices => "empty_choices",
            Self::WrongContentType => "wrong_content_type",
            Self::SchemaDrift { .. } => "schema_drift",
            Self::Cut => "cut",
            Self::WrongContentLength => "wrong_content_length",
            Self::SlowBody { .. } => "slow_body",
            Self::HugeBody => "huge_body",
            Self::Redirect { .. } => "redirect",
            Self::Refused => "refused",
            Self::TlsFailure => "tls_failure",
        }
    }

    /// Can a server that sends only whole HTTP replies play this?
    pub fn is_whole_reply(&self) -> bool {
        match self {
            Self::Reset | Self::Close => false,
            Self::Stream { .. } => false,
            _ => !self.keeps_out() && self.form().is_none_or(Odd::is_whole_reply),
        }
    }

    /// Can it happen to this response at all? Some are of whole answers, some of streams.
    pub fn concerns(&self, plan: &ResponsePlan) -> bool {
        match self {
            Self::Stream { .. } => matches!(plan.act, Act::Stream(_)),
            // A stream of a real upstream is passed on event by event: it can be broken, and not made another.
            Self::ContentFilter { as_answer: true }
            | Self::SchemaDrift { .. }
            | Self::SlowBody { .. } => plan.act != Act::Stream(StreamPlan::EMPTY),
            _ => true,
        }
    }

    /// What becomes of a stream that begins all the same.
    fn of_stream(&self, stream: StreamPlan) -> Option<StreamPlan> {
        let broken = |after, how, has_role| StreamPlan {
            ending: Ending::Broken {
                after,
                how,
                has_role,
            },
            ..stream
        };
        let in_manner = |manner| StreamPlan { manner, ..stream };
        Some(match *self {
            Self::Stream {
                how,
                after,
                has_role,
            } => broken(after, how, has_role),
            Self::EmptyChoices => broken(0, Breakage::NoChoices, false),
            Self::ContentFilter { as_answer: true } => in_manner(Manner::Filtered),
            Self::SchemaDrift { shape } => in_manner(Manner::Drifted(shape)),
            Self::SlowBody { over } => StreamPlan {
                gap: stream
                    .gap
                    .max(over / stream.chunks().max(2).saturating_sub(1)),
                ..stream
            },
            _ => return None,
        })
    }

    /// Does it leave an answer as it is, and only make it later?
    pub fn only_delays(&self) -> bool {
        matches!(self, Self::Slow { .. } | Self::SlowBody { .. })
    }

    /// Does nobody get a connection? Then it cannot be one request's fate: a port is open or it is not.
    pub fn keeps_out(&self) -> bool {
        matches!(self, Self::Refused | Self::TlsFailure)
    }

    /// How an answer is odd that comes all the same.
    fn form(&self) -> Option<Form> {
        Some(match *self {
            Self::ContentFilter { as_answer: true } => Form::Filtered,
            Self::Malformed => Form::NotJson,
            Self::EmptyChoices => Form::NoChoices,
            Self::WrongContentType => Form::Html,
            Self::SchemaDrift { shape } => Form::Drifted(shape),
            Self::Cut => Form::Cut,
            Self::WrongContentLength => Form::Overrun,
            Self::SlowBody { over } => Form::Drip { over },
            Self::HugeBody => Form::Huge,
            Self::Redirect { status } => Form::Redirect { status },
            _ => return None,
        })
    }

    /// The refusal that it is, if it is one.
    fn refusal(&self) -> Option<Refusal> {
        Some(match *self {
            Self::Unauthorized => refusals::unauthorized(),
            Self::Forbidden { status } => refusals::forbidden(status),
            Self::RequestTimeout => refusals::request_timeout(),
            Self::RateLimited { retry_after } => refusals::rate_limited(retry_after),
            Self::InsufficientQuota => refusals::insufficient_quota(),
            Self::ModelNotFound => refusals::model_not_found(),
            Self::BadRequest { status } => refusals::bad_request(status),
            Self::ContextLength => refusals::context_length(),
            Self::ContentFilter { as_answer: false } => refusals::content_filter(),
            Self::Overloaded {
                status,
                retry_after,
            } => refusals::overloaded(status, retry_after),
            Self::ServerError { status } => refusals::server_error(status),
            _ => return None,
        })
    }

    /// What becomes of a planned response.
    pub fn apply(&self, plan: ResponsePlan) -> ResponsePlan {
        let soon = |act| ResponsePlan {
            after: ERROR_LATENCY,
            act,
        };
        if let Some(refusal) = self.refusal() {
            return soon(Act::Refuse(refusal));
        }
        if let Act::Stream(stream) = plan.act
            && let Some(stream) = self.of_stream(stream)
        {
            return ResponsePlan {
                after: plan.after,
                act: Act::Stream(stream),
            };
        }
        // To who wants a stream, what is written for others is as odd as it is to them.
        if let Some(form) = self.form() {
            return odd(plan, form);
        }
        match *self {
            // Whole answers do not break like this.
            Self::Stream { .. } => plan,
            Self::Reset => soon(Act::Reset),
            Self::Close => soon(Act::Close),
            Self::Refused | Self::TlsFailure => ResponsePlan {
                after: REFUSED_LATENCY,
                act: Act::Unreachable,
            },
            Self::Slow { delay } => ResponsePlan {
                after: plan.after.saturating_add(delay),
                act: plan.act,
            },
            // Silence; everything else was seen to above.
            _ => ResponsePlan {
                after: Duration::ZERO,
                act: Act::Silence,
            },
        }
    }
}

/// The planned answer in another form. It takes as long as it would have taken, and what it takes to
/// send it bit by bit; only who is sent elsewhere is told so at once.
fn odd(plan: ResponsePlan, form: Form) -> ResponsePlan {
    let usage = plan.usage().unwrap_or_default();
    ResponsePlan {
        after: match form {
            Form::Redirect { .. } => ERROR_LATENCY,
            Form::Drip { over } => plan.after.saturating_add(over),
            _ => plan.after,
        },
        act: Act::Odd(Odd { form, usage }),
    }
}
