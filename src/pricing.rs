//! Money: what tokens cost, in whole nano-dollars.
//!
//! There is no floating point in it. One attempt's cost is rounded once, to the nearest nano-dollar;
//! from then on everything is a sum of whole numbers, so that parts always add up to their total. Sums
//! that would pass 18.4 thousand million dollars stay there.

use std::collections::BTreeMap;
use std::fmt;
use std::iter::Sum;
use std::ops::AddAssign;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::protocol::openai::Usage;

/// The month of a projection: 30 days.
pub const MONTH: Duration = Duration::from_secs(30 * 86_400);
/// Months of a year.
const MONTHS: u64 = 12;
/// Prices are for so many tokens.
const PER_TOKENS: u128 = 1_000_000;
/// Nano-dollars of a dollar, and of a cent.
const DOLLAR: u64 = 1_000_000_000;
const CENT: u64 = DOLLAR / 100;
/// Digits behind the point of an amount in dollars.
const DECIMALS: usize = 9;

/// An amount of money in nano-dollars. Sums saturate.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Cost(u64);

impl Cost {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest amount there is.
    pub const MAX: Self = Self(u64::MAX);

    /// An amount in nano-dollars.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The amount in nano-dollars.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// The amount in dollars, for pictures.
    pub fn as_dollars_f64(self) -> f64 {
        self.0 as f64 / DOLLAR as f64
    }

    /// The sum; none when it is too large.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The sum, or the largest amount.
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// So many times this, or the largest amount.
    pub fn times(self, n: u64) -> Self {
        Self(self.0.saturating_mul(n))
    }

    /// `self · numerator / denominator`, rounded to the nearest nano-dollar; none for a denominator
    /// of 0.
    pub fn scaled(self, numerator: u128, denominator: u128) -> Option<Self> {
        match u128::from(self.0).checked_mul(numerator) {
            Some(product) => rounded(product, denominator),
            None => (denominator > 0).then_some(Self::MAX),
        }
    }

    /// Rounded to whole cents: for projections, whose further digits say nothing.
    pub fn to_cents(self) -> Self {
        let cents = (self.0 / CENT).saturating_add(u64::from(self.0 % CENT >= CENT / 2));
        Self(cents.saturating_mul(CENT))
    }
}

/// `numerator / denominator` to the nearest whole number.
fn rounded(numerator: u128, denominator: u128) -> Option<Cost> {
    let whole = numerator.checked_div(denominator)?;
    let rest = numerator % denominator;
    let rounded = whole.saturating_add(u128::from(rest >= denominator - rest));
    Some(Cost(u64::try_from(rounded).unwrap_or(u64::MAX)))
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        *self = self.saturating_add(other);
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::ZERO, Self::saturating_add)
    }
}

/// `$6,000.00`, `$0.0125`: exact, with two digits behind the point or as many as there are.
impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dollars = (self.0 / DOLLAR).to_string();
        let fraction = format!("{:0DECIMALS$}", self.0 % DOLLAR);
        let shown = fraction.trim_end_matches('0').len().max(2);
        f.write_str("$")?;
        for (i, digit) in dollars.chars().enumerate() {
            if i > 0 && (dollars.len() - i).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        write!(f, ".{}", &fraction[..shown])
    }
}

/// Why a text is no amount of dollars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnAmount;

impl fmt::Display for NotAnAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an amount in dollars, like $2.00")
    }
}

impl std::error::Error for NotAnAmount {}

/// `$2`, `$0.42`, `$6,000.00`: exact to a nano-dollar.
impl FromStr for Cost {
    type Err = NotAnAmount;

    fn from_str(text: &str) -> Result<Self, NotAnAmount> {
        parse(text).ok_or(NotAnAmount)
    }
}

fn parse(text: &str) -> Option<Cost> {
    let number = text.trim().strip_prefix('$')?;
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) => (whole, digits(fraction)?),
        None => (number, ""),
    };
    if fraction.len() > DECIMALS {
        return None;
    }
    let dollars: u64 = digits(&ungrouped(whole)?)?.parse().ok()?;
    let nanos: u64 = format!("{fraction:0<DECIMALS$}").parse().ok()?;
    let nanos = dollars.checked_mul(DOLLAR)?.checked_add(nanos)?;
    Some(Cost(nanos))
}

