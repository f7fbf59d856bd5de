//! What a run cost, for every writer: as JSON, as a table, in a line. Only where versions have prices.
//! And how answers differed from the OpenAI shape, only where any did.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::observe::cost::{Part, Projection, VersionCosts};
use crate::observe::summary::DriftCounts;
use crate::pricing::Cost;
use crate::report::Report;
use crate::report::markdown::code;
use crate::verdict::result::{grouped, percent};

/// `cost` of `summary.json`. Amounts are whole nano-dollars, null where a price is missing.
pub fn json(report: &Report) -> Value {
    let costs = &report.summary.costs;
    let versions = costs.versions.iter().map(|(id, version)| {
        let value = version_json(report, version);
        (report.meta.name(id).to_owned(), value)
    });
    let mut value = json!({
        "currency": "USD",
        "total_nano_usd": costs.total(),
        "wasted_nano_usd": costs.wasted(),
        "attempts_with_unknown_tokens": costs.unknown(),
        "versions": Value::Object(versions.collect::<Map<_, _>>()),
    });
    value["projection"] = projection_json(report, costs.total());
    value
}

fn version_json(report: &Report, version: &VersionCosts) -> Value {
    let price = version.price.map(|price| {
        json!({
            "input_nano_usd_per_million_tokens": price.input,
            "output_nano_usd_per_million_tokens": price.output,
        })
    });
    json!({
        "price": price,
        "total_nano_usd": version.total(),
        "served": part_json(version, &version.served),
        "wasted": part_json(version, &version.wasted),
        "attempts_with_unknown_tokens": version.unknown,
        "projection": projection_json(report, version.total()),
    })
}

fn part_json(version: &VersionCosts, part: &Part) -> Value {
    json!({
        "attempts": part.attempts,
        "input_tokens": part.input_tokens,
        "output_tokens": part.output_tokens,
        "nano_usd": version.price.map(|_| part.cost),
    })
}

fn projection_json(report: &Report, total: Option<Cost>) -> Value {
    let projection = total.map(|total| report.summary.projection(total));
    let of = |part: fn(&Projection) -> Option<Cost>| projection.as_ref().and_then(part);
    json!({
        "month_nano_usd": of(|p| p.month),
        "year_nano_usd": of(|p| p.year),
        "per_million_requests_nano_usd": of(|p| p.million_requests),
    })
}

/// The section on costs of `report.md`.
///
/// # Errors
/// When the text cannot be written to.
pub fn markdown(text: &mut String, report: &Report) -> std::fmt::Result {
    let costs = &report.summary.costs;
    if !costs.is_priced() {
        return Ok(());
    }
    writeln!(text, "## Cost\n")?;
    writeln!(
        text,
        "| version | price of a million tokens, in and out | tokens in | tokens out | cost | of it for nothing | attempts with unknown tokens |"
    )?;
    writeln!(text, "|---|---|---:|---:|---:|---:|---:|")?;
    for (id, version) in costs.versions.iter() {
        let price = version.price.map(|p| format!("{}, {}", p.input, p.output));
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} |",
            code(report.meta.name(id)),
            price.as_deref().unwrap_or("unknown"),
            grouped(version.served.input_tokens + version.wasted.input_tokens),
            grouped(version.served.output_tokens + version.wasted.output_tokens),
            amount(version.total()),
            wasted(version.wasted(), version.total()),
            grouped(version.unknown),
        )?;
    }
    writeln!(
        text,
        "| together | | | | {} | {} | {} |\n",
        amount(costs.total()),
        wasted(costs.wasted(), costs.total()),
        grouped(costs.unknown()),
    )?;
    projections(text, report)
}

fn projections(text: &mut String, report: &Report) -> std::fmt::Result {
    let Some(total) = report.summary.costs.total() else {
        return Ok(());
    };
    let projection = report.summary.projection(total);
    if let (Some(rate), Some(month), Some(year)) =
        (report.summary.rate(), projection.month, projection.year)
    {
        writeln!(
            text,
            "- 30 days at this run's mean rate of {rate:.1} requests a second: {month}; twelve times that: {year}"
        )?;
    }
    if let Some(million) = projection.million_requests {
        writeln!(text, "- a million requests like these: {million}")?;
    }
    writeln!(text)
}

fn amount(cost: Option<Cost>) -> String {
    cost.map_or_else(|| "unknown".to_owned(), |cost| cost.to_string())
}

/// `$0.01 (2.5 %)`
fn wasted(wasted: Option<Cost>, total: Option<Cost>) -> String {
    let share = wasted.zip(total).filter(|(_, total)| *total > Cost::ZERO);
    let share = share.map(|(w, t)| w.as_dollars_f64() / t.as_dollars_f64());
    match share {
        Some(share) => format!("{} ({} %)", amount(wasted), percent(share)),
        None => amount(wasted),
    }
}

/// The costs in a line for a terminal; none where no version has a price.
pub fn line(report: &Report) -> Option<String> {
    let costs = &report.summary.costs;
    if !costs.is_priced() {
        return None;
    }
    let Some(total) = costs.total() else {
        return Some("unknown: a version has no price".to_owned());
    };
    let mut line = format!(
        "{total}, of it {} for nothing",
        wasted(costs.wasted(), None)
    );
    if costs.unknown() > 0 {
        line += &format!(
            "; {} attempts more with unknown tokens",
            grouped(costs.unknown())
        );
    }
    if let Some(month) = report.summary.projection(total).month {
        line += &format!("; {month} in 30 days at this rate");
    }
    Some(line)
}

/// `drift` of a version: answers that differ, and of which kinds.
pub fn drift_json(drift: &DriftCounts) -> Value {
    let kinds = drift
        .iter()
        .map(|(kind, n)| (kind.name().to_owned(), json!(n)));
    json!({
        "answers": drift.answers,
        "kinds": Value::Object(kinds.collect::<Map<_, _>>()),
    })
}

/// The section on drift of `report.md`, where any answer differed.
///
/// # Errors
/// When the text cannot be written to.
pub fn drift_markdown(text: &mut String, report: &Report) -> std::fmt::Result {
    let versions = report.summary.versions.iter();
    let drifted: Vec<_> = versions.filter(|(_, v)| v.drift.answers > 0).collect();
    if drifted.is_empty() {
        return Ok(());
    }
    writeln!(text, "## Answers that differ from the OpenAI shape\n")?;
    for (id, version) in drifted {
        let drift = &version.drift;
        let kinds: Vec<String> = drift
            .iter()
            .map(|(kind, n)| format!("{} {}", grouped(n), kind.name()))
            .collect();
        writeln!(
            text,
            "- {}: {} answers ({})",
            code(report.meta.name(id)),
            grouped(drift.answers),
            kinds.join(", ")
        )?;
    }
    writeln!(text)
}
