//! What the gateway itself answers when no upstream answer can be passed on.
//!
//! Both engines use this page, so a failed request looks the same to a virtual and a live client.

use super::openai::ErrorReply;
use super::outcome::{AnswerFacts, Outcome, classify};

/// The error for a request whose last attempt ended with `last`. `causes` names every failed
/// version with its outcome, in the order they were tried.
///
/// The last failure's class goes on to the caller, so that clients raise the error they have for it:
/// a refused key is 401, a missing model 404, a rate limit 429. That the trouble lies between the gateway
/// and its upstreams, and not in the caller's own key or model, is said by the type `upstream_error`,
/// by the code, and by the message, which names every cause.
pub fn failure(last: Outcome, causes: &[(&str, Outcome)]) -> ErrorReply {
    let (status, code) = status_and_code(last);
    ErrorReply {
        status,
        message: message(last, causes),
        kind: kind(last, causes),
        code,
    }
}

/// Whose trouble it is. What the gateway itself ended before any upstream failed is its own.
fn kind(last: Outcome, causes: &[(&str, Outcome)]) -> &'static str {
    let is_own = matches!(
        last,
        Outcome::Limited | Outcome::Shutdown | Outcome::Deadline
    );
    match is_own && causes.is_empty() {
        true => "gateway_error",
        false => "upstream_error",
    }
}

/// What a client makes of [`failure`]: once its stream had begun, of the error event that ends it.
pub fn failure_outcome(last: Outcome, is_begun: bool) -> Outcome {
    if is_begun {
        return Outcome::StreamError;
    }
    let (status, code) = status_and_code(last);
    classify(AnswerFacts {
        status,
        error_code: Some(code),
        is_completion: false,
    })
}

fn status_and_code(last: Outcome) -> (u16, &'static str) {
    match last {
        Outcome::Unauthorized => (401, "upstream_unauthorized"),
        Outcome::Forbidden => (403, "upstream_forbidden"),
        Outcome::ModelNotFound => (404, "upstream_model_not_found"),
        Outcome::RateLimited => (429, "rate_limit_exceeded"),
        Outcome::QuotaExhausted => (429, "insufficient_quota"),
        Outcome::BadRequest => (400, "invalid_request"),
        Outcome::ServerError => (502, "upstream_server_error"),
        Outcome::Overloaded => (503, "upstream_overloaded"),
        Outcome::Timeout => (504, "upstream_timeout"),
        Outcome::Deadline => (504, "deadline_exceeded"),
        Outcome::Limited => (429, "gateway_rate_limited"),
        Outcome::Shutdown => (503, "shutting_down"),
        Outcome::Connect => (502, "upstream_unreachable"),
        Outcome::Reset => (502, "upstream_reset"),
        Outcome::Truncated => (502, "upstream_truncated"),
        Outcome::StreamError => (502, "upstream_stream_error"),
        Outcome::Malformed => (502, "upstream_malformed"),
        // Nobody reads an answer to a caller who left; a success is passed on, never composed.
        Outcome::ClientGone | Outcome::Success => (500, "internal_error"),
    }
}

fn message(last: Outcome, causes: &[(&str, Outcome)]) -> String {
    let causes: Vec<String> = causes
        .iter()
        .map(|(version, outcome)| format!("{version}: {}", outcome.name()))
        .collect();
    match (last, causes.as_slice()) {
        (Outcome::Deadline, []) => "the request's deadline passed".to_owned(),
        (Outcome::Limited, []) => {
            "the gateway's own rate limit: no slot came free in time".to_owned()
        }
        (Outcome::Shutdown, []) => "the gateway is shutting down".to_owned(),
        (Outcome::Deadline, _) => format!(
            "the request's deadline passed; failed before: {}",
            causes.join("; ")
        ),
        (_, [single]) => format!("the upstream failed: {single}"),
        _ => format!("every upstream failed: {}", causes.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateways_own_limit_is_not_the_upstreams() {
        let own = failure(Outcome::Limited, &[]);
        assert_eq!((own.status, own.kind), (429, "gateway_error"));
        let after = failure(Outcome::Deadline, &[("v1", Outcome::Timeout)]);
        assert_eq!(after.kind, "upstream_error");
    }

    #[test]
    fn both_causes_are_named() {
        let reply = failure(
            Outcome::ServerError,
            &[("v2", Outcome::Unauthorized), ("v1", Outcome::ServerError)],
        );
        assert_eq!(reply.status, 502);
        assert_eq!(
            reply.message,
            "every upstream failed: v2: unauthorized; v1: server_error"
        );
    }

    #[test]
    fn a_failure_keeps_its_class_on_its_way_to_the_caller() {
        for outcome in Outcome::ALL {
            let seen = failure_outcome(outcome, false);
            let expected = match outcome {
                // What broke behind the gateway is a failure of the gateway's, whatever it was.
                Outcome::Connect
                | Outcome::Reset
                | Outcome::Truncated
                | Outcome::StreamError
                | Outcome::Malformed
                | Outcome::ClientGone
                | Outcome::Success => Outcome::ServerError,
                Outcome::Deadline => Outcome::Timeout,
                Outcome::Limited => Outcome::RateLimited,
                Outcome::Shutdown => Outcome::Overloaded,
                same => same,
            };
            assert_eq!(seen, expected, "{outcome:?}");
        }
    }

    #[test]
    fn an_upstreams_refusal_is_told_from_one_of_the_gateways_own() {
        let own = ["invalid_api_key", "model_not_found", "not_found"];
        for outcome in [Outcome::Unauthorized, Outcome::ModelNotFound] {
            let reply = failure(outcome, &[("v1", outcome)]);
            assert_eq!(reply.kind, "upstream_error");
            assert!(!own.contains(&reply.code), "{}", reply.code);
            assert!(reply.code.starts_with("upstream_"), "{}", reply.code);
        }
    }
}
