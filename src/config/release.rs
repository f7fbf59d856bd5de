//! The parts of a router file about the release itself: who may choose a version, the ramp, and what a
//! rollback does.

use std::time::Duration;

use crate::config::fields::{Cx, Fields};
use crate::config::node::{Node, Value};
use crate::config::redact::is_variable_name;
use crate::config::router_file::header_name;
use crate::config::values;
use crate::router::config::{InFlight, OverrideConfig, RollbackConfig};
use crate::router::ramp::{Inconclusive, RampConfig, StepConfig};

/// A step without an answer of the judge is inconclusive after this many times its hold.
const LIMIT_FACTOR: u32 = 3;
/// Most steps of a ramp.
const MOST_STEPS: usize = 100;

/// The articles' ramp: 5 % for an hour, 15 % for two, 50 % for four, then everything.
pub fn default_ramp() -> RampConfig {
    let hour = |hours: u64| Duration::from_secs(hours * 3_600);
    let step = |name: &str, share: f64, hold: Duration| StepConfig {
        name: name.to_owned(),
        share,
        hold,
        limit: hold * LIMIT_FACTOR,
    };
    RampConfig {
        steps: vec![
            step("initial", 0.05, hour(1)),
            step("minority", 0.15, hour(2)),
            step("majority", 0.5, hour(4)),
            step("full", 1.0, Duration::ZERO),
        ],
        inconclusive: Inconclusive::Hold,
    }
}

/// Reads `overrides`.
pub fn overrides(cx: Cx<'_>, node: &Node) -> Option<OverrideConfig> {
    let fields = cx.fields(node, "overrides")?;
    let header = fields.optional("header", |cx, node| {
        let name = cx.text(node, "a header", "the name of a header")?;
        header_name(cx, name, node.place)
    });
    let tiers = fields.optional("tiers", texts).unwrap_or_default();
    let key_envs = fields.optional("keys", variables).unwrap_or_default();
    if fields.node("tiers").is_none() && fields.node("keys").is_none() {
        let expected = "tiers: [internal], keys: [QA_API_KEY], or both";
        fields.complain("nobody may choose a version", expected);
    }
    fields.finish();
    Some(OverrideConfig {
        header: header.unwrap_or_else(|| "x-test-version".to_owned()),
        tiers,
        key_envs,
    })
}

fn texts(cx: Cx<'_>, node: &Node) -> Option<Vec<String>> {
    let items = cx.list(node, "[internal, qa]")?;
    let read: Vec<_> = items.iter().map(|n| values::text(cx, n)).collect();
    read.into_iter().collect()
}

/// Names of environment variables.
fn variables(cx: Cx<'_>, node: &Node) -> Option<Vec<String>> {
    let items = cx.list(node, "[QA_API_KEY]")?;
    let read: Vec<_> = items.iter().map(|n| variable(cx, n)).collect();
    read.into_iter().collect()
}

fn variable(cx: Cx<'_>, node: &Node) -> Option<String> {
    let expected = "the name of an environment variable, like QA_API_KEY";
    let text = cx.text(node, "a variable's name", expected)?;
    if is_variable_name(text) {
        return Some(text.to_owned());
    }
    // It may be the key itself, which no message shows.
    let diagnostic = cx.at(node.place, "this is not the name of a variable");
    cx.error(diagnostic.without_line().expected(expected))
}

/// Reads `ramp`: `default`, or steps of one's own; and the share that stable keeps, if it is said.
pub fn ramp(cx: Cx<'_>, node: &Node) -> Option<(RampConfig, Option<f64>)> {
    if !matches!(&node.value, Value::Map(_)) {
        let words = [("default", ())];
        let what = "a ramp (`default` or {steps: […]})";
        return values::word(cx, node, what, &words).map(|()| (default_ramp(), None));
    }
    let fields = cx.fields(node, "the ramp")?;
    let steps = fields.optional("steps", steps);
    let words = [
        ("hold", Inconclusive::Hold),
        ("rollback", Inconclusive::Rollback),
    ];
    let inconclusive = fields.optional("inconclusive", |cx, n| {
        values::word(cx, n, "what becomes of an inconclusive step", &words)
    });
    let control = fields.optional("control", |cx, n| match values::share(cx, n)? {
        share if share <= 0.5 => Some(share),
        _ => cx.wrong(n, "a share that leaves the canary most", "0% to 50%"),
    });
    let has_steps = fields.node("steps").is_some();
    fields.finish();
    let default = default_ramp();
    let ramp = RampConfig {
        steps: if has_steps { steps? } else { default.steps },
        inconclusive: inconclusive.unwrap_or(default.inconclusive),
    };
    Some((ramp, control))
}

