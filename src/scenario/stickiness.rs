//! `expect: stickiness`: callers stay on the version they met.

use std::sync::Arc;

use crate::config::fields::{Cx, listed};
use crate::config::node::{Node, Value};
use crate::config::values;
use crate::experiment::external::External;
use crate::protocol::headers;
use crate::router::config::StickyBy;
use crate::scenario::gates::{Setting, gate_fields, least, scope};
use crate::scenario::rollbacks::grace;
use crate::stats::compare::{Comparison, Op};
use crate::stats::proportion::draws_to_meet;
use crate::traffic::caller::Caller;
use crate::verdict::gates::MISSED;
use crate::verdict::spec::{GateSpec, StickinessSpec};

/// Reads the gate. None means that mistakes were reported. Callers are told apart as the router file says, by
/// their user id where it says nothing.
pub(super) fn read(cx: Cx<'_>, node: &Node, setting: Setting<'_>) -> Option<GateSpec> {
    let fields = gate_fields(cx, node, "stickiness")?;
    let header = fields.optional("by", by);
    let moved = fields.optional("moved", values::count_comparison);
    let min_n = least(&fields);
    let scope = scope(&fields);
    fields.finish();
    let share = setting.router.canary_share();
    let none = Comparison {
        op: Op::Equal,
        bound: 0,
    };
    Some(GateSpec::Stickiness(StickinessSpec {
        header: header.unwrap_or_else(|| by_router(setting)),
        callers: Arc::default(),
        canary_share: share,
        grace: grace(setting),
        may_close_in_silence: setting.external.is_some_and(External::can_roll_back),
        closing_moves: setting.external.is_some(),
        moved: moved.unwrap_or(none),
        min_n: min_n.unwrap_or_else(|| telling(share)),
        scope,
    }))
}

/// So many callers that a gateway which throws everybody anew would have been seen to move one with
/// probability 99.9 %: two throws differ with probability 2w(1 − w).
fn telling(share: f64) -> u64 {
    draws_to_meet(2.0 * share * (1.0 - share), MISSED).unwrap_or(1)
}

fn by_router(setting: Setting<'_>) -> String {
    match &setting.router.split.sticky {
        Some(StickyBy::Header(name)) => name.clone(),
        Some(StickyBy::User) | None => headers::USER_ID.to_owned(),
    }
}

fn by(cx: Cx<'_>, node: &Node) -> Option<String> {
    let words = [("user", headers::USER_ID)];
    let Value::Map(_) = &node.value else {
        let user = values::word(cx, node, "`user` or {header: NAME}", &words);
        return user.map(str::to_owned);
    };
    let entry = cx.choice(node, "by", &["header"])?;
    let name = cx.text(&entry.value, "a header", "the name of a header")?;
    let name = name.to_lowercase();
    if !Caller::HEADERS.contains(&name.as_str()) {
        let message = "callers say nothing of themselves in this header";
        let expected = format!("one of {}", listed(&Caller::HEADERS));
        return cx.error(cx.at(entry.value.place, message).expected(expected));
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::gates::testing::{gate, gate_of, mistake};

    fn sticky(gate: GateSpec) -> StickinessSpec {
        match gate {
            GateSpec::Stickiness(spec) => spec,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn callers_are_told_apart_as_somebody_says() {
        let header = |text| sticky(gate(text)).header;
        assert_eq!(header("stickiness"), "x-user-id", "nobody says anything");
        assert_eq!(header("stickiness: {by: user}"), "x-user-id");
        let by_tenant = "stickiness: {by: {header: X-Tenant-Id}}";
        assert_eq!(header(by_tenant), "x-tenant-id");
        let router = "sticky: {header: x-tenant-id}";
        assert_eq!(sticky(gate_of("stickiness", router)).header, "x-tenant-id");
    }

    #[test]
    fn bare_it_needs_as_many_callers_as_would_tell() {
        let spec = sticky(gate("stickiness"));
        assert!(spec.moved.holds(0) && !spec.moved.holds(1));
        // 0.82³⁴ is above 0.001, and 0.82³⁵ below.
        assert_eq!((spec.min_n, spec.canary_share), (35, 0.1));
        let spec = sticky(gate("stickiness: {moved: \"<= 2\", min_n: 3}"));
        assert!(spec.moved.holds(2) && !spec.moved.holds(3));
        assert_eq!(spec.min_n, 3);
        assert_eq!((telling(0.0), telling(1.0)), (1, 1), "nobody can move");
    }

    #[test]
    fn mistakes_are_told_with_their_place_and_what_was_expected() {
        for (text, message, expected) in [
            ("stickiness: {by: usr}", "`usr` is not", "`user`"),
            (
                "stickiness: {by: {heder: x-user-id}}",
                "unknown key `heder`",
                "`header`",
            ),
            (
                "stickiness: {by: {header: x-session}}",
                "say nothing",
                "`x-tenant-id`",
            ),
            ("stickiness: {moved: 1%}", "`1%` is not", "\"0\""),
            ("stickiness: {min_n: 0}", "at least 1", "1 to"),
            ("stickiness: {move: 0}", "unknown key `move`", "`moved`"),
        ] {
            let error = mistake(text);
            assert!(error.contains("t.yaml:1:"), "{text}: {error}");
            assert!(error.contains(message), "{text}: {error}");
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
