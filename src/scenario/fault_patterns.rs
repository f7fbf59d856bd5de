//! `flapping`, `ramp` and `bursts`: how a fault comes and goes between its start and its end.

use std::time::Duration;

use crate::config::fields::{Cx, Fields};
use crate::config::node::Node;
use crate::config::values;
use crate::fault::pattern::Pattern;

/// The pattern of a fault of this length; steady when there is none.
pub(super) fn read(fields: &Fields<'_, '_>, length: Option<Duration>) -> Option<Pattern> {
    let written = ["flapping", "ramp", "bursts"].map(|key| (key, fields.node(key)));
    let mut written = written
        .into_iter()
        .filter_map(|(key, node)| Some((key, node?)));
    let Some((key, node)) = written.next() else {
        return Some(Pattern::Steady);
    };
    if let Some((other, _)) = written.next() {
        let message = format!("a fault follows `{key}` or `{other}`, not both");
        fields.complain(&message, "one pattern, or two faults");
        return None;
    }
    fields.optional(key, |cx, _| match key {
        "flapping" => flapping(cx, node),
        "ramp" => ramp(cx, node, fields, length),
        _ => bursts(cx, node),
    })
}

fn flapping(cx: Cx<'_>, node: &Node) -> Option<Pattern> {
    let fields = cx.fields(node, "flapping")?;
    let on = fields.required("on", "10s", values::positive_duration);
    let off = fields.required("off", "50s", values::positive_duration);
    fields.finish();
    let (on, off) = (on?, off?);
    Some(Pattern::Flapping { on, off })
}

/// A ramp needs an end to arrive at, and brings the shares itself.
fn ramp(
    cx: Cx<'_>,
    node: &Node,
    fault: &Fields<'_, '_>,
    length: Option<Duration>,
) -> Option<Pattern> {
    let fields = cx.fields(node, "a ramp")?;
    let from = fields.required("from", "0%", values::share);
    let to = fields.required("to", "50%", values::share);
    fields.finish();
    if fault.node("share").is_some() {
        let message = "a ramp has shares of its own: `share` says nothing beside it";
        return cx.error(cx.at(node.place, message).hint("leave `share` out"));
    }
    let Some(over) = length else {
        let diagnostic = cx.at(node.place, "a ramp needs an end to arrive at");
        return cx.error(diagnostic.expected("for: 5m, beside it"));
    };
    let (from, to) = (from?, to?);
    Some(Pattern::Ramp { from, to, over })
}

fn bursts(cx: Cx<'_>, node: &Node) -> Option<Pattern> {
    let fields = cx.fields(node, "bursts")?;
    let mean = fields.required("mean", "2s", values::positive_duration);
    let gap = fields.required("gap", "30s", values::positive_duration);
    fields.finish();
    let (mean, gap) = (mean?, gap?);
    Some(Pattern::Bursts { mean, gap })
}