/// A text of digits only, and of some.
fn digits(text: &str) -> Option<&str> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then_some(text)
}

/// `6,000` without its comma. Every group but the first has three digits: `$1,5` may mean something
/// else to whoever wrote it.
fn ungrouped(whole: &str) -> Option<String> {
    let mut groups = whole.split(',');
    let first = groups.next()?;
    let is_fine = groups.clone().all(|group| group.len() == 3);
    let is_alone = groups.next().is_none();
    let has_head = is_alone || (1..=3).contains(&first.len());
    (is_fine && has_head).then(|| whole.replace(',', ""))
}

/// What a million tokens cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Tokens of prompts.
    pub input: Cost,
    /// Tokens of answers.
    pub output: Cost,
}

impl Price {
    /// The same for every token.
    pub const fn flat(any: Cost) -> Self {
        Self {
            input: any,
            output: any,
        }
    }

    /// What one answer costs.
    pub fn of(&self, usage: Usage) -> Cost {
        self.of_tokens(usage.prompt_tokens.into(), usage.completion_tokens.into())
    }

    /// What so many tokens cost, rounded once.
    pub fn of_tokens(&self, input: u64, output: u64) -> Cost {
        let part = |tokens: u64, price: Cost| u128::from(tokens) * u128::from(price.0);
        let exact = part(input, self.input).saturating_add(part(output, self.output));
        rounded(exact, PER_TOKENS).unwrap_or(Cost::MAX)
    }
}

/// What a month of 30 days costs where `cost` was spent in `time`; none for no time at all.
pub fn monthly_projection(cost: Cost, time: Duration) -> Option<Cost> {
    cost.scaled(MONTH.as_nanos(), time.as_nanos())
}

/// What a year costs where a month costs this.
pub fn yearly(month: Cost) -> Cost {
    month.times(MONTHS)
}

/// What a million requests cost where so many cost this; none for no request.
pub fn per_million(cost: Cost, requests: u64) -> Option<Cost> {
    cost.scaled(1_000_000, requests.into())
}

/// A row of a price table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceRow {
    /// The price.
    pub price: Price,
    /// Where the figures come from.
    pub source: String,
}

/// Prices by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceTable(BTreeMap<String, PriceRow>);

impl PriceTable {
    /// The row of this name.
    pub fn row(&self, name: &str) -> Option<&PriceRow> {
        self.0.get(name)
    }

