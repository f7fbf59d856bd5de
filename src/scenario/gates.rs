//! `expect`: what the run must show.

use std::time::Duration;

use crate::config::fields::{Cx, Fields, listed};
use crate::config::node::{Entry, Node, Value};
use crate::config::values;
use crate::config::versions::version_name;
use crate::experiment::external::External;
use crate::fault::schedule::Fault;
use crate::id::VersionId;
use crate::protocol::outcome::Outcome;
use crate::router::config::{FallbackPolicy, RouterConfig};
use crate::scenario::{
    contract, costs, machine, rate_limits, retries, rollbacks, stickiness, unsupported,
};
use crate::stats::compare::{Comparison, Op, Share};
use crate::stats::quantile::Quantile;
use crate::time::Timestamp;
use crate::verdict::result::percent;
use crate::verdict::spec::{
    FallbackSpec, GateSpec, RampSpec, RequestsSpec, Scope, SplitSpec, StepSpec, StreamSpec,
    TokenMeasure, TokenSpec,
};

/// What gates depend on.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// The router's configuration.
    pub router: &'a RouterConfig,
    /// The versions' names.
    pub names: &'a [String],
    /// The faults.
    pub faults: &'a [Fault],
    /// The other gateway, where one is tested.
    pub external: Option<&'a External>,
}

const GATES: [&str; 18] = [
    "ramp",
    "promotion",
    "split",
    "fallback",
    "rollback",
    "no_rollback",
    "after_rollback",
    "notification",
    "requests",
    "stream",
    "retries",
    "rate_limit",
    "stickiness",
    "attribution",
    "generator",
    "memory",
    "cost",
    "contract",
];

/// Reads `expect`. None means that mistakes were reported.
pub fn read(cx: Cx<'_>, node: &Node, setting: Setting<'_>) -> Option<Vec<GateSpec>> {
    let items = cx.list(node, "- split: {v2: 10%}")?;
    if items.is_empty() {
        let message = "nothing is expected: such a run could never fail";
        let expected = format!("at least one of {}", listed(&GATES));
        return cx.error(cx.at(node.place, message).expected(expected));
    }
    let read: Vec<_> = items.iter().map(|n| gate(cx, n, setting)).collect();
    let gates: Option<Vec<Vec<GateSpec>>> = read.into_iter().collect();
    gates.map(|gates| gates.into_iter().flatten().collect())
}

fn gate(cx: Cx<'_>, node: &Node, setting: Setting<'_>) -> Option<Vec<GateSpec>> {
    // A gate without parameters may be written as a bare word.
    let bare = bare_gate(node);
    let node = bare.as_ref().unwrap_or(node);
    let entry = cx.choice(node, "a gate", &GATES)?;
    if let Some(gate) = unsupported::find(&entry.key, setting) {
        return Some(vec![gate]);
    }
    let value = &entry.value;
    let one = |gate: Option<GateSpec>| gate.map(|g| vec![g]);
    match entry.key.as_str() {
        "split" => split(cx, value, setting),
        "fallback" => one(fallback(cx, value, setting)),
        "rollback" => one(rollbacks::rollback(cx, entry, setting)),
        "no_rollback" => one(rollbacks::no_rollback(cx, entry, setting)),
        "after_rollback" => one(rollbacks::after_rollback(cx, entry, setting)),
        "notification" => one(rollbacks::notification(cx, entry, setting)),
        "requests" => one(requests(cx, value, setting)),
        "stream" => one(stream(cx, value)),
        "retries" => one(retries::read(cx, value, setting)),
        "rate_limit" => rate_limits::read(cx, value, setting),
        "stickiness" => one(stickiness::read(cx, value, setting)),
        "attribution" => {
            one(min_n(cx, value, "attribution").map(|min_n| GateSpec::Attribution { min_n }))
        }
        "ramp" => one(ramp(cx, entry, setting)),
        "promotion" => one(promotion(cx, entry, setting)),
        "generator" => one(machine::generator(cx, value)),
        "memory" => one(machine::memory(cx, value)),
        "contract" => one(contract::read(cx, value, setting)),
        _ => one(costs::read(cx, entry, setting)),
    }
}

fn bare_gate(node: &Node) -> Option<Node> {
    let Value::Scalar(name) = &node.value else {
        return None;
    };
    let empty = Node {
        place: node.place,
        value: Value::Map(Vec::new()),
    };
    let entry = Entry {
        key: name.clone(),
        place: node.place,
        value: empty,
    };
    Some(Node {
        place: node.place,
        value: Value::Map(vec![entry]),
    })
}

