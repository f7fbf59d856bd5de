//! A comparison of policies on a terminal.

use std::fmt::Write;
use std::time::Duration;

use crate::report::tune::csv::quantile;
use crate::report::tune::{Basis, PolicyRuns, Tuned};
use crate::stats::allowance::Allowance;
use crate::stats::samples::Samples;
use crate::time::Human;
use crate::verdict::result::{grouped, percent};

/// The columns of the budgets, behind the policy.
const BUDGETS: [&str; 7] = [
    "",
    "within: median",
    "99.99 %",
    "suggested",
    "canary_requests: median",
    "99.99 %",
    "suggested",
];

/// A line a policy, those on the front marked; and what the columns are.
pub fn render(tuned: &Tuned, folder: Option<&str>) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = head(&mut text, tuned);
    let _ = table(&mut text, tuned);
    let _ = notes(&mut text, tuned);
    let _ = budgets(&mut text, tuned);
    if let Some(folder) = folder {
        let _ = writeln!(text, "report: {folder}");
    }
    text
}

fn head(text: &mut String, tuned: &Tuned) -> std::fmt::Result {
    let interrupted = match tuned.interrupted {
        true => " · INTERRUPTED",
        false => "",
    };
    writeln!(
        text,
        "{} · {} policies · {} seeds from {}, each with and without the canary's faults{interrupted}",
        tuned.meta.scenario,
        tuned.policies.len(),
        grouped(tuned.planned),
        tuned.meta.seed,
    )
}

fn table(text: &mut String, tuned: &Tuned) -> std::fmt::Result {
    let keys = tuned.keys();
    let mut rows = vec![titles(&keys)];
    for (i, (policy, is_best)) in tuned.policies.iter().zip(tuned.front()).enumerate() {
        rows.push(cells(i + 1, policy, is_best, &keys));
    }
    aligned(text, &rows, keys.len() + 1)
}

/// Rows with columns as wide as their widest cell, of which the first so many begin at the left. What stands alone behind
/// these is a remark, and widens nothing.
fn aligned(text: &mut String, rows: &[Vec<String>], left: usize) -> std::fmt::Result {
    let columns = rows[0].len();
    let width = |column: usize| {
        let is_cell = |row: &&Vec<String>| column < left || row.len() == columns;
        let cells = rows.iter().filter(is_cell);
        cells.map(|row| row[column].chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|c| width(c).unwrap_or(0)).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| match column >= left {
            true if row.len() == columns => format!("{cell:>width$}"),
            _ => format!("{cell:<width$}"),
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        writeln!(text, "{}", line.trim_end())?;
    }
    Ok(())
}

fn titles(keys: &[&str]) -> Vec<String> {
    let mut titles = vec![String::new()];
    titles.extend(keys.iter().map(|key| (*key).to_owned()));
    let figures = [
        "false rollbacks %",
        "found %",
        "detection median",
        "90 %",
        "exposed median",
        "90 %",
    ];
    titles.extend(figures.map(str::to_owned));
    titles
}

fn cells(number: usize, policy: &PolicyRuns, is_best: bool, keys: &[&str]) -> Vec<String> {
    let mut cells = vec![marked(number, policy, is_best)];
    let setting = |key: &&str| policy.setting(key).unwrap_or("–").to_owned();
    cells.extend(keys.iter().map(setting));
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    let (detection, exposed) = (&policy.detection, &policy.exposed);
    cells.extend([
        or_none(false_rollbacks(policy)),
        or_none(policy.found().map(percent)),
        or_none(quantile(detection, "p50").map(time)),
        or_none(quantile(detection, "p90").map(time)),
        or_none(quantile(exposed, "p50").map(grouped)),
        or_none(quantile(exposed, "p90").map(grouped)),
    ]);
    cells
}

fn marked(number: usize, policy: &PolicyRuns, is_best: bool) -> String {
    let mark = if is_best { '◆' } else { ' ' };
    let own = if policy.is_own { '*' } else { ' ' };
    format!("{mark}{own}{number:>3}")
}

fn time(nanos: u64) -> String {
    Human(Duration::from_nanos(nanos)).to_string()
}

/// `3 (0.6–8.5)`
fn false_rollbacks(policy: &PolicyRuns) -> Option<String> {
    let (share, limits) = (policy.false_rate()?, policy.false_limits()?);
    let (low, high) = (limits.low * 100.0, limits.high * 100.0);
    Some(format!("{} ({low:.1}–{high:.1})", percent(share)))
}

fn notes(text: &mut String, tuned: &Tuned) -> std::fmt::Result {
    writeln!(
        text,
        "◆ finds the trouble, and no other policy is better in false rollbacks or exposure (median) and worse in neither · * as it is in the file"
    )?;
    writeln!(
        text,
        "false rollbacks: of runs without the canary's faults, with 95 % intervals; detection and exposed requests: \
         from {} on, until the rollback or the end",
        Human(tuned.since.elapsed())
    )
}

/// What a `rollback` gate should allow with the policies that are worth a choice; the others' are in the files.
fn budgets(text: &mut String, tuned: &Tuned) -> std::fmt::Result {
    let policies = tuned.policies.iter().zip(tuned.front()).enumerate();
    let chosen: Vec<_> = policies
        .filter(|(_, (policy, is_best))| *is_best || policy.is_own)
        .collect();
    writeln!(text, "\nbudgets for `rollback`, of ◆ and *:")?;
    let mut rows = vec![BUDGETS.map(str::to_owned).to_vec()];
    for (i, (policy, is_best)) in &chosen {
        let mut row = vec![marked(i + 1, policy, *is_best)];
        row.extend(budget(policy));
        rows.push(row);
    }
    aligned(text, &rows, 1)?;
    let has = |basis: Basis| {
        let of = |(_, (policy, _)): &(usize, (&PolicyRuns, bool))| policy.budget.map(|b| b.basis);
        chosen.iter().any(|policy| of(policy) == Some(basis))
    };
    if has(Basis::Formula) {
        writeln!(
            text,
            "median: of the runs; 99.99 %: by formula (docs/runs.md)"
        )?;
    }
    if has(Basis::Seeds) {
        writeln!(text, "99.99 % ≤: at most that, with 95 % confidence")?;
    }
    if has(Basis::FewSeeds) {
        writeln!(
            text,
            "at least: the most of so few runs; what the 99.99 % quantile is at most, --runs 30000 tells"
        )?;
    }
    Ok(())
}

/// Median, 99.99 % quantile and budget of time and of requests.
fn budget(policy: &PolicyRuns) -> Vec<String> {
    let Some(advice) = &policy.budget else {
        let missed = policy.runs - policy.detection.count();
        let (missed, runs) = (grouped(missed), grouped(policy.runs));
        return vec![format!(
            "none: {missed} of {runs} runs were not rolled back in their trouble"
        )];
    };
    let bound = match advice.basis {
        Basis::Seeds => "≤ ",
        Basis::Formula | Basis::FewSeeds => "",
    };
    let least = match advice.basis {
        Basis::FewSeeds => "at least ",
        Basis::Formula | Basis::Seeds => "",
    };
    let cells = |samples: &Samples, allowance: Allowance, show: fn(u64) -> String| {
        let or_none = |value: Option<u64>| value.map_or("–".to_owned(), show);
        [
            or_none(quantile(samples, "p50")),
            format!("{bound}{}", or_none(allowance.extreme)),
            format!("{least}{}", show(allowance.suggested)),
        ]
    };
    let within = cells(&policy.detection, advice.within, time);
    let requests = cells(&policy.exposed, advice.canary_requests, grouped);
    [within, requests].concat()
}
