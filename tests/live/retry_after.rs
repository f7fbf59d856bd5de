//! The wait that an upstream asks for, in each of its forms, reaches the caller.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a date is a moment of the real clock"
)]

use std::time::{Duration, SystemTime};

use wiremock::ResponseTemplate;

use crate::upstreams::Scripted;

/// What the caller is told after a 429 of this form, in seconds.
fn told(headers: &[(&str, &str)], body: &str) -> Option<u64> {
    let mut answer = ResponseTemplate::new(429).set_body_raw(body, "application/json");
    for (name, value) in headers {
        answer = answer.insert_header(*name, *value);
    }
    let got = Scripted::new(answer).ask();
    assert_eq!(got.status, 429);
    assert_eq!(got.json()["error"]["code"], "rate_limit_exceeded");
    got.header("retry-after").map(|s| s.parse().unwrap())
}

#[test]
fn each_form_of_a_wait_is_understood() {
    // The seeds' own answer: the wait is in the body only.
    let seed = r#"{"error": {"message": "Rate limit exceeded for model gpt-4.1",
        "type": "rate_limit_error", "code": "rate_limit_exceeded", "retry_after": 5}}"#;
    assert_eq!(told(&[], seed), Some(5));
    assert_eq!(told(&[], r#"{"retry_after": "6"}"#), Some(6));
    assert_eq!(told(&[("retry-after", "7")], seed), Some(7));
    assert_eq!(
        told(&[("retry-after", "7"), ("retry-after-ms", "7100")], seed),
        Some(8),
        "whole seconds, not too early"
    );
    assert_eq!(told(&[("retry-after", "-1")], "{}"), None);
    assert_eq!(told(&[], "{}"), None);
}

#[test]
fn a_date_is_a_wait_from_now() {
    let in_a_minute = SystemTime::now() + Duration::from_secs(60);
    let date = httpdate::fmt_http_date(in_a_minute);
    let wait = told(&[("retry-after", &date)], "").expect("a wait");
    // Less what starting a gateway takes on a machine in trouble.
    assert!((20..=60).contains(&wait), "{wait}");
}
