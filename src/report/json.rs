//! `summary.json`: the whole run in one object. The format is versioned: fields are only ever added
//! within one version.

use serde_json::{Map, Value, json};

use crate::config::diagnostic::{Diagnostic, Severity};
use crate::observe::latency::Latencies;
use crate::observe::meta::{FaultMeta, RunMeta};
use crate::observe::summary::{OutcomeCounts, VersionSummary};
use crate::report::events::rollback_json;
use crate::report::{Report, audit, costs, machine, streams};
use crate::stats::quantile::Quantile;
use crate::time::millis_f64;
use crate::verdict::result::Status;

/// The name and version of the format.
pub const FORMAT: &str = "graygate.summary/1";

/// The summary as indented JSON with a final line end.
pub fn summary(report: &Report) -> Vec<u8> {
    let mut text = format!("{:#}", value(report)).into_bytes();
    text.push(b'\n');
    text
}

/// The name and version of the format of what stands for a scenario that could not be run.
pub const NOT_RUN_FORMAT: &str = "graygate.not-run/1";

/// What stands in a list of summaries for a scenario that could not be run.
pub fn not_run(scenario: &str, why: &str, mistakes: &[&Diagnostic]) -> Value {
    json!({
        "format": NOT_RUN_FORMAT,
        "scenario": scenario,
        "status": "not_run",
        "why": why,
        "diagnostics": mistakes.iter().map(|d| diagnostic(d)).collect::<Vec<_>>(),
    })
}

/// What stands for a scenario that cannot be run here.
pub fn skipped(scenario: &str, why: &str) -> Value {
    json!({"format": NOT_RUN_FORMAT, "scenario": scenario, "status": "skipped", "why": why})
}

fn diagnostic(diagnostic: &Diagnostic) -> Value {
    json!({
        "severity": match diagnostic.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        "file": diagnostic.file,
        "line": diagnostic.place.map(|p| p.line),
        "column": diagnostic.place.map(|p| p.column),
        "message": diagnostic.message,
        "expected": diagnostic.expected,
        "hint": diagnostic.hint,
    })
}

/// The summary as a JSON value.
pub fn value(report: &Report) -> Value {
    let (meta, summary) = (&report.meta, &report.summary);
    let is_valid = report.verdict.status != Status::Invalid;
    let mut value = json!({
        "format": FORMAT,
        "graygate": meta.graygate,
        "scenario": meta.scenario,
        "title": meta.title,
        "description": meta.description,
        "engine": meta.driver(),
        "seed": meta.seed,
        "scenario_sha256": meta.scenario_sha256,
        "router_sha256": meta.router_sha256,
        "reproduce": report.reproduce,
        "status": report.verdict.status,
        "valid": is_valid,
        "interrupted": report.verdict.interrupted,
        "stable": meta.name(meta.stable),
        "canary": meta.name(meta.canary),
        "canary_share": meta.canary_share,
        "duration_s": summary.end.as_secs_f64(),
        "log": meta.log,
        "faults": faults(report),
        "gates": gates(report),
        "requests": {
            "sent": summary.sent,
            "answered": summary.answers.total(),
            "unfinished": summary.unfinished,
            "rescued": summary.rescued,
            "rate_per_s": summary.rate(),
            "outcomes": outcomes(&summary.answers),
            "latency": latencies(&summary.latency),
            "latency_from_sent": latencies(&summary.latency_from_sent),
            "dispatch_delay": latencies(&summary.dispatch_delay),
        },
        "versions": versions(report),
        "join": {
            "key": join_key(report),
            "ledger_rows": summary.ledger_rows,
            "ledger_rows_without_key": summary.ledger_rows_without_key,
            "orphans": summary.orphans,
            "unexplained_answers": summary.unexplained,
        },
        "records": report.records,
        "rollbacks": summary.rollbacks.iter().map(|r| rollback_json(meta, r)).collect::<Vec<_>>(),
    });
    if let Some(keys) = &summary.keys {
        value["join"]["survived"] = json!(keys);
    }
    if let Some(facts) = &summary.machine {
        value["machine"] = machine::json(facts);
    }
    if let Some(gateway) = &meta.gateway {
        value["gateway"] = json!(gateway);
        value["orders"] = json!(meta.orders);
    }
    if let Some(all) = &summary.streams {
        value["requests"]["streams"] = streams::json(all);
    }
    if let Some(audit) = audit::value(report) {
        value["audit"] = audit;
    }
    if summary.recorded.total() > 0 {
        value["recorded_answers"] = json!(summary.recorded);
    }
    if summary.costs.is_priced() {
        value["cost"] = costs::json(report);
    }
    value
}