/// The fields of a gate; `{}` and nothing at all are the same.
pub(super) fn gate_fields<'a, 'n>(
    cx: Cx<'a>,
    node: &'n Node,
    what: &'static str,
) -> Option<Fields<'a, 'n>> {
    match node.value {
        Value::Null => Some(cx.no_fields(node, what)),
        _ => cx.fields(node, what),
    }
}

/// The stretch of the run that a gate is about.
pub(super) fn scope(fields: &Fields<'_, '_>) -> Scope {
    let from = fields.optional("from", values::duration);
    let to = fields.optional("to", values::duration);
    let until = fields.optional("until", values::duration);
    if let (Some(from), Some(to)) = (from, to.or(until))
        && to <= from
    {
        let message = "this time ends before it begins: nothing could be seen in it";
        let expected = "`from` before `to`";
        fields.complain(message, expected);
    }
    Scope {
        from: Timestamp::from(from.unwrap_or_default()),
        to: to.or(until).map(Timestamp::from),
    }
}

/// The fewest observations that a gate takes for an answer.
pub(super) fn least(fields: &Fields<'_, '_>) -> Option<u64> {
    fields.optional("min_n", values::positive).map(u64::from)
}

pub(super) fn min_n(cx: Cx<'_>, node: &Node, what: &'static str) -> Option<u64> {
    let fields = gate_fields(cx, node, what)?;
    let min_n = least(&fields);
    fields.finish();
    Some(min_n.unwrap_or(1))
}

fn split(cx: Cx<'_>, node: &Node, setting: Setting<'_>) -> Option<Vec<GateSpec>> {
    let fields = gate_fields(cx, node, "split")?;
    let tolerance = fields.optional("tolerance", values::points);
    let confidence = fields.optional("confidence", values::confidence);
    let scope = scope(&fields);
    let is_version = |key: &str| setting.names.iter().any(|n| n == key);
    let entries = fields.take_others(is_version);
    if entries.is_empty() {
        let expected = "split: {v2: 10%}, with the name of a version";
        let message = "no version's share is expected";
        cx.error::<()>(cx.at(fields.place(), message).expected(expected));
    }
    let names: Vec<&str> = setting.names.iter().map(String::as_str).collect();
    fields.finish_with(&names);
    let read: Vec<_> = entries
        .iter()
        .map(|entry| {
            let version = setting.router.version_named(&entry.key)?;
            let share = values::share(cx, &entry.value)?;
            Some(GateSpec::Split(SplitSpec {
                version,
                share,
                tolerance: split_tolerance(cx, &entry.value, share, tolerance)?,
                confidence: confidence.unwrap_or(0.999),
                scope,
                from_the_start: holds_from_the_start(setting.router, version, share),
                of_canary: version == setting.router.canary,
            }))
        })
        .collect();
    read.into_iter().collect()
}

/// The tolerance around nothing and everything must be below this.
const MOST_OF_ALL: f64 = 0.5;

/// How far from its share a version may be: less than to nothing, and less than to everything, or the gate would tell
/// nothing.
fn split_tolerance(cx: Cx<'_>, node: &Node, share: f64, asked: Option<f64>) -> Option<f64> {
    let room = match SplitSpec::room(share) {
        0.0 => MOST_OF_ALL,
        room => room,
    };
    let mistake = |message: &str, expected: &str| {
        let diagnostic = cx.at(node.place, message.to_owned());
        cx.error(diagnostic.expected(expected))
    };
    let Some(asked) = asked else {
        let message = format!("a share of {}% has no default tolerance", percent(share));
        let default = SplitSpec::default_tolerance(share);
        return default.or_else(|| mistake(&message, "a tolerance, like 0.1pp"));
    };
    // 30 of 100 points are more than what is missing from 70 % by binary dust alone.
    match asked < room - 1e-9 {
        true => Some(asked),
        false => mistake(
            "with this tolerance the gate passes whatever the split does",
            &format!("a tolerance below {}pp", percent(room)),
        ),
    }
}

/// Without a ramp, the expected share is to hold from the start, whatever the weights say.
fn holds_from_the_start(router: &RouterConfig, version: VersionId, share: f64) -> bool {
    router.ramp.is_none() || (router.split.share(version) - share).abs() < 1e-9
}

