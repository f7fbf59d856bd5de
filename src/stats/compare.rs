//! Comparisons of counts with bounds, without rounding.
//!
//! 999 of 1,000 is at least 99.9 %. In floating point it is not: 99.9/100 is a little above 0.999.
//! Bounds on shares are therefore kept in whole billionths and compared by multiplying.

use std::fmt;
use std::time::Duration;

/// What bounds are kept in, of one.
const BILLION: u64 = 1_000_000_000;

/// A share of a whole, exact to a billionth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u64);

impl Share {
    /// Reads a percentage (`99.9%`); none when it is no number from 0 to 100 with its sign.
    pub fn parse_percent(text: &str) -> Option<Self> {
        let percent: f64 = text.strip_suffix('%')?.trim().parse().ok()?;
        let billionths = (percent * 1e7).round();
        (0.0..=1e9)
            .contains(&billionths)
            .then_some(Self(billionths as u64))
    }

    /// As a fraction of 1.
    pub fn fraction(self) -> f64 {
        self.0 as f64 / BILLION as f64
    }
}

/// `99.9%`
impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0 as f64 / 1e7)
    }
}

/// So many of one for each of another, exact to a billionth: `1.2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ratio(u64);

impl Ratio {
    /// Reads a plain number from 0 to a million; none when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = |c: char| c.is_ascii_digit() || c == '.';
        let number: f64 = text
            .chars()
            .all(is_plain)
            .then(|| text.parse().ok())
            .flatten()?;
        let billionths = (number * BILLION as f64).round();
        (0.0..=1e15)
            .contains(&billionths)
            .then_some(Self(billionths as u64))
    }
}

/// `1.2`
impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0 as f64 / BILLION as f64)
    }
}

/// How a value must stand to a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Less.
    Less,
    /// Less or equal.
    AtMost,
    /// Equal.
    Equal,
    /// Greater or equal.
    AtLeast,
    /// Greater.
    Greater,
}

impl Op {
    /// Does `value op bound` hold?
    pub fn holds<T: PartialOrd>(self, value: &T, bound: &T) -> bool {
        match self {
            Self::Less => value < bound,
            Self::AtMost => value <= bound,
            Self::Equal => value == bound,
            Self::AtLeast => value >= bound,
            Self::Greater => value > bound,
        }
    }

    /// Is a small value what is wanted, so that waiting can only make it worse?
    pub fn is_upper_bound(self) -> bool {
        matches!(self, Self::Less | Self::AtMost)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Equal => "==",
            Self::AtLeast => ">=",
            Self::Greater => ">",
        })
    }
}

/// A comparison with a bound: `>= 99.9%`, `< 500ms`, `== 0`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison<T> {
    /// How the value must stand to the bound.
    pub op: Op,
    /// The bound.
    pub bound: T,
}

impl<T: PartialOrd> Comparison<T> {
    /// Does this value satisfy it?
    pub fn holds(&self, value: T) -> bool {
        self.op.holds(&value, &self.bound)
    }
}

impl Comparison<Share> {
    /// Does the share `part / whole` satisfy it? Exact. `whole` must be above 0.
    pub fn holds_for(&self, part: u64, whole: u64) -> bool {
        self.holds_in_billionths(self.bound.0, (part, whole))
    }
}

impl Comparison<Ratio> {
    /// Does the ratio `these / those` satisfy it? Exact. `those` must be above 0.
    pub fn holds_for(&self, these: u64, those: u64) -> bool {
        self.holds_in_billionths(self.bound.0, (these, those))
    }
}

impl<T> Comparison<T> {
    fn holds_in_billionths(&self, billionths: u64, (part, whole): (u64, u64)) -> bool {
        let scaled = u128::from(part) * u128::from(BILLION);
        let bound = u128::from(billionths) * u128::from(whole);
        self.op.holds(&scaled, &bound)
    }
}

impl Comparison<u64> {
    /// Does this count not satisfy it, but may once there are more?
    pub fn is_still_to_come(&self, count: u64) -> bool {
        match self.op {
            Op::AtLeast | Op::Equal => count < self.bound,
            Op::Greater => count <= self.bound,
            Op::Less | Op::AtMost => false,
        }
    }

    /// Is this count too much for it?
    pub fn is_exceeded_by(&self, count: u64) -> bool {
        !self.holds(count) && !self.is_still_to_come(count)
    }
}

impl fmt::Display for Comparison<Share> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.op, self.bound)
    }
}

impl fmt::Display for Comparison<Ratio> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.op, self.bound)
    }
}

impl fmt::Display for Comparison<u64> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.op, self.bound)
    }
}

impl fmt::Display for Comparison<Duration> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.op, crate::time::Human(self.bound))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_compared_exactly() {
        let comparison = |op, text| Comparison {
            op,
            bound: Share::parse_percent(text).unwrap(),
        };
        assert!(comparison(Op::AtLeast, "99.9%").holds_for(999, 1_000));
        assert!(!comparison(Op::Greater, "99.9%").holds_for(999, 1_000));
        assert!(!comparison(Op::AtLeast, "99.9%").holds_for(998_999, 1_000_000));
        assert!(comparison(Op::Equal, "100%").holds_for(7, 7));
        assert!(comparison(Op::AtMost, "0.1%").holds_for(1, 1_000));
    }

    #[test]
    fn ratios_are_compared_exactly() {
        let comparison = |op, text| Comparison {
            op,
            bound: Ratio::parse(text).unwrap(),
        };
        assert!(comparison(Op::AtMost, "1.2").holds_for(12, 10));
        assert!(!comparison(Op::Less, "1.2").holds_for(12, 10));
        assert!(!comparison(Op::AtMost, "1.2").holds_for(1_200_001, 1_000_000));
        assert!(comparison(Op::Equal, "1").holds_for(7, 7));
        for text in ["0", "1", "1.2", "1000000", "0.000000001"] {
            assert_eq!(Ratio::parse(text).unwrap().to_string(), text);
        }
        for bad in [
            "", "1.2x", "-1", "+1", "NaN", "inf", "1e3", "1000001", "1.2.3",
        ] {
            assert_eq!(Ratio::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_count_is_right_or_too_small_or_too_large() {
        for (op, below, at, above) in [
            (Op::Less, "ok", "too large", "too large"),
            (Op::AtMost, "ok", "ok", "too large"),
            (Op::Equal, "too small", "ok", "too large"),
            (Op::AtLeast, "too small", "ok", "ok"),
            (Op::Greater, "too small", "too small", "ok"),
        ] {
            for (count, expected) in [(4, below), (5, at), (6, above)] {
                let bound = Comparison { op, bound: 5 };
                let found = (
                    bound.holds(count),
                    bound.is_still_to_come(count),
                    bound.is_exceeded_by(count),
                );
                let said = match found {
                    (true, false, false) => "ok",
                    (false, true, false) => "too small",
                    (false, false, true) => "too large",
                    _ => "a contradiction",
                };
                assert_eq!(said, expected, "{count} {op} 5");
            }
        }
    }

    #[test]
    fn percentages_are_read_and_shown_as_written() {
        for text in ["0%", "0.5%", "99.9%", "100%", "33.333%"] {
            assert_eq!(Share::parse_percent(text).unwrap().to_string(), text);
        }
        for bad in ["1", "-1%", "100.1%", "NaN%", "%"] {
            assert_eq!(Share::parse_percent(bad), None, "{bad}");
        }
    }
}
