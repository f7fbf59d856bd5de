//! `expect: cost`: bounds on what the attempts of a run cost.

use crate::config::fields::{Cx, listed};
use crate::config::node::Entry;
use crate::config::versions::version_name;
use crate::config::{prices, values};
use crate::id::VersionId;
use crate::scenario::gates::Setting;
use crate::verdict::spec::{CostSpec, GateSpec};

/// Reads the gate. None means that mistakes were reported.
pub fn read(cx: Cx<'_>, entry: &Entry, setting: Setting<'_>) -> Option<GateSpec> {
    let fields = cx.fields(&entry.value, "cost")?;
    let spec = CostSpec {
        version: fields.optional("version", |cx, n| version_name(cx, n, setting.names)),
        total: fields.optional("total", prices::cost_comparison),
        wasted: fields.optional("wasted", prices::cost_comparison),
        unknown: fields.optional("unknown", values::count_comparison),
    };
    let keys = ["total", "wasted"];
    if keys.into_iter().all(|key| fields.node(key).is_none()) {
        let expected = "a bound, like total: \"<= $1.00\" or wasted: \"<= $0.05\"";
        fields.complain("nothing is expected of the costs", expected);
    }
    fields.finish();
    are_priced(cx, entry, setting, spec.version)?;
    Some(GateSpec::Cost(spec))
}

/// Costs of versions without prices could never be judged.
fn are_priced(
    cx: Cx<'_>,
    entry: &Entry,
    setting: Setting<'_>,
    only: Option<VersionId>,
) -> Option<()> {
    let versions = setting.router.versions.iter();
    let unpriced: Vec<&str> = versions
        .filter(|(id, v)| v.price.is_none() && only.is_none_or(|only| only == *id))
        .map(|(_, v)| v.name.as_str())
        .collect();
    if unpriced.is_empty() {
        return Some(());
    }
    let message = format!(
        "{} has no price: its costs cannot be known",
        listed(&unpriced)
    );
    let expected = "price: {input: $2.00, output: $8.00} per million tokens in the router file";
    cx.error(cx.at(entry.place, message).expected(expected))
}
