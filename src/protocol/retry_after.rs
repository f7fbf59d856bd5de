//! How long an upstream asks to wait, wherever and in whatever form it says so.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

/// The places where an answer may ask for a wait.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hints<'a> {
    /// The `retry-after-ms` header: milliseconds.
    pub retry_after_ms: Option<&'a str>,
    /// The `Retry-After` header: seconds, or an HTTP date.
    pub retry_after: Option<&'a str>,
    /// The body. If it is JSON, its `error.retry_after`, or else its `retry_after`: a number of
    /// seconds, or a string like the header's.
    pub body: &'a [u8],
}

impl Hints<'_> {
    /// The wait that is asked for. `unix_now` is the time since 1970, for dates; without it, they
    /// say nothing.
    ///
    /// The first of these that says something counts: `retry-after-ms`, being the finer header;
    /// `Retry-After`; `error.retry_after` of the body; its `retry_after`. Headers come before bodies
    /// because whoever stands before the model, and limits as well, writes headers.
    ///
    /// A wait of 0, and a date that has passed, say that no wait is needed. What cannot be meant
    /// says nothing: negative waits, those of more than a year, and what is no number and no date.
    pub fn wait(&self, unix_now: Option<Duration>) -> Option<Duration> {
        let millis = self.retry_after_ms.and_then(|ms| number(ms, 1e-3));
        let header = || self.retry_after.and_then(|text| text_wait(text, unix_now));
        millis.or_else(header).or_else(|| self.body_wait(unix_now))
    }

    fn body_wait(&self, unix_now: Option<Duration>) -> Option<Duration> {
        let body: Value = serde_json::from_slice(self.body).ok()?;
        let inner = body.get("error").and_then(|error| error.get("retry_after"));
        let places = [inner, body.get("retry_after")].into_iter().flatten();
        places
            .filter_map(|value| value_wait(value, unix_now))
            .next()
    }
}

fn value_wait(value: &Value, unix_now: Option<Duration>) -> Option<Duration> {
    match value {
        Value::Number(seconds) => sensible(seconds.as_f64()?),
        Value::String(text) => text_wait(text, unix_now),
        _ => None,
    }
}

fn text_wait(text: &str, unix_now: Option<Duration>) -> Option<Duration> {
    number(text, 1.0).or_else(|| date(text, unix_now?))
}

/// A number of units of so many seconds; fractions are allowed.
fn number(text: &str, unit: f64) -> Option<Duration> {
    sensible(text.trim().parse::<f64>().ok()? * unit)
}

/// What is left until an HTTP date, in any of its three forms (RFC 9110, section 5.6.7).
fn date(text: &str, unix_now: Duration) -> Option<Duration> {
    let date = httpdate::parse_http_date(text.trim()).ok()?;
    let since_1970 = date.duration_since(UNIX_EPOCH).ok()?;
    let left = since_1970.saturating_sub(unix_now);
    (left <= YEAR).then_some(left)
}

/// No wait is longer than this.
const YEAR: Duration = Duration::from_secs(366 * 86_400);

