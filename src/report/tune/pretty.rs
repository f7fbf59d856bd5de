//! A comparison of policies on a terminal.

use std::fmt::Write;
use std::time::Duration;

use crate::report::tune::csv::quantile;
use crate::report::tune::{PolicyRuns, Tuned};
use crate::time::Human;
use crate::verdict::result::{grouped, percent};

/// A line a policy, those on the front marked; and what the columns are.
pub fn render(tuned: &Tuned, folder: Option<&str>) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = head(&mut text, tuned);
    let _ = table(&mut text, tuned);
    let _ = foot(&mut text, tuned, folder);
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
    let columns = rows[0].len();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|c| width(c).unwrap_or(0)).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| match column > keys.len() {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
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
    let mark = if is_best { '◆' } else { ' ' };
    let own = if policy.is_own { '*' } else { ' ' };
    let mut cells = vec![format!("{mark}{own}{number:>3}")];
    let setting = |key: &&str| policy.setting(key).unwrap_or("–").to_owned();
    cells.extend(keys.iter().map(setting));
    let time = |nanos: u64| Human(Duration::from_nanos(nanos)).to_string();
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

/// `3 (0.6–8.5)`
fn false_rollbacks(policy: &PolicyRuns) -> Option<String> {
    let (share, limits) = (policy.false_rate()?, policy.false_limits()?);
    let (low, high) = (limits.low * 100.0, limits.high * 100.0);
    Some(format!("{} ({low:.1}–{high:.1})", percent(share)))
}

fn foot(text: &mut String, tuned: &Tuned, folder: Option<&str>) -> std::fmt::Result {
    writeln!(
        text,
        "◆ finds the trouble, and no other policy is better in false rollbacks or exposure (median) and worse in neither · * as it is in the file"
    )?;
    writeln!(
        text,
        "false rollbacks: of runs without the canary's faults, with 95 % intervals; detection and exposed requests: \
         from {} on, until the rollback or the end",
        Human(tuned.since.elapsed())
    )?;
    match folder {
        Some(folder) => writeln!(text, "report: {folder}"),
        None => Ok(()),
    }
}