fn steps(cx: Cx<'_>, node: &Node) -> Option<Vec<StepConfig>> {
    let expected = "- {name: initial, weight: 5%, hold: 1h}";
    let items = cx.list(node, expected)?;
    if items.is_empty() || items.len() > MOST_STEPS {
        let message = format!("a ramp has 1 to {MOST_STEPS} steps");
        return cx.error(cx.at(node.place, message).expected(expected));
    }
    let last = items.len() - 1;
    let read = items.iter().enumerate();
    let read: Vec<_> = read.map(|(i, n)| step(cx, n, i == last)).collect();
    let steps: Vec<StepConfig> = read.into_iter().collect::<Option<_>>()?;
    for (i, node) in items.iter().enumerate() {
        let name = &steps[i].name;
        if steps[..i].iter().any(|step| step.name == *name) {
            let message = format!("there is a step `{name}` already");
            return cx.error(cx.at(node.place, message).expected("a name of its own"));
        }
    }
    for (pair, node) in steps.windows(2).zip(&items[1..]) {
        if pair[1].share <= pair[0].share {
            let message = format!(
                "`{}` has no higher weight than the step before",
                pair[1].name
            );
            let expected = "weights that rise from step to step";
            return cx.error(cx.at(node.place, message).expected(expected));
        }
    }
    Some(steps)
}

fn step(cx: Cx<'_>, node: &Node, is_last: bool) -> Option<StepConfig> {
    let fields = cx.fields(node, "a step")?;
    let name = fields.required("name", "a name", values::text);
    let share =
        fields.required(
            "weight",
            "the canary's share, like 5%",
            |cx, n| match values::share(cx, n)? {
                share if share > 0.0 => Some(share),
                _ => cx.wrong(n, "a weight above zero", "5%"),
            },
        );
    let hold = hold(&fields, is_last);
    let limit = fields.optional("limit", values::duration);
    let (Some(name), Some(share), Some(hold)) = (name, share, hold) else {
        fields.finish();
        return None;
    };
    let limit = limit.unwrap_or(hold.saturating_mul(LIMIT_FACTOR));
    if limit < hold {
        fields.complain(
            "the limit passes before the hold",
            "a limit of at least the hold",
        );
    }
    fields.finish();
    Some(StepConfig {
        name,
        share,
        hold,
        limit,
    })
}

/// The last step is held for ever: the canary has arrived.
fn hold(fields: &Fields<'_, '_>, is_last: bool) -> Option<Duration> {
    if is_last {
        let hold = fields.optional("hold", values::duration);
        if hold.is_some_and(|hold| !hold.is_zero()) {
            fields.complain("the last step has no end: nothing follows it", "no hold");
        }
        return Some(Duration::ZERO);
    }
    fields.required("hold", "how long, like 1h", values::positive_duration)
}

/// Reads `rollback`.
pub fn rollback(cx: Cx<'_>, node: &Node) -> Option<RollbackConfig> {
    let fields = cx.fields(node, "rollback")?;
    let words = [("drain", InFlight::Drain), ("cancel", InFlight::Cancel)];
    let in_flight = fields.optional("in_flight", |cx, n| {
        values::word(cx, n, "what becomes of requests in flight", &words)
    });
    let webhooks = fields.optional("webhooks", addresses).unwrap_or_default();
    let peers = fields.optional("peers", addresses).unwrap_or_default();
    fields.finish();
    Some(RollbackConfig {
        in_flight: in_flight.unwrap_or(InFlight::Drain),
        webhooks,
        peers,
    })
}

/// URLs, or names of the environment variables that hold them: many webhooks' URLs are secrets.
fn addresses(cx: Cx<'_>, node: &Node) -> Option<Vec<String>> {
    let items = cx.list(
        node,
        "[ROLLBACK_WEBHOOK_URL, \"http://127.0.0.1:9099/rollback\"]",
    )?;
    let read: Vec<_> = items.iter().map(|n| address(cx, n)).collect();
    read.into_iter().collect()
}

fn address(cx: Cx<'_>, node: &Node) -> Option<String> {
    let expected = "a URL without secrets, or the name of an environment variable that holds one";
    let text = cx.text(node, "an address", expected)?;
    let rest = text
        .strip_prefix("http://")
        .or(text.strip_prefix("https://"));
    let is_url = rest.is_some_and(|rest| {
        let is_odd = |c: char| c.is_whitespace() || c.is_control() || "@?#".contains(c);
        !rest.is_empty() && !rest.starts_with('/') && !rest.contains(is_odd)
    });
    if is_url || is_variable_name(text) {
        return Some(text.to_owned());
    }
    let diagnostic = cx.at(node.place, "this is no address").without_line();
    cx.error(diagnostic.expected(expected))
}
