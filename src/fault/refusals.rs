//! What upstreams say when they refuse, in OpenAI's envelope: status, type, code and words.

use std::borrow::Cow;

use crate::upstream::plan::Refusal;
use crate::upstream::wish::Wish;

fn refusal(status: u16, kind: &'static str, code: &'static str, message: &'static str) -> Refusal {
    Refusal {
        status,
        kind,
        code,
        message: Cow::Borrowed(message),
        wish: None,
    }
}

/// The request is wrong, whoever reads it.
fn invalid(status: u16, code: &'static str, message: &'static str) -> Refusal {
    refusal(status, "invalid_request_error", code, message)
}

pub(super) fn unauthorized() -> Refusal {
    invalid(401, "invalid_api_key", "Invalid API key provided")
}

pub(super) fn forbidden(status: u16) -> Refusal {
    let (code, message) = match status {
        402 => ("insufficient_balance", "The account has no balance left"),
        _ => ("permission_denied", "The key may not use this model"),
    };
    refusal(status, "permission_error", code, message)
}

pub(super) fn request_timeout() -> Refusal {
    let message = "The request took too long";
    refusal(408, "timeout_error", "request_timeout", message)
}

pub(super) fn rate_limited(wish: Option<Wish>) -> Refusal {
    let message = "Rate limit exceeded";
    Refusal {
        wish,
        ..refusal(429, "rate_limit_error", "rate_limit_exceeded", message)
    }
}

pub(super) fn insufficient_quota() -> Refusal {
    let message = "You exceeded your current quota";
    refusal(429, "insufficient_quota", "insufficient_quota", message)
}

pub(super) fn model_not_found() -> Refusal {
    invalid(404, "model_not_found", "The model does not exist")
}

pub(super) fn bad_request(status: u16) -> Refusal {
    let (code, message) = match status {
        413 => ("request_too_large", "The request is too large"),
        422 => ("unprocessable", "The request cannot be processed"),
        _ => ("invalid_request", "The request is invalid"),
    };
    invalid(status, code, message)
}

pub(super) fn context_length() -> Refusal {
    let message = "This model's maximum context length is exceeded";
    invalid(400, "context_length_exceeded", message)
}

pub(super) fn content_filter() -> Refusal {
    let message = "The prompt was filtered";
    invalid(400, "content_filter", message)
}

pub(super) fn overloaded(status: u16, wish: Option<Wish>) -> Refusal {
    let message = "The server is overloaded";
    Refusal {
        wish,
        ..refusal(status, "overloaded_error", "overloaded", message)
    }
}

pub(super) fn server_error(status: u16) -> Refusal {
    let message = "The server had an error";
    refusal(status, "server_error", "server_error", message)
}
