//! Prices in files, and what a run says it cost.

use serde_json::Value;

use crate::support::{Folder, graygate, scenario};

/// 1,000 tokens in and 500 out, at these prices.
fn article(prices: &str, expect: &str) -> String {
    scenario(expect)
        .replace(
            "router: FIXTURES/routers/gray-30-fast.yaml",
            &format!(
                "router:
  prices: FIXTURES/prices.yaml
  versions:
    v1: {{role: stable, model: gpt-4.1, price: {prices}}}
    v2: {{role: canary, model: gpt-4.1-new, price: {prices}}}
  split: {{weights: {{v1: 7, v2: 3}}}}"
            ),
        )
        .replace("latency: 5ms", "latency: 5ms, output_tokens: 500")
        .replace("100/s}", "100/s}, prompts: prompts.jsonl")
}

fn run(folder: &Folder, text: &str) -> (Option<i32>, String, Value) {
    let words = ["word"; 1_000].join(" ");
    folder.write("prompts.jsonl", &format!("{{\"prompt\": \"{words}\"}}\n"));
    let file = folder.write("money.yaml", text);
    let out = folder.path().join("out").display().to_string();
    let done = graygate(&["run", &file, "--out", &out]);
    let path = folder.path().join("out/money/virtual-seed3/summary.json");
    let summary = std::fs::read_to_string(path).expect("a summary");
    let summary = serde_json::from_str(&summary).expect("JSON");
    (done.code, done.out, summary)
}

#[test]
fn a_million_requests_of_the_article_cost_6000_dollars() {
    let folder = Folder::new();
    let gate = "  - cost: {total: \"<= $1.00\", wasted: \"$0.00\", unknown: \"0\"}";
    let (code, out, summary) = run(&folder, &article("holysheep/gpt-4.1", gate));
    assert_eq!(code, Some(0), "{out}");
    let cost = &summary["cost"];
    // 100 requests.
    assert_eq!(cost["total_nano_usd"], 600_000_000, "{cost:#}");
    let million = &cost["projection"]["per_million_requests_nano_usd"];
    assert_eq!(*million, 6_000_000_000_000_u64);
    // At 100 requests a second, 259.2 times the article's traffic.
    let month = &cost["projection"]["month_nano_usd"];
    assert_eq!(*month, 6_000_000_000_000_u64 / 10 * 2_592);
    assert!(
        out.contains("$0.60, of it $0.00 for nothing; $1,555,200.00 in 30 days"),
        "{out}"
    );
    let tokens = |version: &str, part: &str| {
        let count = &cost["versions"][version]["served"][part];
        count.as_u64().expect("a count")
    };
    assert_eq!(
        tokens("v1", "input_tokens") + tokens("v2", "input_tokens"),
        100_000
    );
    assert_eq!(
        tokens("v1", "output_tokens") + tokens("v2", "output_tokens"),
        50_000
    );
    let folder = folder.path().join("out/money/virtual-seed3");
    let svg = std::fs::read_to_string(folder.join("cost.svg")).expect("a plot");
    assert!(svg.contains("Cost since the start of the run"));
    let report = std::fs::read_to_string(folder.join("report.md")).expect("a report");
    assert!(
        report.contains("| together | | | | $0.60 | $0.00 (0 %) | 0 |"),
        "{report}"
    );
    assert!(report.contains("(cost.svg)"));
}

#[test]
fn a_run_that_costs_too_much_fails() {
    let folder = Folder::new();
    let gate = "  - cost: {total: \"<= $1.00\"}";
    let (code, out, _) = run(&folder, &article("openai/gpt-4.1", gate));
    assert_eq!(code, Some(1), "{out}");
    assert!(
        out.contains("total <= $1.00 — $4.50 for 100 attempts"),
        "{out}"
    );
}

/// Without prices nothing is said of money.
#[test]
fn a_run_without_prices_says_nothing_of_costs() {
    let folder = Folder::new();
    let text = scenario("  - requests: {success: \"100%\"}");
    let (code, out, summary) = run(&folder, &text);
    assert_eq!(code, Some(0), "{out}");
    assert!(summary.get("cost").is_none() && !out.contains("cost"));
    let folder = folder.path().join("out/money/virtual-seed3");
    assert!(!folder.join("cost.svg").exists());
}

#[test]
fn mistakes_about_money_at_once() {
    let folder = Folder::new();
    let gates = "  - cost: {total: 1, wasted: \"<= 5\"}
  - cost: {version: v2, total: \"<= $1.00\"}
  - cost: {unknown: \"0\"}
  - cost";
    let text = article("holysheep/gpt-4.2", gates);
    let file = folder.write("names.yaml", &text);
    let named = graygate(&["validate", &file]);
    assert_eq!(named.code, Some(2));
    let file = folder.write(
        "figures.yaml",
        &text.replace("holysheep/gpt-4.2", "{input: 2, outptu: $8}"),
    );
    let figures = graygate(&["validate", &file]);
    assert_eq!(figures.code, Some(2));
    folder.write("prompts.jsonl", "{\"prompt\": \"x\"}\n");
    // Gates are only judged once the router is right.
    let half = text.replacen(", price: holysheep/gpt-4.2", "", 2);
    let file = folder.write("unpriced.yaml", &half);
    let unpriced = graygate(&["validate", &file]);
    assert_eq!(unpriced.code, Some(2));
    let no_table =
        article("holysheep/gpt-4.1", gates).replace("  prices: FIXTURES/prices.yaml\n", "");
    let file = folder.write("no-table.yaml", &no_table);
    let no_table = graygate(&["validate", &file]);
    let lost = article("holysheep/gpt-4.1", gates).replace("FIXTURES/prices", "no-such-prices");
    let file = folder.write("lost.yaml", &lost);
    let lost = graygate(&["validate", &file]);
    let all = [named, figures, unpriced, no_table, lost].map(|done| done.err);
    insta::assert_snapshot!(folder.anonymous(&all.join("\n")));
}

#[test]
fn a_price_table_is_validated_by_itself() {
    let folder = Folder::new();
    let table = "prices:\n  a: {input: $2, output: 8, source: here}\n  b: {flat: $1}\n";
    let file = folder.write("prices.yaml", table);
    let done = graygate(&["validate", &file]);
    assert_eq!(done.code, Some(2));
    insta::assert_snapshot!(folder.anonymous(&done.err));
    assert_eq!(
        graygate(&["validate", "fixtures/prices.yaml"]).code,
        Some(0)
    );
}
