//! `report.md`: the run for a CI job summary.

use std::fmt::Write;

use crate::observe::latency::Latencies;
use crate::protocol::outcome::Outcome;
use crate::report::{Report, audit, costs, gateway, log, machine, streams};
use crate::stats::quantile::Quantile;
use crate::time::Human;
use crate::verdict::result::{Check, Evidence, GateResult, Status, grouped, percent, share_of};

/// The report as Markdown. The plots are referred to by their file names.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = head(&mut text, report);
    let _ = gateway::markdown(&mut text, report);
    let _ = gates(&mut text, report);
    let _ = gateway::orders(&mut text, report);
    let _ = machine::markdown(&mut text, report);
    let _ = rollbacks(&mut text, report);
    let _ = not_promoted(&mut text, report);
    let _ = versions(&mut text, report);
    let _ = streams::markdown(&mut text, report);
    let _ = costs::markdown(&mut text, report);
    let _ = costs::drift_markdown(&mut text, report);
    let _ = faults(&mut text, report);
    let _ = requests(&mut text, report);
    let _ = audit::markdown(&mut text, report);
    let _ = log::section(&mut text, report);
    let _ = plots(&mut text, report);
    text
}

/// The verdict alone, of a run that was judged again: its plots and tables are in the run's own folder.
pub fn render_verdict(report: &Report) -> String {
    let mut text = String::new();
    let _ = head(&mut text, report);
    let _ = gates(&mut text, report);
    let _ = rollbacks(&mut text, report);
    text
}

fn head(text: &mut String, report: &Report) -> std::fmt::Result {
    let (meta, verdict) = (&report.meta, &report.verdict);
    let word = verdict.status.name().to_uppercase();
    writeln!(text, "# {word}: {}\n", escape(&meta.title))?;
    if verdict.interrupted {
        writeln!(
            text,
            "> **Interrupted**: this is what was measured until then.\n"
        )?;
    }
    if verdict.status == Status::Invalid {
        writeln!(
            text,
            "> **Invalid measurement**: no figure below may be relied on.\n"
        )?;
    }
    if let Some(description) = &meta.description {
        writeln!(text, "{}\n", escape(description.trim()))?;
    }
    writeln!(
        text,
        "{} {}: {} requests in {}. graygate {}, scenario `{}`, router `{}`.\n",
        code(&meta.scenario),
        match meta.engine {
            Some(_) => format!("on the {}", meta.manner(" engine, seed ")),
            None => format!("({})", meta.manner("")),
        },
        grouped(report.summary.sent),
        Human(report.summary.end.elapsed()),
        meta.graygate,
        short(&meta.scenario_sha256),
        short(&meta.router_sha256),
    )?;
    writeln!(
        text,
        "Run it again, where the file is: {}\n",
        exact_code(&report.reproduce)
    )
}

fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

fn gates(text: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(text, "## Gates\n")?;
    writeln!(text, "| | gate | condition | seen | method |")?;
    writeln!(text, "|---|---|---|---|---|")?;
    for gate in &report.verdict.gates {
        for check in &gate.checks {
            gate_row(text, gate, check)?;
        }
    }
    writeln!(text)?;
    for gate in &report.verdict.gates {
        for warning in &gate.warnings {
            writeln!(text, "- `{}`: warning: {}", gate.name, escape(warning))?;
        }
    }
    Ok(())
}

fn gate_row(text: &mut String, gate: &GateResult, check: &Check) -> std::fmt::Result {
    // In an invalid run every check is invalid, whatever it saw.
    let status = match gate.status {
        Status::Invalid => Status::Invalid,
        _ => check.status,
    };
    let mut seen = check.seen.clone();
    if let Some(more) = check.more_requests {
        let _ = write!(seen, " ({} more requests needed)", grouped(more));
    }
    if !check.offenders.is_empty() {
        let keys: Vec<String> = check.offenders.iter().map(|k| k.to_string()).collect();
        let _ = write!(seen, "; first: requests {}", keys.join(", "));
    }
    writeln!(
        text,
        "| {} | `{}` | {} | {} | {} |",
        status.name(),
        gate.name,
        escape(&check.condition),
        escape(&seen),
        method(&check.evidence),
    )
}

/// `census, n 29,994`, or `exact binomial, n 3,000, 99.9988 %`: the interval stands in what was seen.
fn method(evidence: &Evidence) -> String {
    let n = match evidence.n {
        0 => String::new(),
        n => format!(", n {}", grouped(n)),
    };
    let confidence = evidence.confidence.map(percent);
    let confidence = confidence.map_or(String::new(), |percent| format!(", {percent} %"));
    format!("{}{n}{confidence}", evidence.method)
}

fn rollbacks(text: &mut String, report: &Report) -> std::fmt::Result {
    let meta = &report.meta;
    for record in &report.summary.rollbacks {
        writeln!(
            text,
            "**Rollback** at {}: {} → {}, because {}; {} requests had been given to {} until then.\n",
            Human(record.decided_at.elapsed()),
            code(meta.name(record.from)),
            code(meta.name(record.to)),
            record.because(),
            grouped(record.affected_requests),
            code(meta.name(record.from)),
        )?;
    }
    Ok(())
}

fn not_promoted(text: &mut String, report: &Report) -> std::fmt::Result {
    let Some((at, missing)) = &report.summary.not_promoted else {
        return Ok(());
    };
    writeln!(
        text,
        "**Not promoted**: what the step still lacked at {}:\n",
        Human(at.elapsed())
    )?;
    for one in missing {
        writeln!(text, "- {}", escape(&one.words))?;
    }
    writeln!(text)
}

