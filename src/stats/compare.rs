//! Comparisons of counts with bounds, without rounding.
//!
//! 999 of 1,000 is at least 99.9 %. In floating point it is not: 99.9/100 is a little above 0.999.
//! Bounds on shares are therefore kept in whole billionths and compared by multiplying.

use std::fmt;
use std::time::Duration;

/// A share of a whole, exact to a billionth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u64);

impl Share {
    const WHOLE: u64 = 1_000_000_000;

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
        self.0 as f64 / Self::WHOLE as f64
    }
}

/// `99.9%`
impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0 as f64 / 1e7)
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
        let scaled = u128::from(part) * u128::from(Share::WHOLE);
        let bound = u128::from(self.bound.0) * u128::from(whole);
        self.op.holds(&scaled, &bound)
    }
}

impl fmt::Display for Comparison<Share> {
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
    fn percentages_are_read_and_shown_as_written() {
        for text in ["0%", "0.5%", "99.9%", "100%", "33.333%"] {
            assert_eq!(Share::parse_percent(text).unwrap().to_string(), text);
        }
        for bad in ["1", "-1%", "100.1%", "NaN%", "%"] {
            assert_eq!(Share::parse_percent(bad), None, "{bad}");
        }
    }
}
