//! The table of docs/statistics.md: how often which rule rolls back, and how soon.
//!
//! 5 % canary share, 10 canary and 190 stable requests every 5 s, a look each time, ten minutes.

use std::time::Duration;

use graygate::stats::sprt::Sprt;
use graygate::time::Timestamp;
use rayon::prelude::*;

use crate::dice::{Binomial, Dice};
use crate::rules::{CANARY, Fisher, FiveChecks, LindonMalek, Literal, Rule, STABLE, Sequential};

const RUNS: u64 = 4_000;
const LOOKS: u64 = 120;
const MINUTE: Duration = Duration::from_secs(60);

/// Failure rates of canary and stable.
const COLUMNS: [(&str, f64, f64); 8] = [
    ("both 1 %", 0.01, 0.01),
    ("both 2 %", 0.02, 0.02),
    ("both 3 %", 0.03, 0.03),
    ("shared outage 8 %", 0.08, 0.08),
    ("5 % vs 1 %", 0.05, 0.01),
    ("10 % vs 1 %", 0.10, 0.01),
    ("20 % vs 1 %", 0.20, 0.01),
    ("dead canary", 1.0, 0.01),
];

/// What a row says: percent of runs, and the median of the canary's requests until then where it
/// says so.
type Row = ([f64; 8], [u64; 4]);

struct Cell {
    percent: f64,
    median: Option<u64>,
}

fn measure(rule: &(impl Fn() -> Box<dyn Rule> + Sync), experiment: u64, rates: (f64, f64)) -> Cell {
    let draws = (
        Binomial::new(CANARY, rates.0),
        Binomial::new(STABLE, rates.1),
    );
    let runs = (0..RUNS).into_par_iter();
    let mut fired: Vec<u64> = runs
        .filter_map(|run| first_rollback(&mut *rule(), &draws, &mut Dice::new(experiment, run)))
        .collect();
    fired.sort_unstable();
    Cell {
        percent: 100.0 * fired.len() as f64 / RUNS as f64,
        median: fired.get(fired.len() / 2).map(|looks| looks * CANARY),
    }
}

fn first_rollback(
    rule: &mut dyn Rule,
    draws: &(Binomial, Binomial),
    dice: &mut Dice,
) -> Option<u64> {
    (1..=LOOKS).find(|look| {
        let now = Timestamp::from(Duration::from_secs(5 * look));
        let (canary, stable) = (draws.0.draw(dice), draws.1.draw(dice));
        rule.rolls_back(now, canary, stable)
    })
}

/// |observed − table| ≤ max(0.5 points, 4·√(p(1−p)/4000)).
fn is_near(observed: f64, table: f64) -> bool {
    let p = table / 100.0;
    let spread = 4.0 * (p * (1.0 - p) / RUNS as f64).sqrt() * 100.0;
    (observed - table).abs() <= spread.max(0.5)
}

/// Within one look (of this many canary requests) or 10 %.
fn is_near_median(observed: u64, table: u64, a_look: u64) -> bool {
    let allowed = (table as f64 * 0.1).max(a_look as f64);
    (observed as f64 - table as f64).abs() <= allowed
}

fn check(
    name: &str,
    row: Row,
    a_look: u64,
    at_most: Option<f64>,
    rule: impl Fn() -> Box<dyn Rule> + Sync,
) {
    let (percents, medians) = row;
    let mut wrong = Vec::new();
    let row_id = name
        .bytes()
        .fold(7, |id, b| (id * 31 + u64::from(b)) % 1_000_003);
    for (i, (column, canary, stable)) in COLUMNS.into_iter().enumerate() {
        let cell = measure(&rule, row_id * 8 + i as u64, (canary, stable));
        println!(
            "{name:<34} {column:<18} {:>7.3} % {:?}",
            cell.percent, cell.median
        );
        let is_false_alarm = i < 4;
        let limit = at_most.filter(|_| is_false_alarm);
        let is_right = match limit {
            Some(limit) => cell.percent <= limit,
            None => is_near(cell.percent, percents[i]),
        };
        if !is_right {
            wrong.push(format!(
                "{column}: {} %, table {}",
                cell.percent, percents[i]
            ));
        }
        let table = i.checked_sub(4).map(|i| medians[i]);
        if let (Some(table), Some(median)) = (table, cell.median)
            && cell.percent >= 50.0
            && !is_near_median(median, table, a_look)
        {
            wrong.push(format!("{column}: median {median}, table {table}"));
        }
    }
    assert!(wrong.is_empty(), "{name}: {wrong:#?}");
}

