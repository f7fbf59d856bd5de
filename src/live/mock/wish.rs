//! Errors that a request asks for by itself, in the header `X-Return-Error`: for tests that want one answer to
//! fail and no schedule for it.

use std::borrow::Cow;
use std::time::Duration;

use crate::upstream::plan::{Act, Refusal, ResponsePlan};

/// The header.
pub const HEADER: &str = "x-return-error";

/// How fast such an error comes: as errors of faults do.
const LATENCY: Duration = Duration::from_millis(5);

/// The answer to a request that wants this error, or why it cannot have it.
pub fn answer(wish: &str) -> ResponsePlan {
    let status = wish.trim().parse().ok().filter(|s| (400..=599).contains(s));
    let refusal = match status {
        Some(status) => refusal(status),
        None => {
            // It came as a header, so it has no line breaks.
            let head: String = wish.chars().take(60).collect();
            Refusal {
                message: format!("X-Return-Error: `{head}` is no status from 400 to 599, like 429")
                    .into(),
                ..refusal(400)
            }
        }
    };
    ResponsePlan {
        after: LATENCY,
        act: Act::Refuse(refusal),
    }
}

fn refusal(status: u16) -> Refusal {
    let (kind, code) = match status {
        401 => ("invalid_request_error", "invalid_api_key"),
        403 => ("invalid_request_error", "permission_denied"),
        404 => ("invalid_request_error", "model_not_found"),
        429 => ("rate_limit_error", "rate_limit_exceeded"),
        503 | 529 => ("server_error", "overloaded"),
        500..=599 => ("server_error", "server_error"),
        _ => ("invalid_request_error", "invalid_request"),
    };
    Refusal {
        status,
        kind,
        code,
        message: Cow::Borrowed("The request asked for this error by X-Return-Error"),
        wish: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::outcome::Outcome;

    #[test]
    fn both_ways_to_be_overloaded_say_so() {
        for status in ["503", "529"] {
            let Act::Refuse(refusal) = answer(status).act else {
                panic!("{status} is an error");
            };
            assert_eq!(refusal.code, "overloaded", "{status}");
        }
    }

    #[test]
    fn a_status_is_returned_and_anything_else_is_explained() {
        for (wish, outcome) in [
            ("401", Outcome::Unauthorized),
            ("404", Outcome::ModelNotFound),
            ("429", Outcome::RateLimited),
            (" 500 ", Outcome::ServerError),
            ("503", Outcome::Overloaded),
            ("200", Outcome::BadRequest),
            ("600", Outcome::BadRequest),
            ("rate_limit", Outcome::BadRequest),
        ] {
            assert_eq!(answer(wish).outcome(), Some(outcome), "{wish}");
        }
    }
}
