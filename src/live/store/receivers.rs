//! Who is told of a rollback, and what.

use serde::Serialize;
use serde_json::json;

use crate::router::config::RouterConfig;
use crate::router::deployment::{Change, CheckpointKind};
use crate::router::io::{Reason, Rollback};

/// The name and version of the form that webhooks get.
pub const FORMAT: &str = "graygate.rollback/1";

/// What kind of receiver it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiverKind {
    /// Gets the record.
    Webhook,
    /// Another instance of this gateway, which is to roll back as well.
    Peer,
}

impl ReceiverKind {
    /// The name in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Peer => "peer",
        }
    }

    /// The kind with this name.
    pub fn named(name: &str) -> Self {
        match name {
            "peer" => Self::Peer,
            _ => Self::Webhook,
        }
    }
}

/// Somebody who is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// What kind.
    pub kind: ReceiverKind,
    /// As the router file says: a URL without secrets, or the name of an environment variable.
    pub entry: String,
    /// What is sent.
    pub body: String,
}

/// Everybody who is to be told of a rollback: by the configuration that was rolled back, which is
/// in the backup that was made of it.
pub fn of(change: &Change, record: &Rollback) -> Vec<Receiver> {
    let checkpoints = change.checkpoints.as_deref().unwrap_or_default();
    let backups = checkpoints.iter().rev();
    let mut backups = backups.filter(|c| c.kind == CheckpointKind::Backup);
    let backup = backups.find(|c| c.unix_ms == record.unix_ms);
    let config = backup.map_or(&change.deployment.config, |backup| &backup.config);
    let receiver = |kind, entry: &String, body: &str| Receiver {
        kind,
        entry: entry.clone(),
        body: body.to_owned(),
    };
    let (notice, request) = (notice(config, record), request(record));
    let webhooks = config.rollback.webhooks.iter();
    let peers = config.rollback.peers.iter();
    webhooks
        .map(|entry| receiver(ReceiverKind::Webhook, entry, &notice))
        .chain(peers.map(|entry| receiver(ReceiverKind::Peer, entry, &request)))
        .collect()
}

/// What a webhook gets.
fn notice(config: &RouterConfig, record: &Rollback) -> String {
    let evidence = record.reason.evidence().map(|evidence| {
        json!({
            "measure": evidence.measure.name(),
            "value": evidence.value,
            "bound": evidence.bound,
            "samples": evidence.samples,
        })
    });
    json!({
        "format": FORMAT,
        "id": record.id,
        "from": config.name(record.from),
        "to": config.name(record.to),
        "reason": record.reason.name(),
        "words": words(&record.reason),
        "evidence": evidence,
        "unix_ms": record.unix_ms,
        "affected_requests": record.affected_requests,
        "revision": record.revision,
        "step": record.step,
        "restored": record.restored,
        "sha256": record.sha256,
    })
    .to_string()
}

/// What a peer gets.
fn request(record: &Rollback) -> String {
    let reason = words(&record.reason).unwrap_or(record.reason.name());
    json!({"id": record.id, "reason": reason}).to_string()
}

fn words(reason: &Reason) -> Option<&str> {
    match reason {
        Reason::ByHand(words) => Some(words),
        _ => None,
    }
}
