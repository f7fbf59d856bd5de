//! Reading single values: durations, shares, rates, counts, comparisons.
//!
//! Every reader has the form `fn(cx, node) -> Option<T>`: none means that a mistake was reported.

use std::time::Duration;

use crate::config::fields::{Cx, closest, listed};
use crate::config::node::Node;
use crate::stats::compare::{Comparison, Op, Ratio, Share};

/// Longest duration in a file: ten years.
const LONGEST: Duration = Duration::from_secs(3_660 * 86_400);

/// A text.
pub fn text(cx: Cx<'_>, node: &Node) -> Option<String> {
    cx.text(node, "a text", "a text").map(str::to_owned)
}

/// `true` or `false`.
pub fn flag(cx: Cx<'_>, node: &Node) -> Option<bool> {
    let expected = "true or false";
    match cx.text(node, expected, expected)? {
        "true" => Some(true),
        "false" => Some(false),
        _ => cx.wrong(node, expected, expected),
    }
}

/// A whole number from 0 to 2⁶⁴ − 1.
pub fn count(cx: Cx<'_>, node: &Node) -> Option<u64> {
    let expected = "a whole number, like 1000";
    let digits = cx.text(node, "a whole number", expected)?.replace('_', "");
    match digits.parse() {
        Ok(count) => Some(count),
        Err(_) => cx.wrong(node, "a whole number", expected),
    }
}

/// A whole number of at least 1 that fits 32 bits.
pub fn positive(cx: Cx<'_>, node: &Node) -> Option<u32> {
    let value = count(cx, node)?;
    match u32::try_from(value) {
        Ok(value) if value > 0 => Some(value),
        _ => cx.wrong(node, "a whole number of at least 1", "1 to 4294967295"),
    }
}

/// A duration: `500ms`, `2m`, `1h 30m`.
pub fn duration(cx: Cx<'_>, node: &Node) -> Option<Duration> {
    let expected = "a duration with its unit, like 500ms, 25s, 2m or 1h30m";
    let text = cx.text(node, "a duration", expected)?;
    match parse_duration(text) {
        Some(duration) => Some(duration),
        None if text == "0" => Some(Duration::ZERO),
        None => cx.wrong(node, "a duration", expected),
    }
}

/// A duration above zero.
pub fn positive_duration(cx: Cx<'_>, node: &Node) -> Option<Duration> {
    let value = duration(cx, node)?;
    if value.is_zero() {
        return cx.wrong(node, "a duration above zero", "500ms, 25s, 2m …");
    }
    Some(value)
}

/// `500ms`, `1h 30m`: what [`duration`] reads, `0` apart.
pub fn parse_duration(text: &str) -> Option<Duration> {
    // The library knows no fractions; people write 1.5s.
    let whole = humantime::parse_duration(text).ok();
    let duration = whole.or_else(|| {
        let split = text.find(|c: char| c.is_ascii_alphabetic())?;
        let value: f64 = text[..split].trim().parse().ok()?;
        let unit = humantime::parse_duration(&format!("1{}", &text[split..])).ok()?;
        let seconds = value * unit.as_secs_f64();
        (0.0..1e12)
            .contains(&seconds)
            .then(|| crate::time::seconds(seconds))
    });
    duration.filter(|d| *d <= LONGEST)
}

/// A share from 0 % to 100 %, as a fraction of 1.
pub fn share(cx: Cx<'_>, node: &Node) -> Option<f64> {
    let expected = "a share from 0% to 100%, like 30%";
    let text = cx.text(node, "a share", expected)?;
    match Share::parse_percent(text) {
        Some(share) => Some(share.fraction()),
        None => cx.wrong(node, "a share", expected),
    }
}

/// A confidence from 50 % to below 100 %, as a fraction of 1. Below that an interval would leave out
/// the very value that was seen.
pub fn confidence(cx: Cx<'_>, node: &Node) -> Option<f64> {
    let value = share(cx, node)?;
    if !(0.5..1.0).contains(&value) {
        let expected = "50% or more and below 100%, like 99.9%";
        return cx.wrong(node, "a confidence", expected);
    }
    Some(value)
}

/// A width in percentage points (`3pp`), as a fraction of 1, above 0 and at most 100.
pub fn points(cx: Cx<'_>, node: &Node) -> Option<f64> {
    let expected = "percentage points, like 3pp or 0.75pp";
    let text = cx.text(node, "a tolerance", expected)?;
    let number = text
        .strip_suffix("pp")
        .and_then(|n| n.trim().parse::<f64>().ok());
    match number.filter(|n| *n > 0.0 && *n <= 100.0) {
        Some(points) => Some(points / 100.0),
        None => cx.wrong(node, "a tolerance", expected),
    }
}

