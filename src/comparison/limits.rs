//! How much worse B may be, and whether it was shown to be more, or to be no more.

use std::fmt;

use serde::Serialize;

use crate::comparison::figures::{Figure, Method, Unit};
use crate::config::values::parse_duration;
use crate::stats::quantile_difference::{Limited, excess};
use crate::verdict::result::Status;

/// What a part of a figure may be off by, of 1, because 1.15 is no binary fraction.
const DUST: f64 = 1e-9;

/// By how much B's figure may be above A's: `+0.5pp`, `+10%`, `+20ms`.
#[derive(Clone, Debug, PartialEq)]
pub struct Allowance {
    text: String,
    by: By,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    /// A part of A's figure, of 1.
    Part(f64),
    /// In the figure's unit.
    Plain(f64),
}

impl fmt::Display for Allowance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Allowance {
    /// Reads an allowance on a figure of this unit.
    ///
    /// # Errors
    /// When it is written in another way; says how it is written.
    pub fn parse(text: &str, unit: Unit) -> Result<Self, String> {
        let amount = text.strip_prefix('+').unwrap_or(text).trim();
        let by = match unit {
            Unit::Share => ending(amount, "pp").map(|points| By::Plain(points / 100.0)),
            _ => part(amount).or_else(|| plain(amount, unit).map(By::Plain)),
        };
        let by = by.ok_or_else(|| format!("it is written like {}", example(unit)))?;
        let text = format!("+{amount}");
        Ok(Self { text, by })
    }
}

fn ending(text: &str, ending: &str) -> Option<f64> {
    let number: f64 = text.strip_suffix(ending)?.trim().parse().ok()?;
    Some(number).filter(|n| n.is_finite() && *n >= 0.0)
}

fn part(text: &str) -> Option<By> {
    ending(text, "%").map(|percent| By::Part(percent / 100.0))
}

fn plain(text: &str, unit: Unit) -> Option<f64> {
    let time = || parse_duration(text).map(|d| d.as_secs_f64());
    match unit {
        Unit::Share => None,
        Unit::Ms => time().map(|s| s * 1e3),
        Unit::S => time(),
        Unit::Requests | Unit::Rollbacks => ending(text, ""),
        Unit::NanoUsd => ending(text.strip_prefix('$')?, "").map(|dollars| dollars * 1e9),
    }
}

fn example(unit: Unit) -> &'static str {
    match unit {
        Unit::Share => "+0.5pp (percentage points)",
        Unit::Ms => "+10% or +20ms",
        Unit::S => "+10% or +5s",
        Unit::Requests | Unit::Rollbacks => "+10% or +20",
        Unit::NanoUsd => "+10% or +$0.50",
    }
}

/// A limit on the difference of a figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// The option that it was asked for by, without its dashes.
    pub option: &'static str,
    /// The figure's id.
    pub figure: &'static str,
    /// How much is allowed.
    pub allowed: Allowance,
}

/// A limit, judged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LimitResult {
    /// The limit: `max-p99 +10%`.
    pub limit: String,
    /// Was it shown to be kept, shown to be passed, or neither?
    pub status: Status,
    /// What was seen, for people.
    pub seen: String,
    /// By how much B is above what is allowed, in the figure's unit.
    pub excess: Option<f64>,
    /// Its limits.
    pub interval: [Option<f64>; 2],
}

/// Judges a limit.
pub fn judge(limit: &Limit, figures: &[Figure]) -> LimitResult {
    let figure = figures.iter().find(|figure| figure.id == limit.figure);
    let excess = figure.and_then(|figure| above(figure, limit.allowed.by));
    let (status, seen) = match (figure, excess) {
        (Some(figure), Some(excess)) => verdict(figure, excess),
        (Some(figure), None) => missing(figure),
        (None, _) => {
            let seen = "neither of the runs can tell this figure".to_owned();
            (Status::Inconclusive, seen)
        }
    };
    LimitResult {
        limit: format!("{} {}", limit.option, limit.allowed),
        status,
        seen,
        excess: excess.map(|excess| excess.estimate),
        interval: excess.map_or([None, None], |excess| [excess.low, excess.high]),
    }
}

