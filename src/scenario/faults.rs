//! `faults`: what goes wrong, when, and for whom.

use std::time::Duration;

use crate::config::fields::{Cx, Fields};
use crate::config::node::{Node, Value};
use crate::config::values;
use crate::config::versions::version_name;
use crate::fault::kind::FaultKind;
use crate::fault::schedule::Fault;
use crate::id::VersionId;
use crate::time::Timestamp;
use crate::upstream::stream::Breakage;

/// Reads `faults`. None means that mistakes were reported.
pub fn read(cx: Cx<'_>, node: &Node, names: &[String]) -> Option<Vec<Fault>> {
    let items = cx.list(
        node,
        "- {at: 2m, for: 3m, on: v2, kind: timeout, share: 30%}",
    )?;
    if items.len() > 1_000 {
        return cx.error(cx.at(node.place, "more than 1000 faults"));
    }
    let faults: Vec<_> = items.iter().map(|n| fault(cx, n, Some(names))).collect();
    faults.into_iter().collect()
}

/// Reads one fault. Without `names` there is one version, and `on` is not known.
pub fn fault(cx: Cx<'_>, node: &Node, names: Option<&[String]>) -> Option<Fault> {
    let fields = cx.fields(node, "a fault")?;
    let kind = kind(&fields);
    let on = match names {
        None => Some(vec![VersionId(0)]),
        Some(names) => fields.required("on", "the name of a version", |cx, n| {
            versions(cx, n, names)
        }),
    };
    let at = fields.optional("at", values::duration);
    let length = fields.optional("for", values::positive_duration);
    let share = fields.optional("share", values::share);
    fields.finish();
    let from = Timestamp::from(at.unwrap_or_default());
    Some(Fault {
        kind: kind?,
        on: on?,
        from,
        until: length.map(|length| from + length),
        share: share.unwrap_or(1.0),
    })
}

fn versions(cx: Cx<'_>, node: &Node, names: &[String]) -> Option<Vec<VersionId>> {
    match &node.value {
        Value::List(items) => {
            let read: Vec<_> = items.iter().map(|n| version_name(cx, n, names)).collect();
            read.into_iter().collect()
        }
        _ => version_name(cx, node, names).map(|v| vec![v]),
    }
}

/// The kind with the parameters that belong to it; parameters of other kinds are unknown keys.
fn kind(fields: &Fields<'_, '_>) -> Option<FaultKind> {
    let words = FaultKind::NAMES.map(|name| (name, name));
    let kind = fields.required("kind", "unauthorized, timeout …", |cx, n| {
        values::word(cx, n, "a kind of fault", &words)
    })?;
    Some(match kind {
        "unauthorized" => FaultKind::Unauthorized,
        "timeout" => FaultKind::Timeout,
        "rate_limited" => FaultKind::RateLimited {
            retry_after: fields.optional("retry_after", whole_seconds),
        },
        "model_not_found" => FaultKind::ModelNotFound,
        "server_error" => FaultKind::ServerError {
            status: fields.optional("status", status_5xx).unwrap_or(500),
        },
        "reset" => FaultKind::Reset,
        "slow" => FaultKind::Slow {
            delay: fields.required("delay", "2s", values::positive_duration)?,
        },
        name => FaultKind::Stream {
            how: Breakage::ALL.into_iter().find(|how| how.name() == name)?,
            after: fields.optional("after", tokens).unwrap_or(5),
        },
    })
}

/// Tokens that come before a stream breaks.
fn tokens(cx: Cx<'_>, node: &Node) -> Option<u32> {
    let count = values::count(cx, node)?;
    match u32::try_from(count) {
        Ok(tokens) => Some(tokens),
        Err(_) => cx.wrong(node, "a number of tokens", "0, 5, 100"),
    }
}

/// `Retry-After` knows whole seconds only.
fn whole_seconds(cx: Cx<'_>, node: &Node) -> Option<Duration> {
    let value = values::duration(cx, node)?;
    if value.subsec_nanos() != 0 {
        return cx.wrong(node, "a whole number of seconds", "1s, 30s, 2m");
    }
    Some(value)
}

fn status_5xx(cx: Cx<'_>, node: &Node) -> Option<u16> {
    match values::count(cx, node)? {
        status @ 500..=599 => Some(status as u16),
        _ => cx.wrong(node, "a server error", "500 to 599"),
    }
}
