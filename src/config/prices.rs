//! Prices as people write them: `{input: $2.00, output: $8.00}`, and tables of them with names.

use crate::config::fields::{Cx, closest, head, listed};
use crate::config::node::{Entry, Node, Value};
use crate::config::values;
use crate::pricing::{Cost, Price, PriceRow, PriceTable};
use crate::stats::compare::Comparison;

/// Highest price of a million tokens: a million dollars.
const HIGHEST: Cost = Cost::from_nanos(1_000_000_000_000_000);

/// The table that the names of prices are looked up in.
#[derive(Clone, Debug)]
pub enum Names {
    /// The file names none.
    Unset,
    /// It names one that cannot be read, which was reported.
    Unreadable,
    /// This one.
    Table(PriceTable),
}

/// Reads a price table file. None means that mistakes were reported.
pub fn table(cx: Cx<'_>, node: &Node) -> Option<PriceTable> {
    let fields = cx.fields(node, "a price table")?;
    let expected = "{NAME: {input: $2.00, output: $8.00, source: WHERE}}";
    let table = fields.required("prices", expected, |cx, n| {
        let Value::Map(entries) = &n.value else {
            return cx.wrong(n, "a mapping of prices", expected);
        };
        let rows: Vec<_> = entries.iter().map(|e| row(cx, e)).collect();
        rows.into_iter().collect()
    });
    fields.finish();
    table
}

fn row(cx: Cx<'_>, entry: &Entry) -> Option<(String, PriceRow)> {
    let fields = cx.fields(&entry.value, "a row of a price table")?;
    let source = fields.required("source", "where the figures come from", values::text);
    let price = figures(&fields);
    fields.finish();
    let row = PriceRow {
        price: price?,
        source: source?,
    };
    Some((entry.key.clone(), row))
}

/// Reads a version's price: figures, or the name of a row. None means that mistakes were reported.
pub fn price(cx: Cx<'_>, node: &Node, names: &Names) -> Option<Price> {
    if let Value::Scalar(name) = &node.value {
        return named(cx, node, name, names);
    }
    let fields = cx.fields(node, "a price")?;
    let price = figures(&fields);
    fields.finish();
    price
}

fn named(cx: Cx<'_>, node: &Node, name: &str, names: &Names) -> Option<Price> {
    let expected = "{input: $2.00, output: $8.00} per million tokens, or the name of a row";
    let table = match names {
        Names::Table(table) => table,
        Names::Unreadable => return None,
        Names::Unset => {
            let message = format!("`{}` is no price, and no price table is named", head(name));
            let hint = "name the table with `prices: FILE` at the top of the router file";
            return cx.error(cx.at(node.place, message).expected(expected).hint(hint));
        }
    };
    if let Some(price) = table.price(name) {
        return Some(price);
    }
    let known: Vec<&str> = table.names().collect();
    let message = format!("the price table has no row `{}`", head(name));
    let diagnostic = cx.at(node.place, message);
    let diagnostic = diagnostic.expected(format!("one of {}", listed(&known)));
    cx.error(match closest(name, &known) {
        Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
        None => diagnostic,
    })
}

/// `input` and `output`, or `flat` for both.
fn figures(fields: &crate::config::fields::Fields<'_, '_>) -> Option<Price> {
    if fields.node("flat").is_none() {
        let input = fields.required("input", "$2.00 (per million tokens)", per_million);
        let output = fields.required("output", "$8.00 (per million tokens)", per_million);
        return Some(Price {
            input: input?,
            output: output?,
        });
    }
    let flat = fields.optional("flat", per_million);
    let others = ["input", "output"].map(|key| fields.node(key).is_some());
    if others.contains(&true) {
        let expected = "flat alone, or input and output";
        fields.complain("`flat` is a price of all tokens already", expected);
        return None;
    }
    flat.map(Price::flat)
}

/// An amount of money: `$1.00`.
pub fn amount(cx: Cx<'_>, node: &Node) -> Option<Cost> {
    let expected = "an amount in dollars, like $1.00";
    let text = cx.text(node, "an amount", expected)?;
    let parsed = text.parse().ok();
    parsed.or_else(|| cx.wrong(node, "an amount", expected))
}