/// How far B is above what A and the allowance give.
fn above(figure: &Figure, by: By) -> Option<Limited> {
    let (a, b) = figure.a.zip(figure.b)?;
    let difference = figure.difference?;
    let less = |c: f64| Limited {
        estimate: difference.estimate - c,
        low: difference.low.map(|low| low - c),
        high: difference.high.map(|high| high - c),
    };
    Some(match by {
        By::Plain(c) => less(c),
        By::Part(part) => without_dust(
            excess(b.limited(), a.limited(), 1.0 + part),
            a.limited().estimate,
        ),
    })
}

/// What is above a part of A's figure by no more than the dust of binary fractions is not above it.
fn without_dust(excess: Limited, figure: f64) -> Limited {
    let dust = (figure * DUST).abs();
    let settled = |value: f64| if value.abs() <= dust { 0.0 } else { value };
    Limited {
        estimate: settled(excess.estimate),
        low: excess.low.map(settled),
        high: excess.high.map(settled),
    }
}

fn verdict(figure: &Figure, excess: Limited) -> (Status, String) {
    if figure.method == Method::Census {
        return match excess.estimate > 0.0 {
            true => (Status::Fail, "it is more than that".to_owned()),
            false => (Status::Pass, "it is not more than that".to_owned()),
        };
    }
    match (excess.low, excess.high) {
        (Some(low), _) if low > 0.0 => (
            Status::Fail,
            "all of the interval is above what is allowed".to_owned(),
        ),
        (_, Some(high)) if high <= 0.0 => (
            Status::Pass,
            "all of the interval is within what is allowed".to_owned(),
        ),
        _ => (
            Status::Inconclusive,
            "the interval reaches to both sides of what is allowed: too few samples to tell"
                .to_owned(),
        ),
    }
}

/// One of the runs lacks the figure. A rollback that does not come any more is worse than a late one.
fn missing(figure: &Figure) -> (Status, String) {
    match (figure.id.as_str(), figure.a, figure.b) {
        ("rollback_time", Some(_), None) => {
            (Status::Fail, "A was rolled back, B was not".to_owned())
        }
        ("rollback_time", Some(_), Some(_)) => {
            let seen = "one counts from a fault, the other from its start";
            (Status::Inconclusive, seen.to_owned())
        }
        (_, None, Some(_)) => (Status::Inconclusive, "A has no such figure".to_owned()),
        (_, Some(_), None) => (Status::Inconclusive, "B has no such figure".to_owned()),
        _ => (Status::Inconclusive, "neither has such a figure".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allowances_are_read_in_the_unit_of_their_figure() {
        let by = |text, unit| Allowance::parse(text, unit).map(|allowed| allowed.by);
        assert_eq!(by("+0.5pp", Unit::Share), Ok(By::Plain(0.005)));
        assert_eq!(by("10%", Unit::Ms), Ok(By::Part(0.1)));
        assert_eq!(by("+20ms", Unit::Ms), Ok(By::Plain(20.0)));
        assert_eq!(by("+5s", Unit::S), Ok(By::Plain(5.0)));
        assert_eq!(by("+20", Unit::Requests), Ok(By::Plain(20.0)));
        assert_eq!(by("+$0.50", Unit::NanoUsd), Ok(By::Plain(5e8)));
        for (text, unit) in [
            ("+10%", Unit::Share),
            ("-1pp", Unit::Share),
            ("+NaNpp", Unit::Share),
            ("+20", Unit::Ms),
            ("+20ms", Unit::Requests),
            ("", Unit::S),
        ] {
            assert!(by(text, unit).is_err(), "{text}");
        }
    }
}
