//! Repeated runs on a terminal.

use std::fmt::Write;

use crate::report::pretty::Style;
use crate::report::runs::tally::{Figure, Tally};
use crate::report::runs::{Runs, words};
use crate::verdict::result::{Status, grouped};

/// The verdict on repeated runs: a line, a table of the gates, a table of the figures, and the first seeds
/// that did not pass.
pub fn render(runs: &Runs, folder: Option<&str>, style: Style) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = head(&mut text, runs, style);
    let _ = gates(&mut text, runs, style);
    let _ = figures(&mut text, runs);
    let _ = first(&mut text, runs);
    let _ = writeln!(text, "    repeat:    {}", runs.repeat(&runs.command_here));
    if let Some(folder) = folder {
        let _ = writeln!(text, "    report:    {folder}");
    }
    text
}

fn head(text: &mut String, runs: &Runs, style: Style) -> std::fmt::Result {
    let status = runs.status();
    let word = match runs.interrupted {
        true => "INTERRUPTED".to_owned(),
        false => status.name().to_uppercase(),
    };
    writeln!(
        text,
        "{} {}  {} · {} · {} requests",
        style.paint(status, &format!("{word:<12}")),
        runs.meta.scenario,
        runs.meta.driver(),
        words::extent(runs),
        grouped(runs.requests()),
    )
}

fn gates(text: &mut String, runs: &Runs, style: Style) -> std::fmt::Result {
    let title = "% of runs (95 %)";
    writeln!(
        text,
        "    {title:<17} {:<19} {:<19} {:<19} {:<19} {:>9} {:>9}",
        "pass", "fail", "inconclusive", "invalid", "flake ≤", "power ≥",
    )?;
    for tally in runs.tallies().iter().chain([&runs.whole()]) {
        let status = runs.judged(tally);
        let mark = style.paint(status, mark(status));
        let cells = Tally::ORDER.map(|status| words::share(tally, status));
        let [pass, fail, inconclusive, invalid] = &cells;
        let (flake, power) = (words::at_most(tally), words::at_least(tally));
        let name = &tally.name;
        writeln!(
            text,
            "  {mark} {name:<17} {pass:<19} {fail:<19} {inconclusive:<19} {invalid:<19} {flake:>9} {power:>9}",
        )?;
    }
    writeln!(
        text,
        "    flake ≤, power ≥: limits of red, one-sided 95 %, of a correct and of a broken router"
    )
}

fn mark(status: Status) -> &'static str {
    match status {
        Status::Pass => "✓",
        Status::Inconclusive => "?",
        Status::Invalid => "!",
        Status::Fail => "✗",
    }
}

fn figures(text: &mut String, runs: &Runs) -> std::fmt::Result {
    let figures = runs.figures();
    let has_extreme = figures.iter().any(|figure| figure.extreme().is_some());
    let last = if has_extreme { "99.99 % ≤" } else { "" };
    let head = format!(
        "    {:<17} {:>9} {:>10} {:>10} {:>10} {:>10} {:>10} {last:>10}",
        "over the runs", "n", "min", "median", "90 %", "99 %", "max",
    );
    writeln!(text, "{}", head.trim_end())?;
    for figure in &figures {
        writeln!(text, "    {}", figure_line(figure).trim_end())?;
    }
    writeln!(text, "    rolled back: {}", words::rollbacks(runs))
}

fn figure_line(figure: &Figure) -> String {
    let samples = &figure.samples;
    let show = |value: Option<u64>| value.map_or("–".to_owned(), |v| figure.text(v));
    let mut line = format!(
        "{:<17} {:>9} {:>10}",
        figure.name,
        grouped(samples.count()),
        show(samples.min()),
    );
    for (_, quantile) in figure.quantiles() {
        line += &format!(" {:>10}", show(quantile));
    }
    line += &format!(" {:>10}", show(samples.max()));
    if let Some(extreme) = figure.extreme() {
        line += &format!(" {:>10}", figure.text(extreme));
    }
    line
}

fn first(text: &mut String, runs: &Runs) -> std::fmt::Result {
    for status in [Status::Fail, Status::Inconclusive, Status::Invalid] {
        let seeds = runs.first(status);
        if seeds.is_empty() {
            continue;
        }
        writeln!(text, "    first {}:", status.name())?;
        for seed in seeds {
            let command = runs.reproduce(&runs.command_here, seed);
            writeln!(text, "      {command}")?;
        }
    }
    Ok(())
}