/// A rate of requests: `50/s`, `600/min`. Per second, from 0 to 10 million.
pub fn rate(cx: Cx<'_>, node: &Node) -> Option<f64> {
    let expected = "a rate like 50/s, 600/min or 100/h, at most 10000000/s";
    let text = cx.text(node, "a rate", expected)?;
    let parsed = text.split_once('/').and_then(|(number, unit)| {
        let number: f64 = number.trim().parse().ok()?;
        let seconds = match unit.trim() {
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3_600.0,
            _ => return None,
        };
        Some(number / seconds)
    });
    match parsed.filter(|r| (0.0..=1e7).contains(r)) {
        Some(rate) => Some(rate),
        None => cx.wrong(node, "a rate", expected),
    }
}

/// A non-negative weight: `90`, `0.5`, `10%`.
pub fn weight(cx: Cx<'_>, node: &Node) -> Option<f64> {
    let expected = "a weight of 0 or more, like 90, 0.5 or 10%";
    let text = cx.text(node, "a weight", expected)?;
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    match number
        .parse::<f64>()
        .ok()
        .filter(|w| (0.0..=1e12).contains(w))
    {
        Some(weight) => Some(weight),
        None => cx.wrong(node, "a weight", expected),
    }
}

/// A factor above 0 and at most a million: `0.8`, `2`.
pub fn factor(cx: Cx<'_>, node: &Node) -> Option<f64> {
    let expected = "a number above 0, like 0.8";
    let text = cx.text(node, "a factor", expected)?;
    match text.parse::<f64>().ok().filter(|f| *f > 0.0 && *f <= 1e6) {
        Some(factor) => Some(factor),
        None => cx.wrong(node, "a factor", expected),
    }
}

/// A speed: `1x`, `60x`, `0.5x`, or none for `max`.
pub fn parse_speed(text: &str) -> Option<Option<f64>> {
    if text == "max" {
        return Some(None);
    }
    let factor: f64 = text.strip_suffix('x')?.trim().parse().ok()?;
    (factor.is_finite() && (0.001..=1e6).contains(&factor)).then_some(Some(factor))
}

/// One word of a list of words.
pub fn word<T: Copy>(cx: Cx<'_>, node: &Node, what: &str, words: &[(&str, T)]) -> Option<T> {
    let known: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
    let expected = format!("one of {}", listed(&known));
    let text = cx.text(node, what, &expected)?;
    if let Some((_, value)) = words.iter().find(|(name, _)| *name == text) {
        return Some(*value);
    }
    let diagnostic = cx
        .at(node.place, format!("`{text}` is not {what}"))
        .expected(expected);
    cx.error(match closest(text, &known) {
        Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
        None => diagnostic,
    })
}