fn sensible(seconds: f64) -> Option<Duration> {
    let is_sensible = (0.0..=YEAR.as_secs_f64()).contains(&seconds);
    is_sensible.then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Sunday, 22 November 2026, 07:00:00.25 UTC.
    const NOW: Duration = Duration::from_millis(1_795_330_800_250);

    fn ms(n: u64) -> Option<Duration> {
        Some(Duration::from_millis(n))
    }

    fn header(text: &str) -> Option<Duration> {
        let hints = Hints {
            retry_after: Some(text),
            ..Hints::default()
        };
        hints.wait(Some(NOW))
    }

    fn body(text: &str) -> Option<Duration> {
        let body = text.as_bytes();
        let hints = Hints {
            body,
            ..Hints::default()
        };
        hints.wait(Some(NOW))
    }

    #[test]
    fn the_header_holds_seconds() {
        for (text, wait) in [
            ("5", ms(5_000)),
            (" 0 ", ms(0)),
            ("-0", ms(0)),
            ("1.5", ms(1_500)),
            ("31622400", ms(31_622_400_000)),
            ("31622401", None),
            ("-1", None),
            ("1e300", None),
            ("NaN", None),
            ("inf", None),
            ("", None),
            ("soon", None),
            ("5 s", None),
        ] {
            assert_eq!(header(text), wait, "{text:?}");
        }
    }

    #[test]
    fn the_header_holds_a_date_in_three_forms() {
        for (text, wait) in [
            ("Sun, 22 Nov 2026 07:00:30 GMT", ms(29_750)),
            (" Sun, 22 Nov 2026 07:00:30 GMT ", ms(29_750)),
            ("Sunday, 22-Nov-26 07:00:30 GMT", ms(29_750)),
            ("Sun Nov 22 07:00:30 2026", ms(29_750)),
            ("Sun, 22 Nov 2026 07:00:00 GMT", ms(0)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", ms(0)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", None),
            ("Sun, 22 Nov 2026 07:00:30 CET", None),
            ("2026-11-22T07:00:30Z", None),
        ] {
            assert_eq!(header(text), wait, "{text:?}");
        }
        let hints = Hints {
            retry_after: Some("Sun, 22 Nov 2026 07:00:30 GMT"),
            ..Hints::default()
        };
        assert_eq!(hints.wait(None), None, "nobody knows what time it is");
    }

    #[test]
    fn the_body_holds_numbers_and_strings() {
        for (text, wait) in [
            (r#"{"error":{"retry_after":5}}"#, ms(5_000)),
            (r#"{"error":{"retry_after":0}}"#, ms(0)),
            (r#"{"error":{"retry_after":"2.5"}}"#, ms(2_500)),
            (
                r#"{"error":{"retry_after":"Sun, 22 Nov 2026 07:00:30 GMT"}}"#,
                ms(29_750),
            ),
            (r#"{"retry_after":7}"#, ms(7_000)),
            (r#"{"retry_after":7,"error":{"retry_after":5}}"#, ms(5_000)),
            (r#"{"retry_after":7,"error":{"retry_after":-5}}"#, ms(7_000)),
            (r#"{"retry_after":7,"error":"busy"}"#, ms(7_000)),
            (r#"{"error":{"retry_after":1e12}}"#, None),
            (r#"{"error":{"retry_after":-1}}"#, None),
            (r#"{"error":{"retry_after":null}}"#, None),
            (r#"{"error":{"retry_after":[5]}}"#, None),
            (r#"{"error":{"retry_after":true}}"#, None),
            (r#"{"error":{}}"#, None),
            ("[5]", None),
            ("busy", None),
            ("", None),
        ] {
            assert_eq!(body(text), wait, "{text:?}");
        }
    }

    #[test]
    fn the_first_that_says_something_counts() {
        let hints = |retry_after_ms, retry_after| Hints {
            retry_after_ms,
            retry_after,
            body: br#"{"error":{"retry_after":9}}"#,
        };
        for (finer, coarser, wait) in [
            (Some("250"), Some("5"), ms(250)),
            (Some("0"), Some("5"), ms(0)),
            (Some("x"), Some("5"), ms(5_000)),
            (Some("-1"), Some("5"), ms(5_000)),
            (None, Some("5"), ms(5_000)),
            (None, Some("-5"), ms(9_000)),
            (Some("1e99"), Some("soon"), ms(9_000)),
            (None, None, ms(9_000)),
        ] {
            let found = hints(finer, coarser).wait(Some(NOW));
            assert_eq!(found, wait, "{finer:?} {coarser:?}");
        }
        assert_eq!(Hints::default().wait(Some(NOW)), None);
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<f64>().prop_map(|x| x.to_string()),
            any::<i64>().prop_map(|n| n.to_string()),
            "[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT",
            "(Sun|Mon), [0-3][0-9] (Jan|Feb|Dec) [0-9]{4} [0-2][0-9]:[0-5][0-9]:[0-6][0-9] GMT",
            ".{0,20}",
        ]
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic_or_wait_for_ever(
            finer in prop::option::of(text()),
            coarser in prop::option::of(text()),
            inner in text(),
            bytes in prop::collection::vec(any::<u8>(), 0..40),
            now in prop::option::of(any::<u64>().prop_map(Duration::from_nanos)),
            is_json in any::<bool>(),
        ) {
            let json = serde_json::json!({"error": {"retry_after": inner}}).to_string();
            let hints = Hints {
                retry_after_ms: finer.as_deref(),
                retry_after: coarser.as_deref(),
                body: if is_json { json.as_bytes() } else { &bytes },
            };
            let wait = hints.wait(now);
            prop_assert!(wait.is_none_or(|wait| wait <= YEAR));
        }

        #[test]
        fn every_form_of_a_wait_says_the_same(seconds in 0..30_000_000_u64) {
            let wait = Some(Duration::from_secs(seconds));
            let whole = Duration::from_secs(NOW.as_secs());
            let date = httpdate::fmt_http_date(UNIX_EPOCH + whole + Duration::from_secs(seconds));
            for text in [seconds.to_string(), date] {
                let hints = Hints { retry_after: Some(&text), ..Hints::default() };
                prop_assert_eq!(hints.wait(Some(whole)), wait);
            }
            for json in [
                format!("{{\"retry_after\":{seconds}}}"),
                format!("{{\"error\":{{\"retry_after\":\"{seconds}\"}}}}"),
            ] {
                prop_assert_eq!(body(&json), wait);
            }
        }
    }
}
