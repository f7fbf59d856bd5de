//! `expect: contract`: bounds on answers that differ from the OpenAI shape.

use crate::config::fields::Cx;
use crate::config::node::Node;
use crate::config::values;
use crate::config::versions::version_name;
use crate::scenario::gates::{Setting, gate_fields, least, scope};
use crate::stats::compare::{Comparison, Op};
use crate::verdict::spec::{ContractSpec, GateSpec};

/// Reads the gate. None means that mistakes were reported. Without a bound, callers must always get
/// OpenAI's shape, whatever the versions send.
pub(super) fn read(cx: Cx<'_>, node: &Node, setting: Setting<'_>) -> Option<GateSpec> {
    let fields = gate_fields(cx, node, "contract")?;
    let drift = fields.optional("drift", values::count_comparison);
    let answers = fields.optional("answers", values::count_comparison);
    let version = fields.optional("version", |cx, n| version_name(cx, n, setting.names));
    let scope = scope(&fields);
    let min_n = least(&fields).unwrap_or(1);
    let is_silent = ["drift", "answers"]
        .into_iter()
        .all(|key| fields.node(key).is_none());
    fields.finish();
    let none = Comparison {
        op: Op::Equal,
        bound: 0,
    };
    Some(GateSpec::Contract(ContractSpec {
        names: setting.names.iter().cloned().collect(),
        version,
        scope,
        drift,
        answers: answers.or(is_silent.then_some(none)),
        min_n,
    }))
}