fn versions(text: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(text, "## Versions\n")?;
    writeln!(
        text,
        "| version | upstream | first attempts | attempts | failed attempts | answered | rescued by stable | p50 of answered | p95 | p99 |"
    )?;
    writeln!(text, "|---|---|---:|---:|---|---:|---:|---:|---:|---:|")?;
    for (id, version) in report.summary.versions.iter() {
        let failures: Vec<String> = version
            .attempts
            .iter()
            .filter(|(o, _)| !o.is_success())
            .map(|(o, n)| format!("{} {}", grouped(n), o.name()))
            .collect();
        let role = if id == report.meta.stable {
            "stable"
        } else {
            "canary"
        };
        writeln!(
            text,
            "| {} ({role}) | {} | {} | {} | {} | {} | {} | {} |",
            code(report.meta.name(id)),
            report.meta.versions[id].upstream,
            grouped(version.first_attempts),
            grouped(version.attempts.total()),
            if failures.is_empty() {
                "none".to_owned()
            } else {
                failures.join(", ")
            },
            grouped(version.served),
            grouped(version.rescued),
            quantiles(&version.latency),
        )?;
    }
    writeln!(text)
}

fn faults(text: &mut String, report: &Report) -> std::fmt::Result {
    let meta = &report.meta;
    if meta.faults.is_empty() {
        return Ok(());
    }
    writeln!(text, "## Faults\n")?;
    writeln!(
        text,
        "| | kind | on | from | until | share | attempts hit |"
    )?;
    writeln!(text, "|---:|---|---|---:|---:|---:|---:|")?;
    let hits = report.summary.fault_hits.iter();
    for (number, (fault, hits)) in (1..).zip(meta.faults.iter().zip(hits)) {
        let on: Vec<String> = fault.on.iter().map(|v| code(meta.name(*v))).collect();
        let until = fault.until.map(|at| Human(at.elapsed()).to_string());
        writeln!(
            text,
            "| {number} | {} | {} | {} | {} | {} % | {} |",
            fault.kind,
            on.join(", "),
            Human(fault.from.elapsed()),
            until.as_deref().unwrap_or("the end"),
            percent(fault.share),
            grouped(*hits),
        )?;
    }
    writeln!(text)
}

fn requests(text: &mut String, report: &Report) -> std::fmt::Result {
    let summary = &report.summary;
    let successes = summary.answers.total() - summary.answers.failures();
    writeln!(text, "## Requests\n")?;
    // Callers who hang up count neither as served nor as failed.
    let gone = summary.answers.of(Outcome::ClientGone);
    writeln!(
        text,
        "- answered with success: {}",
        share_of(successes, summary.answers.total() - gone)
    )?;
    if gone > 0 {
        let all = share_of(gone, summary.answers.total());
        writeln!(text, "- callers who hung up: {all}")?;
    }
    let is_failure = |o: Outcome| !o.is_success() && o != Outcome::ClientGone;
    for (outcome, n) in summary.answers.iter().filter(|(o, _)| is_failure(*o)) {
        let share = percent(n as f64 / summary.answers.total() as f64);
        writeln!(text, "- {}: {} ({share} %)", outcome.name(), grouped(n))?;
    }
    if summary.unfinished > 0 {
        writeln!(
            text,
            "- without an answer when the run ended: {}",
            grouped(summary.unfinished)
        )?;
    }
    writeln!(
        text,
        "- answered by stable after the canary failed: {}",
        grouped(summary.rescued)
    )?;
    let latency = |l: &Latencies| quantiles(l).replace(" |", ",");
    writeln!(
        text,
        "- latency from the scheduled moment (p50, p95, p99): {}",
        latency(&summary.latency)
    )?;
    if report.audit.is_some() {
        // Nothing was sent.
        return writeln!(text, "{}", kept(report));
    }
    writeln!(
        text,
        "- latency from the moment of sending (p50, p95, p99): {}",
        latency(&summary.latency_from_sent)
    )?;
    writeln!(
        text,
        "- dispatch delay (p50, p95, p99): {}",
        latency(&summary.dispatch_delay)
    )?;
    writeln!(text, "{}", kept(report))
}

fn kept(report: &Report) -> String {
    format!(
        "- rows in requests.csv: {} (records kept: {})\n",
        grouped(report.records.rows),
        report.records.kept
    )
}

fn plots(text: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(text, "## Over time\n")?;
    for (file, alt) in super::plot::files(report) {
        writeln!(text, "![{alt}]({file})\n")?;
    }
    Ok(())
}

pub(super) fn quantiles(latencies: &Latencies) -> String {
    let at = |quantile| match latencies.at(quantile) {
        Some(latency) => Human(latency).to_string(),
        None => "–".to_owned(),
    };
    let all = [Quantile::P50, Quantile::P95, Quantile::P99].map(at);
    all.join(" | ")
}

/// A name in code quotes, which it cannot end.
pub(super) fn code(name: &str) -> String {
    format!("`{}`", name.replace(['`', '|', '\n'], "'"))
}

/// Text in code quotes as it is: more quotes than stand in it anywhere.
pub(super) fn exact_code(text: &str) -> String {
    let runs = text.split(|c| c != '`').map(str::len);
    let quotes = "`".repeat(runs.max().unwrap_or(0) + 1);
    let gap = if text.contains('`') { " " } else { "" };
    format!("{quotes}{gap}{}{gap}{quotes}", text.replace('\n', " "))
}

/// Text that cannot break a table or become markup.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '<' | '>' | '&' | '*' | '_' | '`' | '[' | ']' | '~' | '\\' => {
                safe.push('\\');
                safe.push(c);
            }
            '\n' | '\r' => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}
