//! Times and counts as logs write them, in text or in JSON.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::pricing::Cost;
use crate::traffic::format::{DropReason, MAX_TOKENS};

/// A count of tokens: none when it is missing.
///
/// # Errors
/// When it is no whole number, or more than is replayed.
pub fn tokens(text: Option<&str>) -> Result<Option<u32>, DropReason> {
    let Some(text) = text else { return Ok(None) };
    // Spreadsheets and data frames write whole numbers as 12.0.
    let whole = text.strip_suffix(".0").unwrap_or(text);
    match whole.parse::<u64>() {
        Ok(n) => checked(n).map(Some),
        Err(_) => Err(DropReason::BadTokens),
    }
}

/// The same of a JSON field; `null` counts as missing.
///
/// # Errors
/// When it is no whole number, or more than is replayed.
pub fn tokens_of(value: Option<&Value>) -> Result<Option<u32>, DropReason> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => tokens(Some(text.trim())),
        Some(Value::Number(number)) => match (number.as_u64(), number.as_f64()) {
            (Some(n), _) => checked(n).map(Some),
            (None, Some(n)) if n.fract() == 0.0 && (0.0..1e15).contains(&n) => {
                checked(n as u64).map(Some)
            }
            _ => Err(DropReason::BadTokens),
        },
        Some(_) => Err(DropReason::BadTokens),
    }
}

fn checked(n: u64) -> Result<u32, DropReason> {
    match u32::try_from(n) {
        Ok(n) if n <= MAX_TOKENS => Ok(n),
        _ => Err(DropReason::TooManyTokens),
    }
}

/// A moment that is written as a number of `unit` nanoseconds, to the nanosecond.
///
/// # Errors
/// When it is no number, or further away than 290 years.
pub fn moment(text: &str, unit: u32) -> Result<i64, DropReason> {
    let text = text.trim();
    // Exact as long as it is whole: seconds since 1970 in nanoseconds are beyond what a float holds.
    let exact = text
        .parse::<i64>()
        .ok()
        .map(|n| n.checked_mul(i64::from(unit)));
    match exact {
        Some(nanos) => nanos.ok_or(DropReason::BadTimestamp),
        None => decimal(text, unit).ok_or(DropReason::BadTimestamp),
    }
}

/// A decimal fraction in nanoseconds, digit by digit.
fn decimal(text: &str, unit: u32) -> Option<i64> {
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) if !text.contains(['e', 'E']) => (whole, fraction),
        _ => {
            let value = text.parse::<f64>().ok()? * f64::from(unit);
            let is_sane = value.is_finite() && value.abs() < 9e18;
            return is_sane.then_some(value.round() as i64);
        }
    };
    let is_negative = whole.starts_with('-');
    let whole: i64 = match whole {
        "" | "-" | "+" => 0,
        digits => digits.parse().ok()?,
    };
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits: u64 = format!("{:0<9.9}", fraction).parse().ok()?;
    let part = i64::try_from(u128::from(digits) * u128::from(unit) / 1_000_000_000).ok()?;
    let whole = whole.checked_mul(i64::from(unit))?;
    match is_negative {
        true => whole.checked_sub(part),
        false => whole.checked_add(part),
    }
}

/// The same of a JSON field, number or string.
///
/// # Errors
/// When it is missing, no number, or further away than 290 years.
pub fn moment_of(value: Option<&Value>, unit: u32) -> Result<i64, DropReason> {
    match value {
        Some(Value::Number(number)) => moment(&number.to_string(), unit),
        Some(Value::String(text)) => moment(text, unit),
        _ => Err(DropReason::BadTimestamp),
    }
}

/// Nanoseconds of a second, a millisecond, a microsecond and a nanosecond: units of [`moment`].
pub const SECONDS: u32 = 1_000_000_000;
/// See [`SECONDS`].
pub const MILLISECONDS: u32 = 1_000_000;
/// See [`SECONDS`].
pub const MICROSECONDS: u32 = 1_000;
/// See [`SECONDS`].
pub const NANOSECONDS: u32 = 1;

