//! What the gateway has done since it started, in JSON.

use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::live::admin::orders::{Answer, Api};
use crate::live::admin::tally::{Mishap, PerOutcome, Tally, VersionTally, WHYS};
use crate::live::admin::{Admin, view};
use crate::observe::event::{AttemptKind, Finding};
use crate::protocol::drift::DriftKind;
use crate::protocol::outcome::Outcome;
use crate::time::Timestamp;

/// `GET /v1/stats`
pub async fn stats(State(admin): Api) -> Answer {
    let standing = admin.look().await?;
    let tally = admin.config.tally.read();
    let versions = tally.versions.iter();
    let arrived = tally.arrived();
    let by_version: Map<String, Value> = versions
        .map(|v| (v.name.clone(), version(v, arrived)))
        .collect();
    let body = json!({
        "since": view::moment(Some(admin.unix_ms(Timestamp::ZERO))),
        "requests": requests(&admin, &tally),
        "fallbacks": {
            "tried": by_kind(&tally, AttemptKind::Fallback),
            "answered": tally.versions.iter().map(|v| v.served_as_fallback).sum::<u64>(),
        },
        "retries": by_kind(&tally, AttemptKind::Retry),
        "refused": refused(&admin),
        "versions": by_version,
        "held": tally.held,
        "judge": tally.findings.values().map(|f| finding(&tally, f)).collect::<Vec<_>>(),
        "missing": view::missing(&standing),
        "rollbacks": tally.rollbacks,
    });
    Ok(view::answer(200, &body))
}

/// `GET /v1/errors`: the last 50, newest first. No bodies: they hold what callers wrote.
pub async fn errors(State(admin): Api) -> Response {
    let tally = admin.config.tally.read();
    let newest_first = tally.errors.iter().rev();
    let list: Vec<Value> = newest_first.map(|e| mishap(&admin, e)).collect();
    view::answer(200, &json!({ "errors": list }))
}

fn requests(admin: &Admin, tally: &Tally) -> Value {
    let ended: u64 = tally.ended.iter().sum();
    let succeeded = tally.ended[Outcome::Success.index()];
    json!({
        "arrived": tally.arrived(),
        "in_flight": admin.driver.footprint().in_flight,
        "succeeded": succeeded,
        "failed": ended - succeeded,
        "outcomes": outcomes(&tally.ended),
    })
}

fn version(version: &VersionTally, arrived: u64) -> Value {
    let share = (arrived > 0).then(|| version.assigned as f64 / arrived as f64);
    let kinds = [
        AttemptKind::First,
        AttemptKind::Retry,
        AttemptKind::Fallback,
    ];
    let attempts: Map<String, Value> = kinds
        .into_iter()
        .map(|kind| (kind.name().to_owned(), json!(of_kind(version, kind))))
        .collect();
    let mut by_outcome = [0; Outcome::ALL.len()];
    for counts in &version.attempts {
        by_outcome.iter_mut().zip(counts).for_each(|(a, b)| *a += b);
    }
    let [good, bad] = &version.latency;
    json!({
        "assigned": version.assigned,
        "share": share,
        "served": version.served,
        "served_as_fallback": version.served_as_fallback,
        "attempts": attempts,
        "outcomes": outcomes(&by_outcome),
        "mean_latency_ms": {"success": good.mean_ms(), "failure": bad.mean_ms()},
        "drift": drift(version),
        "cost": cost(version),
    })
}

/// The kinds that came at all.
fn drift(version: &VersionTally) -> Value {
    let named = DriftKind::ALL.into_iter().zip(version.drift);
    let named = named.filter(|(_, n)| *n > 0);
    let map: Map<String, Value> = named
        .map(|(kind, n)| (kind.name().to_owned(), json!(n)))
        .collect();
    Value::Object(map)
}

/// Null without a price.
fn cost(version: &VersionTally) -> Value {
    let total = version.costs.total();
    json!(total.map(|total| json!({
        "total_nano_usd": total,
        "unknown_attempts": version.costs.unknown,
    })))
}

/// Those that came at all.
fn outcomes(counts: &PerOutcome) -> Value {
    let named = Outcome::ALL.into_iter().zip(counts);
    let named = named.filter(|(_, n)| **n > 0);
    let map: Map<String, Value> = named
        .map(|(outcome, n)| (outcome.name().to_owned(), json!(n)))
        .collect();
    Value::Object(map)
}

fn by_kind(tally: &Tally, kind: AttemptKind) -> u64 {
    tally.versions.iter().map(|v| of_kind(v, kind)).sum()
}

fn of_kind(version: &VersionTally, kind: AttemptKind) -> u64 {
    let counts = WHYS.iter().zip(&version.attempts);
    let those = counts.filter(|((of, _), _)| *of == kind);
    those.flat_map(|(_, counts)| counts).sum()
}

/// Those that came at all.
fn refused(admin: &Admin) -> Value {
    let those = admin.unheard().into_iter().filter(|(_, n)| *n > 0);
    let map: Map<String, Value> = those
        .map(|(why, n)| (why.name().to_owned(), json!(n)))
        .collect();
    Value::Object(map)
}

fn finding(tally: &Tally, finding: &Finding) -> Value {
    json!({
        "version": tally.name(finding.version),
        "measure": finding.measure,
        "value": finding.value,
        "bound": finding.bound,
        "samples": finding.samples,
        "min_samples": finding.min_samples,
        "action": finding.action,
        "violated": finding.violated,
    })
}

fn mishap(admin: &Admin, mishap: &Mishap) -> Value {
    json!({
        "at": view::moment(Some(admin.unix_ms(mishap.at))),
        "request": mishap.request,
        "of": if mishap.attempt.is_some() { "attempt" } else { "request" },
        "version": mishap.version,
        "attempt": mishap.attempt.map(|(n, _)| n),
        "kind": mishap.attempt.map(|(_, kind)| kind),
        "outcome": mishap.outcome.name(),
        "latency_ms": mishap.latency_ms,
    })
}
