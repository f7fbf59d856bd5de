//! A comparison for people.

use std::fmt::{self, Write};

use crate::comparison::figures::{Delta, Figure, Measured, Method, Shows, Unit};
use crate::comparison::gates::{Change, CheckChange, GateChange};
use crate::comparison::{Comparison, Outcome, Side};
use crate::verdict::result::{Status, grouped, percent};

/// The comparison as text, with a final line end.
pub fn text(comparison: &Comparison) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut text, comparison);
    text
}

fn write(out: &mut String, all: &Comparison) -> fmt::Result {
    side(out, "A", &all.a)?;
    side(out, "B", &all.b)?;
    for note in &all.notes {
        writeln!(out, "note: {note}")?;
    }
    for why in &all.refused {
        writeln!(out, "not compared: {why}")?;
    }
    if all.refused.is_empty() {
        gates(out, &all.gates)?;
        figures(out, all)?;
        limits(out, all)?;
    }
    writeln!(out, "\n{}", last_line(all))
}

fn side(out: &mut String, name: &str, side: &Side) -> fmt::Result {
    let Side {
        folder,
        scenario,
        engine,
        seed,
        status,
    } = side;
    let status = status.name();
    // Nothing is drawn in an audit.
    let seed = match engine.as_str() {
        "audit" => String::new(),
        _ => format!(", seed {seed}"),
    };
    writeln!(
        out,
        "{name}  {status:12}  {scenario}, {engine}{seed}: {folder}"
    )
}

fn gates(out: &mut String, gates: &[GateChange]) -> fmt::Result {
    writeln!(out, "\ngates")?;
    for gate in gates.iter().filter(|gate| gate.change != Change::Same) {
        changed_gate(out, gate)?;
    }
    for status in [Status::Pass, Status::Fail] {
        let is_it = |g: &&GateChange| g.change == Change::Same && g.b == Some(status);
        let same: Vec<&str> = gates
            .iter()
            .filter(is_it)
            .map(|g| g.name.as_str())
            .collect();
        if !same.is_empty() {
            let both = format!("{} in both", status.name());
            writeln!(out, "  {both:28}  {}", same.join(", "))?;
        }
    }
    Ok(())
}

fn changed_gate(out: &mut String, gate: &GateChange) -> fmt::Result {
    let arrow = format!("{} -> {}", name(gate.a), name(gate.b));
    let remark = match gate.change {
        Change::Regressed => "  REGRESSION",
        Change::Unknown => "  not shown",
        Change::Improved => "  better",
        Change::Changed | Change::Same => "",
    };
    writeln!(out, "  {arrow:28}  {}{remark}", gate.name)?;
    if !gate.same_conditions {
        writeln!(out, "      its conditions are not the same in both")?;
    }
    gate.checks
        .iter()
        .try_for_each(|check| changed_check(out, check))
}

fn changed_check(out: &mut String, check: &CheckChange) -> fmt::Result {
    writeln!(out, "      {}", check.condition)?;
    for (name, said) in [("A", &check.a), ("B", &check.b)] {
        match said {
            Some(said) => writeln!(out, "        {name} {}: {}", said.status.name(), said.seen)?,
            None => writeln!(out, "        {name} does not ask for it")?,
        }
    }
    Ok(())
}

fn name(status: Option<Status>) -> &'static str {
    status.map_or("none", Status::name)
}

