//! Gates about the machine that a run needs: the load generator's time, and the router's memory.

use crate::config::fields::Cx;
use crate::config::node::Node;
use crate::config::values;
use crate::scenario::gates::gate_fields;
use crate::stats::compare::{Comparison, Op, Share};
use crate::verdict::spec::{GateSpec, GeneratorSpec};

/// Did the load generator keep up?
pub(super) fn generator(cx: Cx<'_>, node: &Node) -> Option<GateSpec> {
    let fields = gate_fields(cx, node, "generator")?;
    let default = GeneratorSpec::default();
    let upper = |cx: Cx<'_>, node: &Node| {
        let limit = values::duration_comparison(cx, node)?;
        at_most(cx, node, limit)
    };
    let delay = fields.optional("dispatch_delay_p99", upper);
    let rate = fields.optional("rate_error", |cx, n| {
        let limit = values::share_comparison(cx, n)?;
        at_most(cx, n, limit)
    });
    let stall = fields.optional("stall", upper);
    let wake_delay = fields.optional("wake_delay_p99", upper);
    fields.finish();
    Some(GateSpec::Generator(GeneratorSpec {
        dispatch_delay_p99: delay.unwrap_or(default.dispatch_delay_p99),
        rate_error: rate.map_or(default.rate_error, Share::fraction),
        stall,
        wake_delay_p99: wake_delay,
    }))
}

/// How much the router keeps in memory.
pub(super) fn memory(cx: Cx<'_>, node: &Node) -> Option<GateSpec> {
    let fields = gate_fields(cx, node, "memory")?;
    let router = fields.required("router", "\"<= 1MiB\"", values::bytes_comparison);
    fields.finish();
    Some(GateSpec::Memory { router: router? })
}

fn at_most<T>(cx: Cx<'_>, node: &Node, limit: Comparison<T>) -> Option<T> {
    if limit.op == Op::AtMost {
        return Some(limit.bound);
    }
    cx.wrong(node, "an upper limit", "\"<= …\"")
}