/// By what requests and the rows of ledgers were put together.
fn join_key(report: &Report) -> Option<&'static str> {
    match &report.summary.keys {
        Some(keys) => keys.key(),
        None => Some("header"),
    }
}

/// The gates with what each is pinned to (`asks`), as far as somebody asked for them.
pub fn gates(report: &Report) -> Vec<Value> {
    let name = |version| report.meta.name(version).to_owned();
    let specs = report.gates.iter().map(Some).chain(std::iter::repeat(None));
    let gates = report.verdict.gates.iter().zip(specs);
    gates
        .map(|(gate, spec)| {
            let mut value = json!(gate);
            let plain = gate.name.split('#').next().unwrap_or_default();
            if let Some(spec) = spec.filter(|spec| spec.name() == plain) {
                value["asks"] = json!(spec.settings(&name));
            }
            value
        })
        .collect()
}

fn faults(report: &Report) -> Vec<Value> {
    let pairs = report.meta.faults.iter().zip(&report.summary.fault_hits);
    pairs
        .map(|(f, hits)| fault(&report.meta, f, *hits))
        .collect()
}

fn fault(meta: &RunMeta, fault: &FaultMeta, hits: u64) -> Value {
    json!({
        "kind": fault.kind,
        "on": fault.on.iter().map(|v| meta.name(*v)).collect::<Vec<_>>(),
        "from_s": fault.from.as_secs_f64(),
        "until_s": fault.until.map(|t| t.as_secs_f64()),
        "share": fault.share,
        "hits": hits,
    })
}

fn versions(report: &Report) -> Value {
    let all = report.summary.versions.iter().map(|(id, summary)| {
        let meta = &report.meta.versions[id];
        let mut value = version(summary);
        value["model"] = json!(meta.model);
        value["upstream"] = json!(meta.upstream);
        if summary.drift.answers > 0 {
            value["drift"] = costs::drift_json(&summary.drift);
        }
        if let Some(own) = &summary.streams {
            value["streams"] = streams::json(own);
        }
        (meta.name.clone(), value)
    });
    Value::Object(all.collect())
}

fn version(summary: &VersionSummary) -> Value {
    json!({
        "first_attempts": summary.first_attempts,
        "randomised": summary.randomised,
        "attempts": summary.attempts.total(),
        "outcomes": outcomes(&summary.attempts),
        "served": summary.served,
        "rescued": summary.rescued,
        "latency": latencies(&summary.latency),
        "input_tokens": summary.input_tokens,
        "output_tokens": summary.output_tokens,
    })
}

fn outcomes(counts: &OutcomeCounts) -> Value {
    let pairs = counts.iter().map(|(o, n)| (o.name().to_owned(), json!(n)));
    Value::Object(pairs.collect::<Map<_, _>>())
}

/// Milliseconds; null without samples.
pub(super) fn latencies(latencies: &Latencies) -> Value {
    let at = |quantile| latencies.at(quantile).map(millis_f64);
    json!({
        "n": latencies.count(),
        "mean_ms": latencies.mean().map(millis_f64),
        "p50_ms": at(Quantile::P50),
        "p95_ms": at(Quantile::P95),
        "p99_ms": at(Quantile::P99),
        "max_ms": latencies.max().map(millis_f64),
    })
}