/// A price of a million tokens: `$2.00`.
fn per_million(cx: Cx<'_>, node: &Node) -> Option<Cost> {
    let expected = "dollars for a million tokens, like $2.00";
    let text = cx.text(node, "an amount", expected)?;
    match text.parse::<Cost>() {
        Ok(cost) if cost <= HIGHEST => Some(cost),
        Ok(_) => cx.wrong(node, "a sane price", "$0 to $1,000,000"),
        Err(_) => cx.wrong(node, "an amount", expected),
    }
}

/// A comparison with an amount: `"<= $1.00"`.
pub fn cost_comparison(cx: Cx<'_>, node: &Node) -> Option<Comparison<Cost>> {
    values::comparison(cx, node, "\"<= $1.00\", \"< $0.05\"", |t| t.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::read;

    fn usd(text: &str) -> Cost {
        text.parse().unwrap()
    }

    fn small_table() -> Names {
        let text = "prices: {a/one: {input: $2, output: $8, source: here}, a/two: {flat: $0.42, source: there}}";
        Names::Table(read(text, table).unwrap())
    }

    #[test]
    fn a_price_is_figures_or_a_name() {
        let names = small_table();
        let of = |text: &str| read(text, |cx, n| price(cx, n, &names));
        let one = Price {
            input: usd("$2"),
            output: usd("$8"),
        };
        assert_eq!(of("{input: $2.00, output: $8.00}"), Ok(one));
        assert_eq!(of("a/one"), Ok(one));
        assert_eq!(of("a/two"), Ok(Price::flat(usd("$0.42"))));
        assert_eq!(of("{flat: $0.42}"), Ok(Price::flat(usd("$0.42"))));
        assert_eq!(of("{flat: $0}"), Ok(Price::flat(Cost::ZERO)));
    }

    #[test]
    fn every_mistake_is_told_with_what_is_expected() {
        let names = small_table();
        for (text, expected) in [
            (
                "{input: 2, output: $8}",
                "dollars for a million tokens, like $2.00",
            ),
            ("{input: $2}", "`output` is missing in a price"),
            (
                "{input: $2, output: $8, outptu: $8}",
                "did you mean `output`?",
            ),
            ("{input: $2, output: $2000000}", "a sane price"),
            ("{input: $2, output: -$8}", "is not an amount"),
            ("{input: $0.0000000001, output: $8}", "is not an amount"),
            ("{flat: $2, input: $2}", "flat alone, or input and output"),
            ("{flat: [1]}", "is not an amount"),
            ("a/oen", "did you mean `a/one`?"),
            ("[1]", "a mapping (a price)"),
        ] {
            let said = read(text, |cx, n| price(cx, n, &names)).unwrap_err();
            assert!(said.contains(expected), "{text}: {said}");
            assert!(said.contains("t.yaml:1:"), "{said}");
        }
        let unset = read("a/one", |cx, n| price(cx, n, &Names::Unset)).unwrap_err();
        assert!(unset.contains("prices: FILE"), "{unset}");
        let silent = read("a/one", |cx, n| price(cx, n, &Names::Unreadable));
        assert_eq!(silent, Err(String::new()), "said already");
    }

    #[test]
    fn a_table_says_where_its_figures_come_from() {
        for (text, expected) in [
            (
                "prices: {a: {input: $2, output: $8}}",
                "`source` is missing",
            ),
            ("prices: [a]", "a mapping of prices"),
            ("price: {}", "did you mean `prices`?"),
            (
                "prices: {a: $2, b: {flat: 2, source: x}}",
                "a row of a price table",
            ),
        ] {
            let said = read(text, table).unwrap_err();
            assert!(said.contains(expected), "{text}: {said}");
        }
    }

    #[test]
    fn bounds_on_costs_are_amounts() {
        let bound = |text: &str| read(text, cost_comparison).map(|c| (c.op, c.bound));
        assert_eq!(
            bound("\"<= $1.00\""),
            Ok((crate::stats::compare::Op::AtMost, usd("$1")))
        );
        assert_eq!(bound("\"< $6,000\"").map(|c| c.1), Ok(usd("$6000")));
        assert!(bound("\"<= 1.00\"").unwrap_err().contains("<= $1.00"));
    }
}
