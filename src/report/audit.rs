//! What a report says of an audit, beyond what every run shows.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::id::VersionId;
use crate::observe::audit::{Again, Arm, AuditFindings, CONFIDENCE, Exposure, WouldHave};
use crate::observe::meta::LogMeta;
use crate::report::Report;
use crate::report::events::finding_json;
use crate::report::markdown::{code, escape};
use crate::stats::difference::Difference;
use crate::stats::quantile::Quantile;
use crate::time::{Human, millis_f64};
use crate::verdict::result::{grouped, percent, share_of};

const QUANTILES: [Quantile; 3] = [Quantile::P50, Quantile::P95, Quantile::P99];

/// The sections of `report.md`; nothing for a run.
///
/// # Errors
/// Never: a text takes everything.
pub(super) fn markdown(text: &mut String, report: &Report) -> std::fmt::Result {
    let Some(audit) = &report.audit else {
        return Ok(());
    };
    judges(text, report, audit)?;
    comparison(text, report, audit)?;
    log(text, report)
}

fn judges(text: &mut String, report: &Report, audit: &AuditFindings) -> std::fmt::Result {
    writeln!(text, "## What judges would have done\n")?;
    writeln!(
        text,
        "| judge | would have rolled back | because | canary requests until then | failed for their callers | canary requests after | failed for their callers |"
    )?;
    writeln!(text, "|---|---|---|---:|---:|---:|---:|")?;
    for judge in &audit.judges {
        let (when, why) = decision(judge);
        writeln!(
            text,
            "| {}{} | {when} | {} | {} | {} |",
            judge.judge,
            if judge.is_configured {
                " (the router's own)"
            } else {
                ""
            },
            escape(&why),
            exposure(judge.until),
            exposure(judge.after),
        )?;
    }
    writeln!(text)?;
    if let Some(closed) = closed(report, audit) {
        writeln!(text, "{closed}\n")?;
    }
    Ok(())
}

fn decision(judge: &WouldHave) -> (String, String) {
    match (&judge.decided, judge.held) {
        (Some(decided), _) => {
            let when = Human(decided.at.elapsed()).to_string();
            (when, decided.because.in_words())
        }
        (None, Some(reason)) => ("never".to_owned(), format!("it held: {reason}")),
        (None, None) => ("never".to_owned(), String::new()),
    }
}

fn exposure(exposure: Exposure) -> String {
    let (requests, errors) = (exposure.canary_requests, exposure.user_errors);
    format!("{} | {}", grouped(requests), grouped(errors))
}

/// The canary's end in the log, for people.
fn closed(report: &Report, audit: &AuditFindings) -> Option<String> {
    let closed = audit.closed?;
    Some(format!(
        "In the log, {} got nothing more after {}: {} requests that chance assigned followed.",
        code(report.meta.name(report.meta.canary)),
        Human(closed.last_at.elapsed()),
        grouped(closed.later_requests),
    ))
}

fn comparison(text: &mut String, report: &Report, audit: &AuditFindings) -> std::fmt::Result {
    writeln!(text, "## Canary and stable\n")?;
    writeln!(
        text,
        "First attempts of requests that chance assigned; intervals at {} % (Clopper-Pearson, order statistics).\n",
        percent(CONFIDENCE)
    )?;
    writeln!(
        text,
        "| version | failed | error rate | p50 of successes | p95 | p99 |"
    )?;
    writeln!(text, "|---|---:|---|---|---|---|")?;
    for (version, arm) in audit.arms.iter() {
        let latencies = QUANTILES.map(|quantile| latency(arm, quantile));
        writeln!(
            text,
            "| {} | {} | {} | {} |",
            code(report.meta.name(version)),
            share_of(arm.failed, arm.judged),
            error_rate(arm),
            latencies.join(" | "),
        )?;
    }
    writeln!(text)?;
    let (canary, stable) = (report.meta.canary, report.meta.stable);
    if let Some(difference) = audit.difference(canary, stable) {
        writeln!(
            text,
            "Error rate of {} less that of {}: {} (Newcombe's interval).\n",
            code(report.meta.name(canary)),
            code(report.meta.name(stable)),
            in_points(difference),
        )?;
    }
    Ok(())
}

