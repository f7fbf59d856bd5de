//! `expect: retries`: bounds on what trying again may cost the upstreams.

use crate::config::fields::Cx;
use crate::config::node::Node;
use crate::config::values;
use crate::config::versions::version_name;
use crate::scenario::gates::{Setting, gate_fields, least, scope};
use crate::verdict::spec::{GateSpec, RetriesSpec};

/// Reads the gate. None means that mistakes were reported.
pub(super) fn read(cx: Cx<'_>, node: &Node, setting: Setting<'_>) -> Option<GateSpec> {
    let fields = gate_fields(cx, node, "retries")?;
    let spec = RetriesSpec {
        version: fields.optional("version", |cx, n| version_name(cx, n, setting.names)),
        amplification: fields.optional("amplification", values::ratio_comparison),
        per_request: fields.optional("per_request", values::count_comparison),
        min_n: least(&fields).unwrap_or(1),
        scope: scope(&fields),
    };
    let keys = ["amplification", "per_request"];
    if keys.into_iter().all(|key| fields.node(key).is_none()) {
        let expected = "a bound, like amplification: \"<= 1.2\" or per_request: \"<= 4\"";
        fields.complain("nothing is expected of the retries", expected);
    }
    fields.finish();
    Some(GateSpec::Retries(spec))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::id::VersionId;
    use crate::scenario::gates::testing::{gate, mistake};
    use crate::time::Timestamp;
    use crate::verdict::spec::Scope;

    #[test]
    fn bounds_as_written() {
        let read = "retries: {amplification: \"<= 1.2\", version: v2, min_n: 5, to: 3s}";
        let GateSpec::Retries(spec) = gate(read) else {
            panic!("another gate");
        };
        assert_eq!(spec.version, Some(VersionId(1)));
        assert!(spec.amplification.unwrap().holds_for(12, 10));
        assert_eq!((spec.per_request, spec.min_n), (None, 5));
        let to = Some(Timestamp::from(Duration::from_secs(3)));
        assert_eq!(
            spec.scope,
            Scope {
                to,
                ..Scope::default()
            }
        );
    }

    #[test]
    fn mistakes_are_told_with_their_place_and_what_was_expected() {
        for (text, message, expected) in [
            ("retries", "nothing is expected of the retries", "<= 1.2"),
            (
                "retries: {version: v2, min_n: 3}",
                "nothing is expected",
                "<= 4",
            ),
            (
                "retries: {amplification: \"<= 120%\"}",
                "`<= 120%` is not",
                "<= 1.2",
            ),
            (
                "retries: {per_request: \"<= 1.5\"}",
                "`<= 1.5` is not",
                "<= 150",
            ),
            (
                "retries: {per_request: 3, version: v9}",
                "no version `v9`",
                "`v2`",
            ),
            (
                "retries: {amplificaton: \"1\"}",
                "`amplificaton`",
                "did you mean `amplification`",
            ),
        ] {
            let error = mistake(text);
            assert!(error.contains("t.yaml:1:"), "{text}: {error}");
            assert!(error.contains(message), "{text}: {error}");
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
