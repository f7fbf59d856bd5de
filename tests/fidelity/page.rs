//! docs/fidelity.md as text.

use std::collections::BTreeSet;

use crate::agreement::{Agreement, median};
use crate::catalogue::{ALL, Case};
use crate::figures::Measure;
use crate::playing::Pair;
use crate::table::Table;
use crate::tolerance::{breaches, not_near};
use crate::words;

/// Where it is.
pub(crate) const PATH: &str = "docs/fidelity.md";

/// The page.
pub(crate) fn write(table: &Table) -> String {
    let mut page = words::HEAD.to_owned();
    page += &circumstances(table);
    page += "\n## In short\n\n";
    page += &in_short(table);
    page += words::WHY;
    page += &words::tolerances();
    page += &scenarios(table);
    page += &over_all(table);
    page += &legs(table);
    page += &outside(table);
    page += "\n## Scenario by scenario\n";
    ALL.iter().for_each(|case| page += &of_case(case, table));
    page
}

fn circumstances(table: &Table) -> String {
    let repeats: u64 = table.pairs.iter().map(|pair| pair.repeats).sum();
    let seeds: BTreeSet<u64> = table.pairs.iter().map(|pair| pair.seed).collect();
    let (first, last) = (seeds.first().unwrap_or(&0), seeds.last().unwrap_or(&0));
    format!(
        "\nMeasured on {} with a {} build on {}; {} live runs at once. Seeds {first} to {last}. \
         The load average was {}: other work was going on. {repeats} live runs were invalid, as their generator was late, and were \
         begun again; no other was.\n",
        table.fact("date"),
        table.fact("build"),
        table.fact("machine"),
        table.fact("live runs at once"),
        table.fact("load"),
    )
}

/// The figures of a measure, virtual and live, where both have it.
fn figures(pairs: &[&Pair], measure: Measure) -> Vec<(f64, f64)> {
    let both = |pair: &&Pair| {
        let simulated = pair.simulated.values.get(&measure)?;
        Some((*simulated, *pair.live.values.get(&measure)?))
    };
    pairs.iter().filter_map(both).collect()
}

/// The same of a count, where either has any.
fn counts(pairs: &[&Pair], key: &(String, String)) -> Vec<(f64, f64)> {
    let of = |counts: &crate::figures::Counts| counts.get(key).copied().unwrap_or(0) as f64;
    let both = pairs.iter();
    both.map(|pair| (of(&pair.simulated.counts), of(&pair.live.counts)))
        .collect()
}

/// What the table says, in some sentences.
pub(crate) fn in_short(table: &Table) -> String {
    let pairs: Vec<&Pair> = table.pairs.iter().collect();
    let n = pairs.len();
    let verdicts = pairs.iter().filter(|p| p.simulated.gates == p.live.gates);
    let same = pairs.iter().filter(|p| p.simulated.counts == p.live.counts);
    let sent: f64 = figures(&pairs, Measure::Requests).iter().map(|f| f.0).sum();
    let parted: u64 = pairs.iter().map(|p| p.parted).sum();
    let detections = figures(&pairs, Measure::Detection);
    let within = |ms: f64| {
        let near = detections.iter().filter(|(v, l)| (l - v).abs() <= ms);
        percent(near.count() as f64 / detections.len() as f64)
    };
    let distances: Vec<f64> = detections.iter().map(|(v, l)| (l - v).abs()).collect();
    let breaches = breaches(table);
    let latency = |measure| Agreement::of(&figures(&pairs, measure)).map_or(0.0, |a| a.bias);
    format!(
        "- All gates said the same in {} of {n} pairs of runs.\n\
         - Every count of outcomes, of callers and of both versions, was the same in {} of {n}; of the {sent:.0} requests, {} had \
         the same fate on both engines: the same versions, outcomes and faults, attempt by attempt.\n\
         - {} rollbacks: the live one came within 5 ms of the virtual one in {}, within 25 ms in {}, within 100 ms in {}; the median \
         of the differences is {:.1} ms, the largest {:.0} ms. No rollback came on one engine alone.\n\
         - Latency is longer live by {:.1} ms at p50, {:.1} ms at p95 and {:.1} ms at p99, on average over all scenarios.\n\
         - Out of tolerance: {}.\n",
        verdicts.count(),
        same.count(),
        percent(1.0 - parted as f64 / sent),
        detections.len(),
        within(5.0),
        within(25.0),
        within(100.0),
        median(&distances).unwrap_or(0.0),
        distances.iter().copied().fold(0.0, f64::max),
        latency(Measure::P50),
        latency(Measure::P95),
        latency(Measure::P99),
        match breaches.is_empty() {
            true => "nothing".to_owned(),
            false => breaches.join("; "),
        }
    )
}