fn error_rate(arm: &Arm) -> String {
    match (arm.error_rate(), arm.limits()) {
        (Some(rate), Some(limits)) => format!(
            "{} % ({} to {} %)",
            percent(rate),
            percent(limits.low),
            percent(limits.high)
        ),
        _ => "–".to_owned(),
    }
}

fn in_points(difference: Difference) -> String {
    let points = |share: f64| format!("{:+.2}", share * 100.0);
    format!(
        "{} pp ({} to {})",
        points(difference.estimate),
        points(difference.low),
        points(difference.high)
    )
}

/// A quantile of a version's latency, and the samples that it lies between.
fn latency_limits(arm: &Arm, quantile: Quantile) -> [Option<Duration>; 3] {
    let (low, high) = quantile.rank_limits(arm.latency.count(), CONFIDENCE);
    let of_rank = |rank: Option<u64>| rank.and_then(|rank| arm.latency.of_rank(rank));
    [arm.latency.at(quantile), of_rank(low), of_rank(high)]
}

fn latency(arm: &Arm, quantile: Quantile) -> String {
    let [at, low, high] = latency_limits(arm, quantile);
    let Some(at) = at else {
        return "–".to_owned();
    };
    let shown = |limit: Option<Duration>| match limit {
        Some(limit) => Human(limit).to_string(),
        None => "?".to_owned(),
    };
    format!("{} ({} to {})", Human(at), shown(low), shown(high))
}

fn log(text: &mut String, report: &Report) -> std::fmt::Result {
    let Some(log) = &report.meta.log else {
        return Ok(());
    };
    writeln!(text, "## The log\n")?;
    writeln!(
        text,
        "{}, read as {}{}: {} records over {:.1} s, {} requests in {} attempts; {} records stood before their time and \
         were sorted.\n",
        code(&log.file),
        log.format,
        log.detected
            .map(|why| format!(" ({why})"))
            .unwrap_or_default(),
        grouped(log.read),
        log.recorded.span_s,
        grouped(log.replayed),
        grouped(attempts(report)),
        grouped(log.inversions),
    )?;
    writeln!(text, "{}", crate::report::log::clock(log))?;
    for (reason, n) in &log.dropped {
        writeln!(text, "- left out, {reason}: {}", grouped(*n))?;
    }
    if let Some(audit) = &report.audit {
        writeln!(text, "- tried again: {}", again(audit))?;
    }
    writeln!(text)
}

fn attempts(report: &Report) -> u64 {
    report.summary.versions.values().map(|v| v.accepted).sum()
}

/// What was tried again, for people.
fn again(audit: &AuditFindings) -> String {
    let Again {
        requests,
        retries,
        fallbacks,
        other,
    } = audit.again;
    let other = match other {
        0 => String::new(),
        n => format!(", {} at another version", grouped(n)),
    };
    format!(
        "{} requests: {} retries, {} fallbacks to stable{other}",
        grouped(requests),
        grouped(retries),
        grouped(fallbacks)
    )
}

/// The lines of the terminal; nothing for a run.
pub(super) fn lines(report: &Report) -> Vec<(&'static str, String)> {
    let Some(audit) = &report.audit else {
        return Vec::new();
    };
    let mut lines: Vec<(&str, String)> = Vec::new();
    lines.extend(
        report
            .meta
            .log
            .as_ref()
            .map(|log| ("log", log_line(report, log))),
    );
    lines.push(("tried again", again(audit)));
    lines.extend(
        audit
            .judges
            .iter()
            .map(|judge| (judge.judge, judge_line(judge))),
    );
    lines.extend(closed(report, audit).map(|line| ("closed", line.replace('`', ""))));
    let (canary, stable) = (report.meta.canary, report.meta.stable);
    lines.extend(errors_line(report, audit, canary, stable).map(|line| ("errors", line)));
    lines.extend(latency_line(report, audit, canary, stable).map(|line| ("latency", line)));
    lines
}

