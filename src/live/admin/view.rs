//! The release as the admin API shows it.

use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, ETAG, HeaderValue};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::canonical;
use crate::config::redact::redact;
use crate::config::router_text;
use crate::id::VersionId;
use crate::live::admin::Present;
use crate::live::store::mail::Told;
use crate::observe::bridge;
use crate::router::config::RouterConfig;
use crate::router::deployment::{Checkpoint, CheckpointKind, HistoryEntry};
use crate::router::io::{Evidence, Reason, Rollback, Standing};

/// A JSON answer.
pub fn answer(status: u16, body: &Value) -> Response {
    with_body(status, body.to_string())
}

fn with_body(status: u16, json: String) -> Response {
    let mut response = json.into_response();
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// A JSON answer of something that has a revision, which stands in its `ETag` as well.
pub fn tagged(status: u16, revision: u64, body: &Value) -> Response {
    with_tag(answer(status, body), revision)
}

fn with_tag(mut response: Response, revision: u64) -> Response {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{revision}\"")) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// The name of a version; its number when the configuration has none such.
pub fn name(config: &RouterConfig, version: VersionId) -> String {
    let found = config.versions.iter().find(|(id, _)| *id == version);
    found.map_or_else(|| version.0.to_string(), |(_, v)| v.name.clone())
}

/// A value for every version, by name.
pub fn by_version(config: &RouterConfig, value: impl Fn(VersionId) -> Value) -> Value {
    let versions = config.versions.iter();
    let map: Map<String, Value> = versions
        .map(|(id, v)| (v.name.clone(), value(id)))
        .collect();
    Value::Object(map)
}

/// Why nothing goes to the canary whatever its weight; none while the door is open.
pub fn closed(standing: &Standing) -> Option<&'static str> {
    standing.closed.first().map(|reason| reason.name())
}

/// What the next step of the ramp still waits for.
pub fn missing(standing: &Standing) -> Value {
    let missing = standing.missing.iter();
    json!(missing.map(bridge::lacks).collect::<Vec<_>>())
}

/// The release.
pub fn release(present: &Present) -> Value {
    let Present { standing, config } = present;
    let steps = config.ramp.as_ref().map_or(0, |ramp| ramp.steps.len());
    let step = standing
        .step
        .as_ref()
        .map(|(position, name)| json!({"position": position, "name": name, "of": steps}));
    json!({
        "revision": standing.revision,
        "phase": standing.phase.name(),
        "step": step,
        "held_s": standing.held.as_secs_f64(),
        "stable": name(config, config.stable),
        "canary": name(config, config.canary),
        "weights": by_version(config, |v| json!(config.split.weights[v])),
        "canary_share": standing.share,
        "canary_closed": closed(standing),
        "missing": missing(standing),
        "sha256": canonical::sha256(&**config),
    })
}

/// The configuration in force, as a router file that PUT takes. It holds names of variables, no keys;
/// what looks like one all the same is cut out.
pub fn configuration(present: &Present) -> Response {
    let revision = present.standing.revision;
    let shown = Configuration {
        revision,
        sha256: canonical::sha256(&*present.config),
        config: router_text::write(&present.config),
    };
    // Not through a value: the order of the versions means something.
    let text = serde_json::to_string_pretty(&shown).unwrap_or_default();
    with_tag(with_body(200, text), revision)
}

#[derive(Serialize)]
struct Configuration {
    revision: u64,
    sha256: String,
    config: router_text::Text,
}

/// The same value with everything cut out of its texts that looks like a key.
pub fn without_keys(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(redact(&text)),
        Value::Array(items) => items.into_iter().map(without_keys).collect(),
        Value::Object(map) => {
            let map = map.into_iter();
            Value::Object(map.map(|(k, v)| (k, without_keys(v))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

/// A checkpoint, without its configuration.
pub fn checkpoint(checkpoint: &Checkpoint) -> Value {
    let kind = match checkpoint.kind {
        CheckpointKind::Manual => "manual",
        CheckpointKind::PreDeploy => "pre_deploy",
        CheckpointKind::Backup => "backup",
    };
    json!({
        "id": checkpoint.id,
        "name": redact(&checkpoint.name),
        "kind": kind,
        "created_at": moment(checkpoint.unix_ms),
        "canary_share": checkpoint.config.canary_share(),
        "rolled_back": checkpoint.rolled_back,
        "intact": checkpoint.is_intact(),
        "sha256": checkpoint.sha256,
    })
}

/// A line of the history.
pub fn entry(entry: &HistoryEntry) -> Value {
    json!({
        "revision": entry.revision,
        "kind": entry.kind,
        "detail": redact(&entry.detail),
        "at": moment(entry.unix_ms),
    })
}

/// The record of a rollback.
pub fn rollback(config: &RouterConfig, record: &Rollback) -> Value {
    let words = match &record.reason {
        Reason::ByHand(words) => Some(redact(words)),
        Reason::Judged(_) | Reason::Inconclusive => None,
    };
    json!({
        "id": record.id,
        "from": name(config, record.from),
        "to": name(config, record.to),
        "reason": record.reason.name(),
        "words": words,
        "evidence": record.reason.evidence().map(|e| evidence(config, e)),
        "at": moment(record.unix_ms),
        "revision": record.revision,
        "step": record.step,
        "affected_requests": record.affected_requests,
        "restored": record.restored,
        "sha256": record.sha256,
    })
}

/// Who was told of a rollback, counted: receivers' addresses are nobody else's business.
pub fn told(told: &Told) -> Value {
    let standing = |state: &str| told.letters.iter().filter(|l| l.state == state).count();
    json!({
        "peers": told.peers,
        "peers_acknowledged": told.peers_acknowledged,
        "webhooks": told.webhooks,
        "webhooks_delivered": told.webhooks_delivered,
        "pending": standing("pending"),
        "failed": standing("failed"),
    })
}

fn evidence(config: &RouterConfig, evidence: &Evidence) -> Value {
    json!({
        "version": name(config, evidence.version),
        "measure": evidence.measure.name(),
        "value": evidence.value,
        "bound": evidence.bound,
        "samples": evidence.samples,
        "min_samples": evidence.min_samples,
    })
}

/// A moment as people and programs write it; null when nobody knows it.
pub fn moment(unix_ms: Option<u64>) -> Value {
    let ms = unix_ms.and_then(|ms| i64::try_from(ms).ok());
    let moment = ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    json!(moment.map(|moment| moment.to_string()))
}
