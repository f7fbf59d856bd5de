//! Gates that ask for the router's own word, which another gateway does not give.

use crate::scenario::gates::Setting;
use crate::verdict::spec::GateSpec;

const STEPS: &str = "another gateway's steps are unknown";
const TELLS_NOBODY: &str = "another gateway does not say that it rolls back";
const ROLLBACKS: &str = "another gateway does not say that it rolls back; `rolls_back: true` in `external` says that \
                         it does, `admin: {rollback: …}` how it is told to";

/// Each with what another gateway does not say.
const UNSUPPORTED: [(&str, &str); 8] = [
    ("ramp", STEPS),
    ("promotion", STEPS),
    ("rollback", ROLLBACKS),
    ("no_rollback", ROLLBACKS),
    ("after_rollback", ROLLBACKS),
    ("notification", TELLS_NOBODY),
    ("attribution", "another gateway's own numbers are unknown"),
    ("memory", "another gateway's memory is unknown"),
];

/// What takes the place of this gate where another gateway is tested; none for a gate that can judge it.
pub(super) fn find(gate: &str, setting: Setting<'_>) -> Option<GateSpec> {
    let external = setting.external?;
    let mut all = UNSUPPORTED.iter();
    let (name, why) = all.find(|(name, _)| *name == gate)?;
    // The upstreams' ledgers show the end of a canary without a word.
    let is_seen = *why == ROLLBACKS && external.can_roll_back();
    (!is_seen).then_some(GateSpec::Unsupported { name, why })
}