/// A wall-clock time in nanoseconds since 1970: RFC 3339 with a zone, or without one, which is read as UTC, since
/// only differences matter.
///
/// # Errors
/// When it is no such time.
pub fn wall_clock(text: &str) -> Result<i64, DropReason> {
    let text = text.trim();
    // Asked first: a time without a zone is also what is left of one with a zone.
    let instant = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let local = text.parse::<jiff::civil::DateTime>().ok()?;
        let zoned = local.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        Some(zoned.timestamp())
    });
    let nanos = instant.and_then(|instant| i64::try_from(instant.as_nanosecond()).ok());
    nanos.ok_or(DropReason::BadTimestamp)
}

/// A length of time that is written as a number of `unit` nanoseconds; none when it is missing.
///
/// # Errors
/// When it is no number, or negative.
pub fn length_of(value: Option<&Value>, unit: u32) -> Result<Option<Duration>, DropReason> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => positive(moment_of(Some(value), unit)).map(Some),
    }
}

/// The same of a text.
///
/// # Errors
/// When it is no number, or negative.
pub fn length(text: Option<&str>, unit: u32) -> Result<Option<Duration>, DropReason> {
    text.map(|text| positive(moment(text, unit))).transpose()
}

fn positive(nanos: Result<i64, DropReason>) -> Result<Duration, DropReason> {
    match nanos.map(u64::try_from) {
        Ok(Ok(nanos)) => Ok(Duration::from_nanos(nanos)),
        _ => Err(DropReason::BadNumber),
    }
}

/// An amount of dollars, to the nearest nano-dollar, however many digits a float has; none when it is missing.
///
/// # Errors
/// When it is no number, negative, or more than there is.
pub fn dollars_of(value: Option<&Value>) -> Result<Option<Cost>, DropReason> {
    let text = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::String(text)) => text.trim().trim_start_matches('$').to_owned(),
        Some(_) => return Err(DropReason::BadNumber),
    };
    let nanos = nano_dollars(&text).ok_or(DropReason::BadNumber)?;
    Ok(Some(Cost::from_nanos(nanos)))
}

/// Digit by digit: `3.45e-05` is 34,500 nano-dollars.
fn nano_dollars(text: &str) -> Option<u64> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || digits.len() > 38 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits: u128 = digits.parse().ok()?;
    let exponent: i32 = exponent.parse().ok()?;
    let shift = 9_i32
        .checked_add(exponent)?
        .checked_sub(fraction.len() as i32)?;
    let power = 10_u128.checked_pow(shift.unsigned_abs());
    let nanos = match (power, shift >= 0) {
        (Some(power), true) => digits.checked_mul(power)?,
        (Some(power), false) => digits / power + u128::from(digits % power * 2 >= power),
        (None, true) => (digits == 0).then_some(0)?,
        (None, false) => 0,
    };
    u64::try_from(nanos).ok()
}

/// A field that holds JSON, or JSON in a text, as tables have it.
pub fn json_in(value: Option<&Value>) -> Option<Cow<'_, Value>> {
    match value? {
        Value::Null => None,
        Value::String(text) if text.trim_start().starts_with(['{', '[']) => {
            serde_json::from_str(text).ok().map(Cow::Owned)
        }
        other => Some(Cow::Borrowed(other)),
    }
}

/// From one moment to a later one; none when it is not later, as clocks of several machines have it.
pub fn between(from: i64, to: i64) -> Option<Duration> {
    (to >= from).then(|| Duration::from_nanos(to.abs_diff(from)))
}