fn log_line(report: &Report, log: &LogMeta) -> String {
    let dropped = log.dropped.iter();
    let dropped: Vec<String> = dropped
        .map(|(reason, n)| format!("{} {reason}", grouped(*n)))
        .collect();
    let left_out = match dropped.is_empty() {
        true => "nothing left out".to_owned(),
        false => format!("left out: {}", dropped.join(", ")),
    };
    format!(
        "{} records of {}: {} requests in {} attempts over {:.1} s; {left_out}",
        grouped(log.read),
        log.format,
        grouped(log.replayed),
        grouped(attempts(report)),
        log.recorded.span_s,
    )
}

fn judge_line(judge: &WouldHave) -> String {
    let met = |exposure: Exposure| {
        format!(
            "{} canary requests, {} failed for their callers",
            grouped(exposure.canary_requests),
            grouped(exposure.user_errors)
        )
    };
    match decision(judge) {
        (_, why) if judge.decided.is_none() => {
            let why = if why.is_empty() {
                why
            } else {
                format!(" ({why})")
            };
            format!("would have kept the canary{why}: {}", met(judge.until))
        }
        (when, why) => format!(
            "would have rolled back at {when}: {why}; until then {}; after it {}",
            met(judge.until),
            met(judge.after)
        ),
    }
}

fn errors_line(
    report: &Report,
    audit: &AuditFindings,
    canary: VersionId,
    stable: VersionId,
) -> Option<String> {
    let difference = audit.difference(canary, stable)?;
    let rate = |version: VersionId| {
        let rate = audit.arms[version].error_rate().unwrap_or_default();
        format!("{} {} %", report.meta.name(version), percent(rate))
    };
    Some(format!(
        "{}, {}: {}",
        rate(canary),
        rate(stable),
        in_points(difference)
    ))
}

fn latency_line(
    report: &Report,
    audit: &AuditFindings,
    canary: VersionId,
    stable: VersionId,
) -> Option<String> {
    let of = |version: VersionId| {
        let latency = &audit.arms[version].latency;
        let [p50, p99] = [Quantile::P50, Quantile::P99].map(|q| latency.at(q));
        let name = report.meta.name(version);
        Some(format!("{name} p50 {}, p99 {}", Human(p50?), Human(p99?)))
    };
    Some(format!("{}; {}", of(canary)?, of(stable)?))
}

/// What `summary.json` says of an audit; null for a run.
pub(super) fn value(report: &Report) -> Option<Value> {
    let audit = report.audit.as_ref()?;
    let meta = &report.meta;
    let judges = audit.judges.iter().map(|judge| {
        json!({
            "judge": judge.judge,
            "is_configured": judge.is_configured,
            "rolled_back_at_s": judge.decided.as_ref().map(|d| d.at.as_secs_f64()),
            "because": judge.decided.as_ref().map(|d| finding_json(meta, &d.because)),
            "held": judge.held,
            "until": judge.until,
            "after": judge.after,
        })
    });
    let arms = audit.arms.iter().map(|(version, arm)| {
        let name = meta.name(version).to_owned();
        (name, arm_value(arm))
    });
    let difference = audit.difference(meta.canary, meta.stable);
    Some(json!({
        "judges": judges.collect::<Vec<_>>(),
        "closed_in_log": audit.closed.map(|closed| json!({
            "last_canary_at_s": closed.last_at.as_secs_f64(),
            "later_requests": closed.later_requests,
        })),
        "tried_again": audit.again,
        "confidence": CONFIDENCE,
        "versions": Value::Object(arms.collect()),
        "error_rate_difference": difference.map(|d| json!({
            "estimate": d.estimate,
            "interval": [d.low, d.high],
            "method": "newcombe",
        })),
    }))
}

fn arm_value(arm: &Arm) -> Value {
    let quantiles = QUANTILES.map(|quantile| {
        let [at, low, high] = latency_limits(arm, quantile).map(|l| l.map(millis_f64));
        (
            format!("{quantile}_ms"),
            json!({"estimate": at, "interval": [low, high]}),
        )
    });
    json!({
        "judged": arm.judged,
        "failed": arm.failed,
        "error_rate": arm.error_rate(),
        "error_rate_interval": arm.limits().map(|l| [l.low, l.high]),
        "latency": Value::Object(quantiles.into_iter().collect()),
    })
}
