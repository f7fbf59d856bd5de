//! `expect: rate_limit`: what no window may see more of at an upstream.

use std::time::Duration;

use crate::config::fields::Cx;
use crate::config::node::Node;
use crate::config::values;
use crate::scenario::gates::{Setting, gate_fields, least, scope};
use crate::stats::compare::Share;
use crate::verdict::spec::{GateSpec, RateLimitSpec};

/// Of windows that are emptier than this, nobody can say that a limit kept them so.
const FULLEST: &str = "80%";

/// Reads the gates: one a version. None means that mistakes were reported.
pub(super) fn read(cx: Cx<'_>, node: &Node, setting: Setting<'_>) -> Option<Vec<GateSpec>> {
    let fields = gate_fields(cx, node, "rate_limit")?;
    let window = fields.required("window", "60s", values::positive_duration);
    let fullest = fields.optional("fullest", fullest);
    let min_n = least(&fields);
    let scope = scope(&fields);
    let is_version = |key: &str| setting.names.iter().any(|n| n == key);
    let entries = fields.take_others(is_version);
    if entries.is_empty() {
        let expected = "rate_limit: {v2: 60, window: 60s}, with the name of a version";
        fields.complain("no version's limit is expected", expected);
    }
    let names: Vec<&str> = setting.names.iter().map(String::as_str).collect();
    fields.finish_with(&names);
    let limits: Vec<_> = entries
        .iter()
        .map(|entry| {
            let version = setting.router.version_named(&entry.key)?;
            Some((version, &entry.key, values::positive(cx, &entry.value)?))
        })
        .collect();
    let limits: Vec<_> = limits.into_iter().collect::<Option<_>>()?;
    let fullest = fullest.or_else(|| Share::parse_percent(FULLEST))?;
    let window: Duration = window?;
    let gate = |(version, name, most): (_, &String, u32)| {
        GateSpec::RateLimit(RateLimitSpec {
            version,
            name: name.clone(),
            most,
            window,
            fullest,
            // As many as the limit could not have broken it.
            min_n: min_n.unwrap_or(u64::from(most) + 1),
            scope,
            tolerance: Duration::ZERO,
        })
    };
    Some(limits.into_iter().map(gate).collect())
}

fn fullest(cx: Cx<'_>, node: &Node) -> Option<Share> {
    let expected = "a share from 0% to 100%, like 80%";
    let text = cx.text(node, "a share", expected)?;
    match Share::parse_percent(text) {
        Some(share) => Some(share),
        None => cx.wrong(node, "a share", expected),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::VersionId;
    use crate::scenario::gates::testing::{gates, mistake};

    fn limits(text: &str) -> Vec<RateLimitSpec> {
        let specs = gates(text).into_iter().map(|gate| match gate {
            GateSpec::RateLimit(spec) => spec,
            other => panic!("{other:?}"),
        });
        specs.collect()
    }

    #[test]
    fn one_gate_a_version() {
        let specs = limits("rate_limit: {v2: 60, v1: 600, window: 1m, fullest: 50%}");
        let read: Vec<_> = specs
            .iter()
            .map(|s| (s.version, s.name.as_str(), s.most, s.min_n))
            .collect();
        let expected = [(VersionId(1), "v2", 60, 61), (VersionId(0), "v1", 600, 601)];
        assert_eq!(read, expected);
        assert!(specs.iter().all(|s| s.window == Duration::from_secs(60)));
        assert_eq!(Some(specs[0].fullest), Share::parse_percent("50%"));
        let default = limits("rate_limit: {v2: 60, window: 60s, min_n: 5}");
        assert_eq!(Some(default[0].fullest), Share::parse_percent("80%"));
        assert_eq!(default[0].min_n, 5);
    }

    #[test]
    fn mistakes_are_told_with_their_place_and_what_was_expected() {
        for (text, message, expected) in [
            ("rate_limit", "`window` is missing in rate_limit", "60s"),
            ("rate_limit: {window: 60s}", "no version's limit", "v2: 60"),
            ("rate_limit: {v2: 60}", "`window` is missing", "60s"),
            ("rate_limit: {v2: 0, window: 1s}", "at least 1", "1 to"),
            (
                "rate_limit: {v2: 60/s, window: 1s}",
                "a whole number",
                "like 1000",
            ),
            ("rate_limit: {v2: 60, window: 0s}", "above zero", "500ms"),
            (
                "rate_limit: {v9: 60, window: 1s}",
                "unknown key `v9`",
                "`v2`",
            ),
            (
                "rate_limit: {v2: 60, window: 1s, fullest: 2}",
                "a share",
                "like 80%",
            ),
            (
                "rate_limit: {v2: 6, window: 1s, from: 5s, to: 5s}",
                "ends before",
                "`from`",
            ),
        ] {
            let error = mistake(text);
            assert!(error.contains("t.yaml:1:"), "{text}: {error}");
            assert!(error.contains(message), "{text}: {error}");
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