/// The text of a field; none when it is missing, empty, or no text.
pub fn text_of(fields: &Map<String, Value>, name: &str) -> Option<String> {
    let text = fields.get(name)?.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn moments_are_exact_to_the_nanosecond() {
        for (text, unit, nanos) in [
            ("1700158623", SECONDS, 1_700_158_623_000_000_000),
            ("1700158623.979960001", SECONDS, 1_700_158_623_979_960_001),
            ("19440110.0", SECONDS, 19_440_110_000_000_000),
            ("-0.5", SECONDS, -500_000_000),
            ("27.5", MILLISECONDS, 27_500_000),
            ("1.5e3", MILLISECONDS, 1_500_000_000),
            (
                "1700158623979960001",
                NANOSECONDS,
                1_700_158_623_979_960_001,
            ),
        ] {
            assert_eq!(moment(text, unit), Ok(nanos), "{text}");
        }
        for bad in [
            "",
            "x",
            "1.x",
            "NaN",
            "inf",
            "99999999999999999999",
            "9223372037",
        ] {
            assert_eq!(moment(bad, SECONDS), Err(DropReason::BadTimestamp), "{bad}");
        }
        assert_eq!(
            moment_of(Some(&json!("12.25")), SECONDS),
            Ok(12_250_000_000)
        );
        assert_eq!(
            moment_of(Some(&json!(27482)), MILLISECONDS),
            Ok(27_482_000_000)
        );
        assert_eq!(moment_of(None, SECONDS), Err(DropReason::BadTimestamp));
    }

    #[test]
    fn counts_and_lengths() {
        assert_eq!(tokens(Some("12.0")), Ok(Some(12)));
        assert_eq!(tokens(None), Ok(None));
        assert_eq!(tokens(Some("2000001")), Err(DropReason::TooManyTokens));
        assert_eq!(tokens_of(Some(&json!(3.0))), Ok(Some(3)));
        assert_eq!(tokens_of(Some(&json!(-3))), Err(DropReason::BadTokens));
        assert_eq!(tokens_of(Some(&Value::Null)), Ok(None));
        let length = |value| length_of(Some(&value), MILLISECONDS);
        assert_eq!(length(json!(1.5)), Ok(Some(Duration::from_micros(1_500))));
        assert_eq!(length(json!(-1)), Err(DropReason::BadNumber));
        assert_eq!(between(5, 3), None);
        let text = |text| super::length(text, SECONDS);
        assert_eq!(text(Some("0.25")), Ok(Some(Duration::from_millis(250))));
        assert_eq!(text(None), Ok(None));
        assert_eq!(text(Some("-1")), Err(DropReason::BadNumber));
    }

    #[test]
    fn dollars_are_exact_to_a_nano_dollar() {
        for (value, nanos) in [
            (json!(0.0), 0),
            (json!(1), 1_000_000_000),
            (json!(0.000_123_449_999_999_99), 123_450),
            (json!(0.000_012_345_000_000_000_002), 12_345),
            (json!(3.45e-5), 34_500),
            (json!(4e-10), 0),
            (json!(5e-10), 1),
            (json!("0.25"), 250_000_000),
            (json!("$2.5"), 2_500_000_000),
            (json!("1e-30000"), 0),
        ] {
            assert_eq!(
                dollars_of(Some(&value)),
                Ok(Some(Cost::from_nanos(nanos))),
                "{value}"
            );
        }
        for bad in [
            json!(-1),
            json!("x"),
            json!("."),
            json!(1e30),
            json!("1e99999999999"),
            json!([]),
        ] {
            assert_eq!(dollars_of(Some(&bad)), Err(DropReason::BadNumber), "{bad}");
        }
        assert_eq!(dollars_of(Some(&Value::Null)), Ok(None));
    }

    #[test]
    fn wall_clocks_with_and_without_a_zone() {
        let at = wall_clock("2023-11-16 18:17:03.9799600").unwrap();
        assert_eq!(wall_clock("2023-11-16T18:17:03.97996Z"), Ok(at));
        assert_eq!(wall_clock("2023-11-16T19:17:03.97996+01:00"), Ok(at));
        assert_eq!(wall_clock("2023-11-16 18:17:03.97996+00"), Ok(at));
        assert_eq!(wall_clock("yesterday"), Err(DropReason::BadTimestamp));
    }
}
