//! `report.md` of repeated runs.

use std::fmt::Write;

use crate::report::markdown::{code, escape, exact_code};
use crate::report::plot;
use crate::report::runs::tally::{Figure, Tally};
use crate::report::runs::{Runs, words};
use crate::time::Human;
use crate::verdict::result::{Status, grouped};

/// The report as Markdown. The plot is referred to by its file name.
pub fn render(runs: &Runs) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = head(&mut text, runs);
    let _ = gates(&mut text, runs);
    let _ = figures(&mut text, runs);
    let _ = first(&mut text, runs);
    text
}

fn head(text: &mut String, runs: &Runs) -> std::fmt::Result {
    let meta = &runs.meta;
    let word = runs.status().name().to_uppercase();
    writeln!(text, "# {word}: {}\n", escape(&meta.title))?;
    if runs.interrupted {
        writeln!(
            text,
            "> **Interrupted**: this is what was run until then.\n"
        )?;
    }
    if let Some(description) = &meta.description {
        writeln!(text, "{}\n", escape(description.trim()))?;
    }
    writeln!(
        text,
        "{} on the {} engine: {}, {} requests; at most {} may fail, and as many be inconclusive. graygate {}.\n",
        code(&meta.scenario),
        meta.driver(),
        words::extent(runs),
        grouped(runs.requests()),
        grouped(runs.max_red),
        meta.graygate,
    )?;
    let command = exact_code(&runs.repeat(&meta.command));
    writeln!(text, "Repeat: {command}\n")
}

fn gates(text: &mut String, runs: &Runs) -> std::fmt::Result {
    writeln!(text, "## Gates\n")?;
    writeln!(
        text,
        "Shares of the runs in per cent, with 95 % Clopper–Pearson intervals.\n"
    )?;
    writeln!(
        text,
        "| gate | over all runs | pass | fail | inconclusive | invalid | flake ≤ | power ≥ |"
    )?;
    writeln!(text, "|---|---|---|---|---|---|---|---|")?;
    for tally in runs.tallies().iter().chain([&runs.whole()]) {
        let cells = Tally::ORDER.map(|status| words::share(tally, status));
        writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            escape(&tally.name),
            runs.judged(tally).name(),
            cells.join(" | "),
            words::at_most(tally),
            words::at_least(tally),
        )?;
    }
    writeln!(text, "\n{}\n", words::MEANING)
}

fn figures(text: &mut String, runs: &Runs) -> std::fmt::Result {
    writeln!(text, "## Rollback, exposure, errors\n")?;
    writeln!(text, "Rolled back: {}.", words::rollbacks(runs))?;
    match runs.since {
        Some(since) => writeln!(
            text,
            "Detection is the time from {} (the trouble's begin) to the decision; exposed requests met the canary \
             in that time, or until the end of a run without a rollback.\n",
            Human(since.elapsed())
        )?,
        None => writeln!(text, "Nothing is known of any trouble at the canary.\n")?,
    }
    writeln!(
        text,
        "| | n | min | median | 90 % | 99 % | max | 99.99 % ≤ |"
    )?;
    writeln!(text, "|---|---|---|---|---|---|---|---|")?;
    for figure in runs.figures() {
        writeln!(text, "{}", figure_row(&figure))?;
    }
    writeln!(
        text,
        "\nA quantile q is left out below 10/(1−q) samples. The last column is a limit of the 99.99 % quantile \
         at 95 % confidence; it takes 29,956 runs.\n"
    )?;
    let detection = runs.figures().into_iter().any(|figure| figure.is_time);
    match detection {
        true => writeln!(
            text,
            "![Distribution of detection and exposure]({})\n",
            plot::DISTRIBUTION
        ),
        false => Ok(()),
    }
}

fn figure_row(figure: &Figure) -> String {
    let show = |value: Option<u64>| value.map_or("–".to_owned(), |v| figure.text(v));
    let quantiles = figure.quantiles().map(|(_, value)| show(value));
    format!(
        "| {} | {} | {} | {} | {} | {} |",
        figure.name,
        grouped(figure.samples.count()),
        show(figure.samples.min()),
        quantiles.join(" | "),
        show(figure.samples.max()),
        show(figure.extreme()),
    )
}

fn first(text: &mut String, runs: &Runs) -> std::fmt::Result {
    for status in [Status::Fail, Status::Inconclusive, Status::Invalid] {
        let seeds = runs.first(status);
        if seeds.is_empty() {
            continue;
        }
        writeln!(text, "## First {}\n", status.name())?;
        for seed in seeds {
            let command = runs.reproduce(&runs.meta.command, seed);
            writeln!(text, "- {}", exact_code(&command))?;
        }
        writeln!(text)?;
    }
    Ok(())
}