/// A row a scenario.
fn scenarios(table: &Table) -> String {
    let mut text = words::SCENARIOS.to_owned();
    for case in &ALL {
        let pairs = table.of(case.name);
        let bias = |measure| {
            let agreement = Agreement::of(&figures(&pairs, measure));
            agreement.map_or("–".to_owned(), |a| signed(a.bias))
        };
        let detection = Agreement::of(&figures(&pairs, Measure::Detection));
        let detection = detection.map_or("– | – | –".to_owned(), |a| {
            let (median, largest) = (short(a.median), short(a.largest));
            format!("{median} | {largest} | {}", concordance(&a))
        });
        let same = pairs.iter().filter(|p| p.simulated.counts == p.live.counts);
        let sent: f64 = figures(&pairs, Measure::Requests).iter().map(|f| f.0).sum();
        let parted: u64 = pairs.iter().map(|p| p.parted).sum();
        text += &format!(
            "| {} | {} of {} | {} | {detection} | {} | {} | {} | {} | {} |\n",
            case.name,
            same.count(),
            pairs.len(),
            percent(parted as f64 / sent),
            bias(Measure::Exposed),
            bias(Measure::UserErrors),
            bias(Measure::P50),
            bias(Measure::P95),
            bias(Measure::P99),
        );
    }
    text
}

const COLUMNS: &str = "pairs | virtual: median (range) | equal | \\|Δ\\| median | \\|Δ\\| largest | of virtual: median, largest | bias (95 %) | concordance |\n\
                       |---|---|---|---|---|---|---|---|---|\n";

/// A row of a table with these columns.
fn row(name: &str, pairs: &[(f64, f64)]) -> String {
    let Some(a) = Agreement::of(pairs) else {
        return String::new();
    };
    let limits = a.limits.map_or(String::new(), |[low, high]| {
        format!(" ({} to {})", signed(low), signed(high))
    });
    format!(
        "| {name} | {} | {} | {} | {} | {} | {} | {}{limits} | {} |\n",
        a.n,
        range(pairs),
        a.equal,
        short(a.median),
        short(a.largest),
        shares(&a),
        signed(a.bias),
        concordance(&a),
    )
}

fn range(pairs: &[(f64, f64)]) -> String {
    let values: Vec<f64> = pairs.iter().map(|(simulated, _)| *simulated).collect();
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    let median = short(median(&values).unwrap_or(0.0));
    match least == most {
        true => median,
        false => format!("{median} ({}–{})", short(least), short(most)),
    }
}

fn shares(a: &Agreement) -> String {
    match (a.median_share, a.largest_share) {
        (Some(median), Some(largest)) => format!("{}, {}", percent(median), percent(largest)),
        _ => "–".to_owned(),
    }
}

fn concordance(a: &Agreement) -> String {
    a.concordance
        .map_or("–".to_owned(), |c| format!("{:.4}", cut(c)))
}

/// What is not quite 1 must not look like it.
fn cut(concordance: f64) -> f64 {
    (concordance * 1e4).trunc() / 1e4
}

/// A row a measure, over all scenarios together.
fn over_all(table: &Table) -> String {
    let pairs: Vec<&Pair> = table.pairs.iter().collect();
    let mut text = format!("{}| measure | {COLUMNS}", words::OVER_ALL);
    for measure in Measure::ALL.into_iter().filter(|m| !m.is_leg()) {
        text += &row(measure.in_words(), &figures(&pairs, measure));
    }
    text
}

/// Where live time goes that virtual has none of.
fn legs(table: &Table) -> String {
    let mut text = words::LEGS.to_owned();
    for case in &ALL {
        let pairs = table.of(case.name);
        let legs = Measure::ALL.into_iter().filter(|m| m.is_leg());
        let biases = legs.map(|measure| {
            let agreement = Agreement::of(&figures(&pairs, measure));
            agreement.map_or("–".to_owned(), |a| format!("{:+.2}", a.bias))
        });
        let biases: Vec<String> = biases.collect();
        text += &format!("| {} | {} |\n", case.name, biases.join(" | "));
    }
    text
}

/// Every figure that is farther off than most must be.
fn outside(table: &Table) -> String {
    let mut text = words::OUTSIDE.to_owned();
    let mut all = 0;
    for case in &ALL {
        for (judged, seed) in not_near(case, table) {
            all += 1;
            let (name, what) = (case.name, &judged.what);
            let (simulated, live) = (figure(judged.simulated), figure(judged.live));
            text += &format!("| {name} | {seed} | {what} | {simulated} | {live} |\n");
        }
    }
    if all == 0 {
        text += "| – | – | – | – | – |\n";
    }
    text
}

fn of_case(case: &Case, table: &Table) -> String {
    let pairs = table.of(case.name);
    let (name, about, tolerance) = (case.name, case.about, case.tolerance.name);
    let mut text = format!(
        "\n### {name}\n\n{}: {about}. Tolerance: {tolerance}.\n\n| measure | {COLUMNS}",
        case.scenario().title
    );
    for measure in Measure::ALL.into_iter().filter(|m| !m.is_leg()) {
        text += &row(measure.in_words(), &figures(&pairs, measure));
    }
    let engines = pairs.iter().flat_map(|pair| [&pair.simulated, &pair.live]);
    let keys: BTreeSet<_> = engines.flat_map(|figures| figures.counts.keys()).collect();
    for key in keys {
        text += &row(&format!("{}: `{}`", key.0, key.1), &counts(&pairs, key));
    }
    text
}

/// Some three digits.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        v if v < 10.0 => format!("{value:.2}"),
        v if v < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn signed(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        v if v > 0.0 => format!("+{}", short(v)),
        v => format!("−{}", short(-v)),
    }
}

fn figure(value: f64) -> String {
    format!("{}", (value * 1e3).round() / 1e3)
}

fn percent(share: f64) -> String {
    format!("{} %", short(share * 100.0))
}