/// The steps of the router's ramp; without one the gate's result is certain before the run.
fn steps(cx: Cx<'_>, entry: &Entry, setting: Setting<'_>) -> Option<Vec<StepSpec>> {
    let Some(ramp) = &setting.router.ramp else {
        let diagnostic = cx.at(entry.place, "the router has no ramp");
        return cx
            .error(diagnostic.hint("add `ramp: default` to the router, or leave this gate out"));
    };
    let steps = ramp.steps.iter().map(|step| StepSpec {
        name: step.name.clone(),
        share: step.share,
        hold: step.hold,
    });
    Some(steps.collect())
}

fn ramp(cx: Cx<'_>, entry: &Entry, setting: Setting<'_>) -> Option<GateSpec> {
    let steps = steps(cx, entry, setting);
    let fields = gate_fields(cx, &entry.value, "ramp")?;
    let stays_at = fields.optional("stays_at", values::text);
    let stays = stays_at.is_some();
    let step = match stays {
        true => stays_at,
        false => fields.required("reaches", "the name of a step", values::text),
    };
    // What stays at a step is there from its time on, and at no later one.
    let within = match stays {
        true => None,
        false => fields.optional("within", values::positive_duration),
    };
    let place = fields.place();
    fields.finish();
    let (steps, step) = (steps?, step?);
    let Some(reaches) = steps.iter().position(|s| s.name == step) else {
        let names: Vec<&str> = steps.iter().map(|s| s.name.as_str()).collect();
        let diagnostic = cx.at(place, "the ramp has no step of this name");
        return cx.error(diagnostic.expected(format!("one of {}", listed(&names))));
    };
    Some(GateSpec::Ramp(RampSpec {
        name: "ramp",
        steps,
        reaches,
        stays,
        within,
        tolerance: Duration::ZERO,
    }))
}

fn promotion(cx: Cx<'_>, entry: &Entry, setting: Setting<'_>) -> Option<GateSpec> {
    let steps = steps(cx, entry, setting);
    let fields = gate_fields(cx, &entry.value, "promotion")?;
    let within = fields.optional("within", values::positive_duration);
    fields.finish();
    let steps = steps?;
    Some(GateSpec::Ramp(RampSpec {
        name: "promotion",
        reaches: steps.len().saturating_sub(1),
        stays: false,
        steps,
        within,
        tolerance: Duration::ZERO,
    }))
}

fn fallback(cx: Cx<'_>, node: &Node, setting: Setting<'_>) -> Option<GateSpec> {
    let fields = gate_fields(cx, node, "fallback")?;
    let succeeds = fields.optional("succeeds", values::share_comparison);
    let min_n = least(&fields);
    let scope = scope(&fields);
    if setting.router.fallback == FallbackPolicy::Off {
        let message = "the router's fallback is off: nothing can be expected of it";
        cx.error::<()>(cx.at(fields.place(), message));
    }
    fields.finish();
    Some(GateSpec::Fallback(FallbackSpec {
        succeeds: succeeds.unwrap_or(Comparison {
            op: Op::Equal,
            bound: Share::parse_percent("100%")?,
        }),
        min_n: min_n.unwrap_or(1),
        scope,
        other_credentials: setting.router.has_separate_credentials(),
    }))
}

fn requests(cx: Cx<'_>, node: &Node, setting: Setting<'_>) -> Option<GateSpec> {
    let fields = gate_fields(cx, node, "requests")?;
    let spec = RequestsSpec {
        version: fields.optional("version", |cx, n| version_name(cx, n, setting.names)),
        scope: scope(&fields),
        success: fields.optional("success", values::share_comparison),
        count: fields.optional("count", values::count_comparison),
        altered: fields.optional("altered", values::count_comparison),
        misrouted: fields.optional("misrouted", values::count_comparison),
        hopeless_retries: fields.optional("hopeless_retries", values::count_comparison),
        other_credentials: setting.router.has_separate_credentials(),
        min_n: least(&fields).unwrap_or(1),
        ..RequestsSpec::default()
    };
    let speed = fields.optional("tokens_per_second", values::count_comparison);
    let tokens = fields.take_others(|key| token_quantile(key).is_some());
    let quantiles = fields.take_others(|key| key.parse::<Quantile>().is_ok());
    let outcomes = fields.take_others(|key| Outcome::from_name(key).is_some());
    let place = fields.place();
    let failures = Outcome::ALL.map(Outcome::name);
    let more: Vec<&str> = ["p50", "p95", "p99", "p99.9"]
        .into_iter()
        .chain(["first_token_p99", "inter_token_p99", "tpot_p99"])
        .chain(failures.into_iter().filter(|n| *n != "success"))
        .collect();
    fields.finish_with(&more);
    let quantiles = quantiles
        .into_iter()
        .map(|e| quantile(cx, e))
        .collect::<Vec<_>>();
    let outcomes = outcomes
        .into_iter()
        .map(|e| outcome(cx, e))
        .collect::<Vec<_>>();
    let tokens = tokens
        .into_iter()
        .map(|e| token_limit(cx, e))
        .collect::<Vec<_>>();
    let tokens = TokenSpec {
        quantiles: tokens.into_iter().collect::<Option<_>>()?,
        speed,
    };
    let spec = RequestsSpec {
        tokens,
        quantiles: quantiles.into_iter().collect::<Option<_>>()?,
        outcomes: outcomes.into_iter().collect::<Option<_>>()?,
        ..spec
    };
    let is_empty = spec.success.is_none()
        && spec.count.is_none()
        && spec.altered.is_none()
        && spec.misrouted.is_none()
        && spec.hopeless_retries.is_none()
        && spec.tokens.is_empty()
        && spec.quantiles.is_empty()
        && spec.outcomes.is_empty();
    if is_empty {
        let expected = "a condition, like success: \">= 99.9%\" or p99: \"< 500ms\"";
        let message = "nothing is expected of the requests";
        return cx.error(cx.at(place, message).expected(expected));
    }
    Some(GateSpec::Requests(spec))
}

