//! `events.jsonl`: what happened to the run as a whole, a JSON object a line: which run it is, faults
//! going on and off, the judge's looks, rollbacks. Times are seconds since the start of the run.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::observe::event::{Finding, RollbackFacts, RunEvent, What};
use crate::observe::meta::RunMeta;
use crate::observe::orders::{OrderEnd, OrderFacts};

/// Writes the first line: which run this is. A file that lies about alone still says where it comes
/// from.
///
/// # Errors
/// When writing fails.
pub fn head(writer: &mut impl Write, meta: &RunMeta) -> io::Result<()> {
    let line = json!({
        "at_s": 0.0,
        "event": "run",
        "graygate": meta.graygate,
        "scenario": meta.scenario,
        "engine": meta.driver(),
        "seed": meta.seed,
        "scenario_sha256": meta.scenario_sha256,
        "router_sha256": meta.router_sha256,
    });
    writeln!(writer, "{line}")
}

/// Writes an event, if it is one that concerns the whole run. Looks of the judge that have no
/// value (a window that is empty, for ever perhaps) say nothing: they are left out.
///
/// # Errors
/// When writing fails.
pub fn write(writer: &mut impl Write, meta: &RunMeta, event: &RunEvent) -> io::Result<()> {
    if matches!(&event.what, What::Judged(finding) if finding.value.is_none()) {
        return Ok(());
    }
    let Some(mut line) = line(meta, event) else {
        return Ok(());
    };
    line["at_s"] = json!(event.at.as_secs_f64());
    writeln!(writer, "{line}")
}

fn line(meta: &RunMeta, event: &RunEvent) -> Option<Value> {
    match &event.what {
        What::Fault { index, on } => {
            let fault = meta.faults.get(usize::from(*index))?;
            let versions: Vec<&str> = fault.on.iter().map(|v| meta.name(*v)).collect();
            let name = if *on { "fault_on" } else { "fault_off" };
            Some(json!({
                "event": name, "kind": fault.kind, "on": versions, "share": fault.share,
            }))
        }
        What::Judged(finding) => {
            let mut line = finding_json(meta, finding);
            line["event"] = json!("judged");
            Some(line)
        }
        What::RolledBack(record) => Some(rollback_json(meta, record)),
        What::Told(record) => Some(json!({
            "event": "told", "id": record.id, "affected_requests": record.affected_requests,
        })),
        What::Held(reason) => Some(json!({"event": "held", "reason": reason})),
        What::NotPromoted(missing) => Some(json!({"event": "not_promoted", "missing": missing})),
        What::Standing(standing) => Some(json!({
            "event": "standing",
            "revision": standing.revision,
            "phase": standing.phase,
            "step": standing.step,
            "share": standing.share,
            "cause": standing.cause,
        })),
        What::Purse(state) => Some(json!({
            "event": "purse",
            "spent": state.spent,
            "under_way": state.under_way,
            "refused": state.refused,
        })),
        What::Ordered(order) => Some(order_json("ordered", order)),
        What::OrderEnded(end) => Some(order_end_json(end)),
        What::Sent(_)
        | What::Assigned { .. }
        | What::Dispatched { .. }
        | What::Cancelled { .. }
        | What::Accepted(_)
        | What::UpstreamEnded(_)
        | What::Booked(_)
        | What::Settled(_)
        | What::Answered(_)
        | What::Gaps(_)
        | What::HeldBack { .. }
        | What::OutOfFiles
        | What::ClockJumped(_)
        | What::Machine(_)
        | What::Keys(_)
        | What::Memory { .. } => None,
    }
}

fn order_json(event: &str, order: &OrderFacts) -> Value {
    json!({
        "event": event,
        "order": order.number,
        "kind": order.kind.name(),
        "canary_share": order.kind.share(),
    })
}

fn order_end_json(end: &OrderEnd) -> Value {
    let mut line = order_json("order_ended", &end.order);
    line["status"] = json!(end.status);
    line["took_s"] = json!(end.took.as_secs_f64());
    line["answer"] = json!(end.answer);
    line
}

/// What a judge found, with names.
pub(super) fn finding_json(meta: &RunMeta, finding: &Finding) -> Value {
    json!({
        "version": meta.name(finding.version),
        "measure": finding.measure,
        "value": finding.value,
        "bound": finding.bound,
        "samples": finding.samples,
        "min_samples": finding.min_samples,
        "action": finding.action,
        "violated": finding.violated,
    })
}

/// The record of a rollback, with names.
pub fn rollback_json(meta: &RunMeta, record: &RollbackFacts) -> Value {
    json!({
        "event": "rolled_back",
        "id": record.id,
        "from": meta.name(record.from),
        "to": meta.name(record.to),
        "decided_at_s": record.decided_at.as_secs_f64(),
        "cause": record.cause,
        "words": record.words,
        "reason": record.reason.as_ref().map(|finding| finding_json(meta, finding)),
        "step": record.step,
        "affected_requests": record.affected_requests,
    })
}