    /// The price of this name.
    pub fn price(&self, name: &str) -> Option<Price> {
        self.row(name).map(|row| row.price)
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl FromIterator<(String, PriceRow)> for PriceTable {
    fn from_iter<I: IntoIterator<Item = (String, PriceRow)>>(rows: I) -> Self {
        Self(rows.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn usd(text: &str) -> Cost {
        text.parse().unwrap()
    }

    fn price(input: &str, output: &str) -> Price {
        Price {
            input: usd(input),
            output: usd(output),
        }
    }

    #[test]
    fn amounts_are_read_and_written_exactly() {
        for (text, nanos, shown) in [
            ("$2", 2 * DOLLAR, "$2.00"),
            ("$0.42", 420_000_000, "$0.42"),
            ("$0.0125", 12_500_000, "$0.0125"),
            ("$0.000000001", 1, "$0.000000001"),
            ("$6,000.00", 6_000 * DOLLAR, "$6,000.00"),
            ("$1234567.5", 1_234_567_500_000_000, "$1,234,567.50"),
            (
                "$18446744073.709551615",
                u64::MAX,
                "$18,446,744,073.709551615",
            ),
            ("$0", 0, "$0.00"),
        ] {
            assert_eq!(text.parse(), Ok(Cost::from_nanos(nanos)), "{text}");
            assert_eq!(Cost::from_nanos(nanos).to_string(), shown);
        }
        for bad in [
            "2",
            "$",
            "$-2",
            "$+2",
            "-$2",
            "$1.",
            "$.5",
            "$1,5",
            "$1234,567",
            "$1,,000",
            "$,100",
            "$1e3",
            "$0.0000000001",
            "$18446744073.709551616",
            "$99999999999999999999",
            "2$",
            "€2",
            "$1_000",
            "$NaN",
            "",
        ] {
            assert_eq!(bad.parse::<Cost>(), Err(NotAnAmount), "{bad}");
        }
    }

    /// The second article: a million requests a month of 1,000 tokens in and 500 out.
    #[test]
    fn the_article_s_month_costs_6000_dollars_and_its_year_72000() {
        let usage = Usage {
            prompt_tokens: 1_000,
            completion_tokens: 500,
        };
        let price = price("$2.00", "$8.00");
        let requests: Cost = (0..1_000_000).map(|_| price.of(usage)).sum();
        assert_eq!(requests.to_string(), "$6,000.00");
        assert_eq!(price.of_tokens(1_000_000_000, 500_000_000), requests);
        let month = monthly_projection(requests, MONTH).unwrap();
        assert_eq!(month.to_string(), "$6,000.00");
        assert_eq!(yearly(month).to_string(), "$72,000.00");
        let one = per_million(price.of(usage), 1);
        assert_eq!(one.map(|c| c.to_string()).as_deref(), Some("$6,000.00"));
    }

    #[test]
    fn what_is_too_large_stays_at_the_end_and_what_is_none_is_none() {
        assert_eq!(Cost::MAX.checked_add(Cost::from_nanos(1)), None);
        assert_eq!(Cost::MAX.saturating_add(Cost::from_nanos(1)), Cost::MAX);
        assert_eq!(Cost::MAX.times(2), Cost::MAX);
        assert_eq!(
            Price::flat(Cost::MAX).of_tokens(u64::MAX, u64::MAX),
            Cost::MAX
        );
        let second = Duration::from_secs(1);
        assert_eq!(monthly_projection(Cost::MAX, second), Some(Cost::MAX));
        assert_eq!(monthly_projection(Cost::ZERO, second), Some(Cost::ZERO));
        assert_eq!(monthly_projection(usd("$1"), Duration::ZERO), None);
        assert_eq!(per_million(usd("$1"), 0), None);
        assert_eq!(Cost::MAX.scaled(u128::MAX, 0), None);
        assert!(Cost::MAX.to_cents() <= Cost::MAX);
        assert_eq!(usd("$1.005").to_cents(), usd("$1.01"));
        assert_eq!(usd("$1.004999999").to_cents(), usd("$1.00"));
    }

    #[test]
    fn an_attempt_is_rounded_once() {
        // A third of a nano-dollar each.
        let price = price("$0.000333333", "$0.000333333");
        let of = |input, output| price.of_tokens(input, output).nanos();
        assert_eq!((of(1, 0), of(1, 1), of(3, 0), of(5, 0)), (0, 1, 1, 2));
    }

    proptest! {
        #[test]
        fn parts_add_up_to_their_total(
            attempts in prop::collection::vec((any::<u32>(), any::<u32>(), any::<bool>()), 0..200),
            input in 0_u64..10_000_000_000_000,
            output in 0_u64..10_000_000_000_000,
        ) {
            let price = Price { input: Cost(input), output: Cost(output) };
            let cost = |(i, o, _): &(u32, u32, bool)| price.of_tokens((*i).into(), (*o).into());
            let total: Cost = attempts.iter().map(cost).sum();
            let served: Cost = attempts.iter().filter(|a| a.2).map(cost).sum();
            let wasted: Cost = attempts.iter().filter(|a| !a.2).map(cost).sum();
            prop_assert_eq!(served.saturating_add(wasted), total);
            // Half a nano-dollar an attempt is all that rounding can do.
            let tokens = attempts.iter().fold((0, 0), |(i, o), a| (i + u64::from(a.0), o + u64::from(a.1)));
            let exact = price.of_tokens(tokens.0, tokens.1);
            if total < Cost::MAX && exact < Cost::MAX {
                prop_assert!(total.nanos().abs_diff(exact.nanos()) <= 1 + attempts.len() as u64 / 2);
            }
        }

        #[test]
        fn an_amount_is_read_as_it_is_written(nanos: u64) {
            let cost = Cost(nanos);
            prop_assert_eq!(cost.to_string().parse(), Ok(cost));
        }
    }
}
