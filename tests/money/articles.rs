//! The articles' price lists and the sums that they make of them.

use std::path::PathBuf;

use graygate::config::diagnostic::Problems;
use graygate::pricing::{Cost, MONTH, PriceTable, monthly_projection, yearly};
use graygate::protocol::openai::Usage;
use graygate::scenario::compile::price_table_from_file;
use graygate::scenario::load::Loader;

use crate::support::project;

fn usd(text: &str) -> Cost {
    text.parse().expect("an amount")
}

fn table() -> PriceTable {
    let path: PathBuf = project("fixtures/prices.yaml");
    let problems = Problems::default();
    let table = price_table_from_file(&problems, &path, &Loader::default());
    assert!(!problems.has_errors());
    table.expect("a price table")
}

/// What 1,000,000 requests of 1,000 tokens in and 500 out cost, one by one, in a month.
fn month_at(name: &str) -> Cost {
    let price = table().price(name).expect(name);
    let usage = Usage {
        prompt_tokens: 1_000,
        completion_tokens: 500,
    };
    let spent: Cost = (0..1_000_000).map(|_| price.of(usage)).sum();
    monthly_projection(spent, MONTH).expect("a month")
}

#[test]
fn a_million_requests_at_2_and_8_dollars_cost_6000_a_month_and_72000_a_year() {
    let month = month_at("holysheep/gpt-4.1");
    assert_eq!(month, usd("$6,000"));
    assert_eq!(yearly(month), usd("$72,000"));
}

/// The article counts OpenAI's input at $2, although it lists $15.
#[test]
fn the_article_s_32000_dollars_are_not_what_its_own_price_list_gives() {
    let month = month_at("openai/gpt-4.1");
    assert_eq!(month, usd("$45,000"));
    assert_eq!(yearly(month), usd("$540,000"));
    let price = table().price("openai/gpt-4.1").expect("a row");
    let output = price.of_tokens(0, 500_000_000);
    let miscounted = output.saturating_add(usd("$2").times(1_000));
    assert_eq!(miscounted, usd("$32,000"), "how it comes to its figure");
}

/// The other article: a hundred million tokens a month at one price.
#[test]
fn a_hundred_million_tokens_at_a_flat_price() {
    let table = table();
    let month = |name: &str| {
        let price = table.price(name).expect(name);
        price.of_tokens(70_000_000, 30_000_000)
    };
    let (cheap, official) = (
        month("holysheep-flat/gpt-4.1"),
        month("official-flat/gpt-4.1"),
    );
    assert_eq!((cheap, official), (usd("$800"), usd("$6,000")));
    let saved = Cost::from_nanos(official.nanos() - cheap.nanos());
    assert_eq!(yearly(saved), usd("$62,400"));
    assert_eq!(month("holysheep-flat/deepseek-v3.2"), usd("$42"));
}

#[test]
fn every_figure_of_the_table_says_which_article_it_is_from() {
    let table = table();
    assert_eq!(table.names().count(), 12);
    for name in table.names() {
        let source = &table.row(name).expect(name).source;
        let article = ["stress-test article", "rollback article"];
        assert!(article.iter().any(|a| source.starts_with(a)), "{name}");
    }
}
