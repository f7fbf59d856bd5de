//! How an upstream asks its caller to wait: in one of the forms that are met in the wild.

use std::time::{Duration, UNIX_EPOCH};

use crate::protocol::headers;

/// A wait that an answer asks for, and where it says so. What the other side makes of it is the
/// business of [`crate::protocol::retry_after`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// `Retry-After` in seconds.
    Seconds(Duration),
    /// `Retry-After` as an HTTP date, which knows whole seconds only: the first that is not too early for a reader a tenth of a
    /// second later.
    Date(Duration),
    /// `retry-after-ms`.
    Millis(Duration),
    /// `error.retry_after` in the body, in seconds.
    Body(Duration),
    /// `Retry-After: -5`, which cannot be meant.
    Negative,
    /// `Retry-After: 1000000000`, which cannot be meant.
    Absurd,
}

impl From<Duration> for Wish {
    fn from(wait: Duration) -> Self {
        Self::Seconds(wait)
    }
}

impl Wish {
    /// The wait that must be kept; none for what cannot be meant.
    pub fn wait(self) -> Option<Duration> {
        match self {
            Self::Seconds(wait) | Self::Date(wait) | Self::Millis(wait) | Self::Body(wait) => {
                Some(wait)
            }
            Self::Negative | Self::Absurd => None,
        }
    }

    /// The header that says so, when it is sent at this time since 1970; none for the body's word.
    pub fn header(self, unix_now: Duration) -> Option<(&'static str, String)> {
        let seconds = |text| Some((headers::RETRY_AFTER, text));
        match self {
            Self::Seconds(wait) => seconds(wait.as_secs().to_string()),
            Self::Date(wait) => {
                let read_at = unix_now.saturating_add(ON_THE_WAY);
                seconds(date(read_at.saturating_add(wait)))
            }
            Self::Millis(wait) => Some((headers::RETRY_AFTER_MS, wait.as_millis().to_string())),
            Self::Negative => seconds("-5".to_owned()),
            Self::Absurd => seconds("1000000000".to_owned()),
            Self::Body(_) => None,
        }
    }

    /// What the body says, in seconds.
    pub fn in_body(self) -> Option<f64> {
        match self {
            Self::Body(wait) => Some(wait.as_secs_f64()),
            _ => None,
        }
    }
}

/// A date does not wait for those who read it late: a busy machine takes this long, sometimes, to hand an answer over.
const ON_THE_WAY: Duration = Duration::from_millis(100);

/// The first date that is not before this time since 1970.
fn date(since_1970: Duration) -> String {
    let part = u64::from(since_1970.subsec_nanos() > 0);
    let whole = Duration::from_secs(since_1970.as_secs().saturating_add(part));
    // The last moment that a date can name is in the year 9999; files name no such wait.
    let last = Duration::from_secs(253_402_300_799);
    httpdate::fmt_http_date(UNIX_EPOCH + whole.min(last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::retry_after::Hints;
    use crate::upstream::plan::Refusal;

    const NOW: Duration = Duration::from_millis(1_795_330_800_250);

    /// What the gateway's reader makes of a refusal with this wish.
    fn read(wish: Wish) -> Option<Duration> {
        let refusal = Refusal {
            status: 429,
            kind: "rate_limit_error",
            code: "rate_limit_exceeded",
            message: "".into(),
            wish: Some(wish),
        };
        let header = wish.header(NOW);
        let value = |name| {
            let named = header.as_ref().filter(|(n, _)| *n == name);
            named.map(|(_, value)| value.as_str())
        };
        let body = refusal.body();
        let hints = Hints {
            retry_after_ms: value(headers::RETRY_AFTER_MS),
            retry_after: value(headers::RETRY_AFTER),
            body: body.as_bytes(),
        };
        hints.wait(Some(NOW))
    }

    #[test]
    fn every_form_is_read_as_it_was_meant() {
        let ms = Duration::from_millis;
        for wish in [
            Wish::Seconds(ms(3_000)),
            Wish::Seconds(ms(0)),
            Wish::Millis(ms(250)),
            Wish::Millis(ms(0)),
            Wish::Body(ms(1_500)),
            Wish::Negative,
            Wish::Absurd,
        ] {
            assert_eq!(read(wish), wish.wait(), "{wish:?}");
        }
        assert_eq!(Wish::Negative.wait(), None);
        // 07:00:00.25 and three seconds: the next whole second.
        assert_eq!(read(Wish::Date(ms(3_000))), Some(ms(3_750)));
        assert_eq!(read(Wish::Date(ms(2_650))), Some(ms(2_750)));
        assert_eq!(
            read(Wish::Date(ms(2_651))),
            Some(ms(3_750)),
            "too close for whoever reads it late"
        );
    }
}
