//! `faults`: what goes wrong, when, and for whom.

use crate::config::fields::Cx;
use crate::config::node::{Node, Place, Value};
use crate::config::values;
use crate::config::versions::version_name;
use crate::fault::pattern::Pattern;
use crate::fault::schedule::Fault;
use crate::id::VersionId;
use crate::scenario::{fault_kinds, fault_patterns};
use crate::time::Timestamp;

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
    let kind = fault_kinds::read(&fields);
    let on = match names {
        None => Some(vec![VersionId(0)]),
        Some(names) => fields.required("on", "the name of a version", |cx, n| {
            versions(cx, n, names)
        }),
    };
    let at = fields.optional("at", values::duration);
    let length = fields.optional("for", values::positive_duration);
    let share = fields.optional("share", values::share);
    let pattern = fault_patterns::read(&fields, length);
    let is_correlated = fields.optional("correlated", values::flag);
    let only_prefilled = fields.optional("when", |cx, n| {
        values::word(cx, n, "what a request has", &[("prefilled", true)])
    });
    let place = fields.place();
    fields.finish();
    let from = Timestamp::from(at.unwrap_or_default());
    let fault = Fault {
        kind: kind?,
        on: on?,
        from,
        until: length.map(|length| from + length),
        share: share.unwrap_or(1.0),
        pattern: pattern?,
        is_correlated: is_correlated.unwrap_or(false),
        only_prefilled: only_prefilled.unwrap_or(false),
    };
    is_playable(cx, place, &fault, names.is_some())?;
    is_sensible(cx, place, &fault)?;
    Some(fault)
}

/// Whether a connection can be had is no request's own fate: a port is open to all of them or to none.
fn is_playable(cx: Cx<'_>, place: Place, fault: &Fault, is_run: bool) -> Option<()> {
    if !fault.kind.keeps_out() {
        return Some(());
    }
    let name = fault.kind.name();
    if !is_run {
        let message = format!("a mock by itself cannot play `{name}`: it would have to be gone");
        return cx.error(cx.at(place, message).hint("do not start it"));
    }
    let is_ramp = matches!(fault.pattern, Pattern::Ramp { .. });
    let is_all = fault.share >= 1.0 && !is_ramp && !fault.only_prefilled;
    if is_all {
        return Some(());
    }
    let message = format!("`{name}` keeps everybody out while it is on, or it cannot be played");
    let expected =
        format!("{{on: v2, kind: {name}, at: 2m, for: 30s}}, without `share`, `when` or `ramp`");
    let hint = "a port is open to all requests or to none; `reset` and `close` hit single ones";
    cx.error(cx.at(place, message).expected(expected).hint(hint))
}

fn is_sensible(cx: Cx<'_>, place: Place, fault: &Fault) -> Option<()> {
    if fault.is_correlated && fault.on.len() < 2 {
        let message =
            "`correlated` needs several versions: a request then meets the fault at all of them";
        return cx.error(cx.at(place, message).expected("on: [v1, v2]"));
    }
    if fault.mean_share() > 0.0 {
        return Some(());
    }
    let message = "this fault never hits anything";
    cx.error(cx.at(place, message).expected("a share above 0%"))
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
