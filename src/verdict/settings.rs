//! What a gate is pinned to besides its conditions: version, stretch of the run, fewest observations.

use crate::id::VersionId;
use crate::time::Timestamp;
use crate::verdict::spec::{GateSpec, Scope};

impl GateSpec {
    /// What it is pinned to that none of its conditions says, a setting each: `version v2`, `from 60 s`, `min_n 10`.
    pub fn settings(&self, name: &dyn Fn(VersionId) -> String) -> Vec<String> {
        let version = |version: Option<VersionId>| version.map(|v| format!("version {}", name(v)));
        let least = |min_n: u64| Some(format!("min_n {min_n}"));
        let (version, least, scope) = match self {
            Self::Split(spec) => (version(Some(spec.version)), None, Some(spec.scope)),
            Self::Fallback(spec) => (None, least(spec.min_n), Some(spec.scope)),
            Self::Rollback(spec) => (Some(moment("since", spec.since)), None, None),
            Self::NoRollback(spec) => (None, least(spec.min_n), None),
            Self::AfterRollback(spec) => {
                let grace = format!("grace {} s", spec.grace.as_secs_f64());
                (Some(grace), least(spec.min_n), None)
            }
            Self::Requests(spec) => (version(spec.version), least(spec.min_n), Some(spec.scope)),
            Self::Attribution { min_n } => (None, least(*min_n), None),
            Self::Stream(spec) => (None, least(spec.min_n), Some(spec.scope)),
            Self::Retries(spec) => (version(spec.version), least(spec.min_n), Some(spec.scope)),
            Self::RateLimit(spec) => (
                version(Some(spec.version)),
                least(spec.min_n),
                Some(spec.scope),
            ),
            Self::Stickiness(spec) => {
                let header = format!("header {}", spec.header);
                (Some(header), least(spec.min_n), Some(spec.scope))
            }
            Self::Cost(spec) => (version(spec.version), None, None),
            Self::Contract(spec) => (version(spec.version), least(spec.min_n), Some(spec.scope)),
            Self::Notification
            | Self::Generator(_)
            | Self::Log(_)
            | Self::Policy(_)
            | Self::Ramp(_)
            | Self::Budget(_)
            | Self::Orders(_)
            | Self::Memory { .. }
            | Self::Unsupported { .. } => (None, None, None),
        };
        let scope = scope.map(stretch).into_iter().flatten();
        version.into_iter().chain(scope).chain(least).collect()
    }
}

/// The whole run has no settings.
fn stretch(scope: Scope) -> Vec<String> {
    let from = (scope.from > Timestamp::ZERO).then(|| moment("from", scope.from));
    let to = scope.to.map(|to| moment("to", to));
    from.into_iter().chain(to).collect()
}

fn moment(what: &str, at: Timestamp) -> String {
    format!("{what} {} s", at.as_secs_f64())
}