/// A comparison with whatever `parse` reads.
pub fn comparison<T>(
    cx: Cx<'_>,
    node: &Node,
    expected: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Option<Comparison<T>> {
    const OPS: [(&str, Op); 5] = [
        ("<=", Op::AtMost),
        (">=", Op::AtLeast),
        ("==", Op::Equal),
        ("<", Op::Less),
        (">", Op::Greater),
    ];
    let text = cx.text(node, "a comparison", expected)?.trim();
    let (op, bound) = OPS
        .into_iter()
        .find_map(|(sign, op)| Some((op, text.strip_prefix(sign)?.trim())))
        .unwrap_or((Op::Equal, text));
    match parse(bound) {
        Some(bound) => Some(Comparison { op, bound }),
        None => cx.wrong(node, "a comparison of this kind", expected),
    }
}

/// A comparison with a share: `">= 99.9%"`.
pub fn share_comparison(cx: Cx<'_>, node: &Node) -> Option<Comparison<Share>> {
    let expected = "\">= 99.9%\", \"< 1%\" or \"100%\"";
    comparison(cx, node, expected, Share::parse_percent)
}

/// A comparison with a duration: `"< 500ms"`.
pub fn duration_comparison(cx: Cx<'_>, node: &Node) -> Option<Comparison<Duration>> {
    comparison(cx, node, "\"< 500ms\", \"<= 2s\"", parse_duration)
}

/// A comparison with a whole number: `"<= 150"`, `"0"`.
pub fn count_comparison(cx: Cx<'_>, node: &Node) -> Option<Comparison<u64>> {
    comparison(cx, node, "\"<= 150\", \">= 10\" or \"0\"", |t| {
        t.replace('_', "").parse().ok()
    })
}

/// A comparison with a plain number: `"<= 1.2"`.
pub fn ratio_comparison(cx: Cx<'_>, node: &Node) -> Option<Comparison<Ratio>> {
    comparison(cx, node, "\"<= 1.2\", \"< 2\" or \"1\"", Ratio::parse)
}

/// A comparison with an amount of memory: `"<= 256KiB"`. The bound is in bytes.
pub fn bytes_comparison(cx: Cx<'_>, node: &Node) -> Option<Comparison<u64>> {
    comparison(cx, node, "\"<= 256KiB\", \"< 1MiB\"", |t| {
        const UNITS: [(&str, u64); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
        let (number, unit) = UNITS
            .into_iter()
            .find_map(|(name, bytes)| Some((t.strip_suffix(name)?, bytes)))?;
        number.trim().parse::<u64>().ok()?.checked_mul(unit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::read;

    #[test]
    fn durations_carry_their_unit() {
        let ms = Duration::from_millis;
        for (text, expected) in [
            ("500ms", ms(500)),
            ("1.5s", ms(1_500)),
            ("2m", ms(120_000)),
            ("1h30m", ms(5_400_000)),
            ("1h 30m", ms(5_400_000)),
            ("0", ms(0)),
            ("0s", ms(0)),
        ] {
            assert_eq!(read(text, duration), Ok(expected), "{text}");
        }
        for bad in [
            "500",
            "-1s",
            "1.5",
            "s",
            "5 parsecs",
            "99999999h",
            "[1]",
            "1e30s",
        ] {
            assert!(read(bad, duration).is_err(), "{bad}");
        }
        assert!(read("0s", positive_duration).is_err());
    }

    #[test]
    fn shares_points_rates_and_weights() {
        assert_eq!(read("30%", share), Ok(0.3));
        assert_eq!(read("0.5%", share), Ok(0.005));
        for bad in ["30", "101%", "-1%", "NaN%", "%"] {
            assert!(read(bad, share).is_err(), "{bad}");
        }
        assert_eq!(read("50%", confidence), Ok(0.5));
        for bad in ["100%", "49.9%", "0.999"] {
            assert!(read(bad, confidence).is_err(), "{bad}");
        }
        assert_eq!(read("0.75pp", points), Ok(0.0075));
        assert!(read("3%", points).is_err());
        assert_eq!(read("50/s", rate), Ok(50.0));
        assert_eq!(read("600/min", rate), Ok(10.0));
        for bad in ["50", "50/y", "-1/s", "inf/s", "1e9/s"] {
            assert!(read(bad, rate).is_err(), "{bad}");
        }
        assert_eq!(read("0.5", weight), Ok(0.5));
        assert!(read("-0.5", weight).is_err());
        assert!(read("NaN", weight).is_err());
    }

    #[test]
    fn comparisons() {
        let success = read("\">= 99.9%\"", share_comparison).unwrap();
        assert!(success.holds_for(999, 1_000));
        assert_eq!(
            read("\"0\"", count_comparison),
            Ok(Comparison {
                op: Op::Equal,
                bound: 0
            })
        );
        assert_eq!(
            read("\"<500ms\"", duration_comparison).map(|c| c.op),
            Ok(Op::Less)
        );
        assert_eq!(
            read("\"<= 256KiB\"", bytes_comparison).map(|c| c.bound),
            Ok(262_144)
        );
        let ratio = read("\"<= 1.2\"", ratio_comparison).unwrap();
        assert!(ratio.holds_for(12, 10) && !ratio.holds_for(13, 10));
        assert!(read("\"<= 120%\"", ratio_comparison).is_err());
        assert!(read("\"=> 1\"", count_comparison).is_err());
        assert!(read("\">= 500ms\"", share_comparison).is_err());
    }

    #[test]
    fn speeds() {
        assert_eq!(parse_speed("10x"), Some(Some(10.0)));
        assert_eq!(parse_speed("max"), Some(None));
        for bad in ["10", "0x", "-1x", "NaNx", "infx", ""] {
            assert_eq!(parse_speed(bad), None, "{bad}");
        }
    }

    #[test]
    fn misspelt_words_get_a_suggestion() {
        let words = [("immediately", 1), ("off", 2)];
        let error = read("immediatly", |cx, n| word(cx, n, "a policy", &words)).unwrap_err();
        assert!(error.contains("did you mean `immediately`?"), "{error}");
    }
}
