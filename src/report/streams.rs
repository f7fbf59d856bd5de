//! The streams of a run, for all writers. Runs without streams say nothing of them.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::observe::latency::Latencies;
use crate::observe::streams::StreamTotals;
use crate::report::Report;
use crate::report::json::latencies;
use crate::report::markdown::{code, quantiles};
use crate::stats::quantile::Quantile;
use crate::time::Human;
use crate::verdict::result::{grouped, share_of};

/// The totals as they stand in `summary.json`.
pub fn json(streams: &StreamTotals) -> Value {
    json!({
        "whole": streams.whole,
        "broken": streams.broken,
        "refused": streams.refused,
        "left": streams.left,
        "estimated": streams.estimated,
        "tokens": streams.tokens,
        "tokens_per_s": streams.tokens_per_second(),
        "first_token": latencies(&streams.first_token),
        "first_token_from_sent": latencies(&streams.first_token_from_sent),
        "inter_token": latencies(&streams.inter_token),
        "tpot": latencies(&streams.per_token),
        "latency": latencies(&streams.latency),
        "latency_from_sent": latencies(&streams.latency_from_sent),
    })
}

/// The line for the terminal; none without streams.
pub fn line(report: &Report) -> Option<String> {
    let streams = report.summary.streams.as_ref()?;
    let p99 = |latencies: &Latencies| match latencies.at(Quantile::P99) {
        Some(latency) => Human(latency).to_string(),
        None => "–".to_owned(),
    };
    Some(format!(
        "{} whole, {} broken, {} refused; first token p99 {}, between tokens p99 {}; {} tokens/s a stream",
        grouped(streams.whole),
        grouped(streams.broken),
        grouped(streams.refused),
        p99(&streams.first_token),
        p99(&streams.inter_token),
        speed(streams),
    ))
}

fn speed(streams: &StreamTotals) -> String {
    let speed = streams.tokens_per_second();
    speed.map_or_else(|| "–".to_owned(), |speed| format!("{speed:.1}"))
}

/// The section of `report.md`; nothing without streams.
pub fn markdown(text: &mut String, report: &Report) -> std::fmt::Result {
    let Some(all) = &report.summary.streams else {
        return Ok(());
    };
    writeln!(text, "## Streams\n")?;
    writeln!(
        text,
        "| version | whole | broken | refused | first token p50 | p95 | p99 | between tokens p50 | p95 | p99 \
         | mean a token p50 | p95 | p99 | tokens/s |"
    )?;
    writeln!(
        text,
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    )?;
    for (id, version) in report.summary.versions.iter() {
        let Some(streams) = &version.streams else {
            continue;
        };
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            code(report.meta.name(id)),
            grouped(streams.whole),
            grouped(streams.broken),
            grouped(streams.refused),
            quantiles(&streams.first_token),
            quantiles(&streams.inter_token),
            quantiles(&streams.per_token),
            speed(streams),
        )?;
    }
    writeln!(text)?;
    writeln!(text, "- whole streams: {}", share_of(all.whole, all.all()))?;
    let latency = |l: &Latencies| quantiles(l).replace(" |", ",");
    for (what, latencies) in [
        ("first token from the scheduled moment", &all.first_token),
        (
            "first token from the moment of sending",
            &all.first_token_from_sent,
        ),
        ("whole streams from the scheduled moment", &all.latency),
        (
            "whole streams from the moment of sending",
            &all.latency_from_sent,
        ),
    ] {
        writeln!(text, "- {what} (p50, p95, p99): {}", latency(latencies))?;
    }
    if all.left > 0 {
        writeln!(
            text,
            "- streams whose caller hung up: {}",
            grouped(all.left)
        )?;
    }
    if all.estimated > 0 {
        writeln!(
            text,
            "- streams whose tokens nobody stated, taken as one a chunk: {}",
            grouped(all.estimated)
        )?;
    }
    writeln!(text)
}