fn quantile(cx: Cx<'_>, entry: &Entry) -> Option<(Quantile, Comparison<std::time::Duration>)> {
    let limit = values::duration_comparison(cx, &entry.value)?;
    Some((entry.key.parse().ok()?, limit))
}

/// `first_token_p99`, `inter_token_p50`, `tpot_p99.9`.
fn token_quantile(key: &str) -> Option<(TokenMeasure, Quantile)> {
    TokenMeasure::ALL.into_iter().find_map(|measure| {
        let rest = key.strip_prefix(measure.name())?.strip_prefix('_')?;
        Some((measure, rest.parse().ok()?))
    })
}

fn token_limit(
    cx: Cx<'_>,
    entry: &Entry,
) -> Option<(TokenMeasure, Quantile, Comparison<Duration>)> {
    let limit = values::duration_comparison(cx, &entry.value)?;
    let (measure, quantile) = token_quantile(&entry.key)?;
    Some((measure, quantile, limit))
}

fn stream(cx: Cx<'_>, node: &Node) -> Option<GateSpec> {
    let fields = gate_fields(cx, node, "stream")?;
    let min_n = least(&fields).unwrap_or(1);
    let scope = scope(&fields);
    fields.finish();
    Some(GateSpec::Stream(StreamSpec { min_n, scope }))
}

fn outcome(cx: Cx<'_>, entry: &Entry) -> Option<(Outcome, Comparison<Share>)> {
    let limit = values::share_comparison(cx, &entry.value)?;
    Some((Outcome::from_name(&entry.key)?, limit))
}

#[cfg(test)]
pub(super) mod testing {
    //! What the tests of single gates share.

    use super::*;
    use crate::config::router_file;
    use crate::config::testing::read as read_text;

    fn router(sticky: &str) -> RouterConfig {
        let text = format!(
            "{{versions: {{v1: {{role: stable, model: a}}, v2: {{role: canary, model: b}}}}, \
             split: {{weights: {{v1: 90, v2: 10}}, {sticky}}}}}"
        );
        read_text(&text, router_file::read).expect("a router")
    }

    fn read_gates(text: &str, sticky: &str) -> Result<Vec<GateSpec>, String> {
        let router = router(sticky);
        let names = ["v1".to_owned(), "v2".to_owned()];
        let setting = Setting {
            router: &router,
            names: &names,
            faults: &[],
            external: None,
        };
        read_text(&format!("[{{{text}}}]"), |cx, node| read(cx, node, setting))
    }

    /// The gates that a text is read as.
    pub(in crate::scenario) fn gates(text: &str) -> Vec<GateSpec> {
        read_gates(text, "").expect(text)
    }

    /// The one gate that a text is read as.
    pub(in crate::scenario) fn gate(text: &str) -> GateSpec {
        gates(text).remove(0)
    }

    /// The same, with something more in the router's split.
    pub(in crate::scenario) fn gate_of(text: &str, sticky: &str) -> GateSpec {
        read_gates(text, sticky).expect(text).remove(0)
    }

    /// All that is wrong with a text.
    pub(in crate::scenario) fn mistake(text: &str) -> String {
        read_gates(text, "").expect_err(text)
    }
}