#[test]
fn error_rate_on_a_minute() {
    check(
        "error rate > 5 % in 60 s",
        (
            [11.7, 45.0, 88.0, 100.0, 100.0, 100.0, 100.0, 100.0],
            [30, 10, 10, 10],
        ),
        10,
        None,
        || Box::new(Literal::error_rate(MINUTE, 1)),
    );
}

#[test]
fn error_rate_on_a_minute_with_a_minimum() {
    check(
        "same, ≥ 100 samples",
        (
            [0.9, 27.0, 82.0, 100.0, 100.0, 100.0, 100.0, 100.0],
            [130, 100, 100, 100],
        ),
        10,
        None,
        || Box::new(Literal::error_rate(MINUTE, 100)),
    );
}

#[test]
fn error_rate_since_the_beginning() {
    check(
        "cumulative > 5 %, ≥ 50",
        (
            [1.4, 11.0, 30.0, 100.0, 89.0, 100.0, 100.0, 100.0],
            [50, 50, 50, 50],
        ),
        10,
        None,
        || Box::new(Literal::error_rate(60 * MINUTE, 50)),
    );
}

#[test]
fn five_failed_checks() {
    check(
        "every minute, 5 failed checks",
        (
            [0.0, 0.0, 0.02, 99.9, 35.0, 100.0, 100.0, 100.0],
            [1_080, 600, 600, 600],
        ),
        10,
        None,
        || Box::new(FiveChecks::default()),
    );
}

#[test]
fn fisher_at_every_look() {
    check(
        "Fisher p < .01 at every look",
        (
            [4.4, 5.1, 5.4, 5.8, 100.0, 100.0, 100.0, 100.0],
            [100, 40, 20, 20],
        ),
        20,
        None,
        || Box::new(Fisher::default()),
    );
}

#[test]
fn walds_test() {
    check(
        "SPRT 1 %/5 %, floored",
        (
            [0.8, 36.0, 93.0, 100.0, 100.0, 100.0, 100.0, 100.0],
            [110, 40, 20, 10],
        ),
        10,
        None,
        || Box::new(Sprt::new(0.01, 0.05, 0.01, 0.05)),
    );
}

#[test]
fn lindon_and_maleks_test() {
    check(
        "Lindon–Malek, α = 1 %",
        (
            [0.01, 0.04, 0.07, 0.07, 100.0, 100.0, 100.0, 100.0],
            [280, 120, 60, 10],
        ),
        10,
        Some(0.3),
        || Box::new(LindonMalek::default()),
    );
}

#[test]
fn the_sequential_judge() {
    check(
        "the rule",
        (
            [0.0, 0.02, 0.0, 0.01, 100.0, 100.0, 100.0, 100.0],
            [250, 80, 30, 10],
        ),
        10,
        Some(0.3),
        || Box::new(Sequential::new()),
    );
}

/// "p99 > 500 ms over 60 s" rolls back canaries whose p99 is fine.
#[test]
fn p99_on_a_minute() {
    for (experiment, slow, table) in [(901, 0.002, 43.0), (902, 0.005, 89.0), (903, 0.009, 99.4)] {
        let rule = || Box::new(Literal::p99(MINUTE)) as Box<dyn Rule>;
        let cell = measure(&rule, experiment, (slow, 0.0));
        println!("p99 with {slow} slow: {} %", cell.percent);
        assert!(is_near(cell.percent, table), "{slow}: {}", cell.percent);
    }
}
