//! Gates that ask for the router's own word, which another gateway does not give.

use crate::scenario::gates::Setting;
use crate::verdict::spec::GateSpec;

const STEPS: &str = "another gateway's steps are unknown";
const ROLLBACKS: &str = "another gateway does not say that it rolls back";

/// Each with what another gateway does not say.
const UNSUPPORTED: [(&str, &str); 8] = [
    ("ramp", STEPS),
    ("promotion", STEPS),
    ("rollback", ROLLBACKS),
    ("no_rollback", ROLLBACKS),
    ("after_rollback", ROLLBACKS),
    ("notification", ROLLBACKS),
    ("attribution", "another gateway's own numbers are unknown"),
    ("memory", "another gateway's memory is unknown"),
];

/// What takes the place of this gate where another gateway is tested; none for a gate that can judge it.
pub(super) fn find(gate: &str, setting: Setting<'_>) -> Option<GateSpec> {
    let mut all = UNSUPPORTED.iter().filter(|_| setting.is_external);
    let (name, why) = all.find(|(name, _)| *name == gate)?;
    Some(GateSpec::Unsupported { name, why })
}
