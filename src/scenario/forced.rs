//! `forced`: which of the made-up requests are forced to a version.

use crate::config::fields::Cx;
use crate::config::node::{Entry, Node, Value};
use crate::config::values;
use crate::config::versions::find_version;
use crate::id::VersionId;
use crate::traffic::synthetic::Forced;

/// What reckoning in floating point may be off by.
const ROUNDING: f64 = 1e-9;
const EXPECTED: &str = "a share of the requests a version, like {v2: 2%}";

/// Reads `forced` for versions of these names. None means that mistakes were reported.
pub fn read(cx: Cx<'_>, node: &Node, names: &[String]) -> Option<Forced> {
    let Value::Map(entries) = &node.value else {
        return cx.wrong(node, "a mapping of shares", EXPECTED);
    };
    let read: Vec<_> = entries.iter().map(|e| entry(cx, e, names)).collect();
    let forced = Forced(read.into_iter().collect::<Option<_>>()?);
    if forced.share() > 1.0 + ROUNDING {
        let message = "more than all requests would be forced";
        return cx.error(cx.at(node.place, message).expected(EXPECTED));
    }
    Some(forced)
}

fn entry(cx: Cx<'_>, entry: &Entry, names: &[String]) -> Option<(VersionId, f64)> {
    // Both are read, so that both mistakes are reported.
    let version = find_version(cx, &entry.key, entry.place, names);
    let share = values::share(cx, &entry.value);
    version.zip(share)
}
