//! How long an upstream asks to wait.

use std::time::Duration;

/// The wait that the `Retry-After` and `retry-after-ms` headers ask for.
///
/// `retry-after-ms` wins, being the finer one. Seconds may carry a fraction. Negative, absurd
/// (over a year) and unreadable values say nothing and give `None`; so does an HTTP date, which
/// only a clock could turn into a wait.
pub fn parse(retry_after: Option<&str>, retry_after_ms: Option<&str>) -> Option<Duration> {
    let from_millis = retry_after_ms.and_then(|ms| seconds(ms, 1e-3));
    from_millis.or_else(|| retry_after.and_then(|s| seconds(s, 1.0)))
}

fn seconds(text: &str, unit: f64) -> Option<Duration> {
    const YEAR: f64 = 366.0 * 86_400.0;
    let value = text.trim().parse::<f64>().ok()? * unit;
    (0.0..=YEAR)
        .contains(&value)
        .then(|| Duration::from_secs_f64(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_milliseconds_and_nonsense() {
        let s = Duration::from_secs;
        assert_eq!(parse(Some("5"), None), Some(s(5)));
        assert_eq!(parse(Some(" 0 "), None), Some(s(0)));
        assert_eq!(parse(Some("1.5"), None), Some(Duration::from_millis(1_500)));
        assert_eq!(
            parse(Some("5"), Some("250")),
            Some(Duration::from_millis(250))
        );
        assert_eq!(
            parse(Some("5"), Some("x")),
            Some(s(5)),
            "an unreadable finer value"
        );
        for odd in [
            "-1",
            "1e300",
            "NaN",
            "inf",
            "",
            "soon",
            "Wed, 21 Oct 2026 07:28:00 GMT",
        ] {
            assert_eq!(parse(Some(odd), None), None, "{odd:?}");
        }
    }
}