fn figures(out: &mut String, all: &Comparison) -> fmt::Result {
    let confidence = percent(all.confidence);
    writeln!(out, "\nfigures, each with its interval at {confidence} %")?;
    let head = ["", "A", "B", "B - A", ""].map(str::to_owned);
    let rows: Vec<[String; 5]> = std::iter::once(head)
        .chain(all.figures.iter().map(row))
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths = [0, 1, 2, 3].map(|column| width(column).unwrap_or_default());
    for row in &rows {
        let mut line = String::from("  ");
        for (cell, width) in row.iter().zip(widths) {
            write!(line, "{cell:width$}  ")?;
        }
        line.push_str(&row[4]);
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn row(figure: &Figure) -> [String; 5] {
    [
        figure.name.clone(),
        figure
            .a
            .map_or_else(|| "none".to_owned(), |m| measured(figure.unit, &m)),
        figure
            .b
            .map_or_else(|| "none".to_owned(), |m| measured(figure.unit, &m)),
        figure.difference.map_or_else(String::new, |delta| {
            let estimate = signed(figure.unit, delta.estimate);
            match figure.method {
                Method::Census => estimate,
                _ => format!("{estimate} {}", interval(figure.unit, &delta)),
            }
        }),
        shows(figure.shows).to_owned(),
    ]
}

fn measured(unit: Unit, measured: &Measured) -> String {
    let value = plain(unit, measured.estimate);
    match (measured.x, measured.n) {
        (Some(x), Some(n)) => format!("{value} ({} of {})", grouped(x), grouped(n)),
        (None, Some(_)) => {
            let limit = |limit: Option<f64>| limit.map_or("?".to_owned(), |l| bare(unit, l));
            format!(
                "{value} [{}, {}]",
                limit(measured.low),
                limit(measured.high)
            )
        }
        _ => value,
    }
}

fn interval(unit: Unit, delta: &Delta) -> String {
    let limit = |limit: Option<f64>| match limit {
        Some(limit) => with_sign(limit, bare(unit, limit.abs())),
        None => "?".to_owned(),
    };
    format!("[{}, {}]", limit(delta.low), limit(delta.high))
}

fn shows(shows: Shows) -> &'static str {
    match shows {
        Shows::Higher => "higher in B",
        Shows::Lower => "lower in B",
        Shows::NoDifference => "no difference shown",
        Shows::Counted => "",
        Shows::TooFew => "too few samples to tell",
        Shows::Unlike => "one counts from a fault, the other from its start",
    }
}

fn signed(unit: Unit, value: f64) -> String {
    let unit_name = match unit {
        Unit::Share => " pp",
        other => unit_of(other),
    };
    format!("{}{unit_name}", with_sign(value, bare(unit, value.abs())))
}

fn with_sign(value: f64, of: String) -> String {
    // What rounds to nothing has no sign.
    match of.bytes().all(|b| matches!(b, b'0' | b'.' | b'$')) {
        true => of,
        false if value < 0.0 => format!("-{of}"),
        false => format!("+{of}"),
    }
}

fn plain(unit: Unit, value: f64) -> String {
    let unit_name = match unit {
        Unit::Share => " %",
        other => unit_of(other),
    };
    format!("{}{unit_name}", bare(unit, value))
}

fn unit_of(unit: Unit) -> &'static str {
    match unit {
        Unit::Share | Unit::Requests | Unit::Rollbacks | Unit::NanoUsd => "",
        Unit::Ms => " ms",
        Unit::S => " s",
    }
}

/// A figure, not below 0, without its unit.
fn bare(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Share => percent(value),
        Unit::Ms if value < 1.0 => format!("{value:.3}"),
        Unit::Ms => format!("{value:.1}"),
        Unit::S => format!("{value:.3}"),
        Unit::Requests | Unit::Rollbacks => grouped(value as u64),
        Unit::NanoUsd => format!("${:.4}", value / 1e9),
    }
}

fn limits(out: &mut String, all: &Comparison) -> fmt::Result {
    if all.limits.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nlimits")?;
    for limit in &all.limits {
        writeln!(
            out,
            "  {:12}  {}: {}",
            limit.status.name(),
            limit.limit,
            limit.seen
        )?;
    }
    Ok(())
}

fn last_line(all: &Comparison) -> String {
    let gates = all.gates.iter().filter(|g| g.change == Change::Regressed);
    let failed = all.limits.iter().filter(|l| l.status == Status::Fail);
    match all.outcome {
        Outcome::NoRegression => "no regression".to_owned(),
        Outcome::Regression => {
            let (gates, limits) = (gates.count(), failed.count());
            format!(
                "regression: gates that passed and fail now: {gates}; limits exceeded: {limits}"
            )
        }
        Outcome::TooLittleEvidence => {
            "too little evidence: a regression is neither shown nor excluded".to_owned()
        }
        Outcome::Refused => "not compared: an invalid run is neither red nor green".to_owned(),
    }
}
