//! `judge` in a router file: when the canary is rolled back.

use std::time::Duration;

use crate::config::fields::{Cx, Fields};
use crate::config::node::{Node, Value};
use crate::config::values;
use crate::router::config::{JudgeConfig, Limit, LiteralConfig, Threshold, ThresholdAction};
use crate::router::judge::sequential::{Material, SequentialConfig};
use crate::stats::compare::Op;

/// The articles' thresholds.
pub fn default_literal() -> LiteralConfig {
    let threshold = |limit, action| Threshold { limit, action };
    LiteralConfig {
        window: Duration::from_secs(60),
        max_samples: 100_000,
        min_requests: 100,
        every: Duration::from_secs(60),
        thresholds: vec![
            threshold(Limit::ErrorRate(0.05), ThresholdAction::Rollback),
            threshold(Limit::SuccessRate(0.95), ThresholdAction::Rollback),
            threshold(
                Limit::P99(Duration::from_millis(500)),
                ThresholdAction::Alert,
            ),
        ],
    }
}

/// Reads `judge`.
pub fn judge(cx: Cx<'_>, node: &Node) -> Option<JudgeConfig> {
    if let Value::Map(_) = &node.value {
        let entry = cx.choice(node, "judge", &["literal", "sequential"])?;
        return match entry.key.as_str() {
            "literal" => literal(cx, &entry.value).map(JudgeConfig::Literal),
            _ => sequential(cx, &entry.value).map(JudgeConfig::Sequential),
        };
    }
    let words = [("off", false), ("sequential", true)];
    let what = "a judge (`off`, `sequential`, {literal: …} or {sequential: …})";
    Some(match values::word(cx, node, what, &words)? {
        true => JudgeConfig::Sequential(SequentialConfig::default()),
        false => JudgeConfig::Off,
    })
}

fn literal(cx: Cx<'_>, node: &Node) -> Option<LiteralConfig> {
    let fields = cx.fields(node, "the literal judge")?;
    let default = default_literal();
    let thresholds = thresholds(&fields);
    let config = LiteralConfig {
        window: fields.optional("window", window).unwrap_or(default.window),
        max_samples: fields
            .optional("max_samples", values::positive)
            .map_or(default.max_samples, u64::from),
        min_requests: fields
            .optional("min_requests", values::positive)
            .map_or(default.min_requests, u64::from),
        every: fields.optional("every", pause).unwrap_or(default.every),
        thresholds: thresholds.unwrap_or(default.thresholds),
    };
    if config.min_requests > config.max_samples {
        let message = "min_requests is above max_samples: the judge could never act";
        let expected = "min_requests no larger than max_samples";
        cx.error::<()>(cx.at(fields.place(), message).expected(expected));
    }
    fields.finish();
    Some(config)
}

/// Reads the sequential judge; what is not said is as docs/statistics.md describes it.
fn sequential(cx: Cx<'_>, node: &Node) -> Option<SequentialConfig> {
    let fields = cx.fields(node, "the sequential judge")?;
    let mut config = SequentialConfig::default();
    set(&mut config.alpha, fields.optional("alpha", probability));
    set(
        &mut config.slo_error_rate,
        fields.optional("error_rate", slo_error_rate),
    );
    if fields.node("slow").is_some() {
        set(&mut config.slow, fields.optional("slow", slow));
    }
    let counts = fields.optional("rate_limits_are_errors", values::flag);
    set(&mut config.rate_limits_are_errors, counts);
    set(&mut config.every, fields.optional("every", pause));
    set(&mut config.bake, fields.optional("bake", values::duration));
    let horizon = fields.optional("horizon", values::positive_duration);
    set(&mut config.horizon, horizon);
    let callers = fields.optional("max_callers", values::positive);
    set(&mut config.max_callers, callers.map(|n| n as usize));
    if let Some(material) = fields.optional("material", material) {
        config.material = material;
    }
    fields.finish();
    Some(config)
}

fn set<T>(field: &mut T, read: Option<T>) {
    if let Some(value) = read {
        *field = value;
    }
}

fn probability(cx: Cx<'_>, node: &Node) -> Option<f64> {
    match values::share(cx, node)? {
        p if (1e-6..=0.2).contains(&p) => Some(p),
        _ => cx.wrong(
            node,
            "a sane probability of a false rollback",
            "0.0001% to 20%",
        ),
    }
}

/// The error rate above which the SLO is violated.
fn slo_error_rate(cx: Cx<'_>, node: &Node) -> Option<f64> {
    let c = values::share_comparison(cx, node)?;
    must_be(
        cx,
        node,
        c.op,
        Op::Greater,
        "\"> …\": above this is a violation",
    )?;
    match c.bound.fraction() {
        p if p > 0.0 && p < 1.0 => Some(p),
        _ => cx.wrong(node, "a rate between 0% and 100%", "\"> 5%\""),
    }
}

/// The age from which on an attempt is slow, or `off`.
fn slow(cx: Cx<'_>, node: &Node) -> Option<Option<Duration>> {
    let expected = "\"> 500ms\" or off";
    let text = cx.text(node, "an age", expected)?;
    if text == "off" {
        return Some(None);
    }
    if !text.trim_start().starts_with(['<', '>', '=']) {
        return cx.wrong(node, "an age", expected);
    }
    let c = values::duration_comparison(cx, node)?;
    must_be(cx, node, c.op, Op::Greater, "\"> …\": above this is slow")?;
    Some(Some(c.bound))
}

fn material(cx: Cx<'_>, node: &Node) -> Option<Material> {
    let fields = cx.fields(node, "what is material")?;
    let mut material = Material::default();
    set(
        &mut material.difference,
        fields.optional("difference", values::points),
    );
    set(
        &mut material.ratio,
        fields.optional("ratio", values::factor),
    );
    let events = fields.optional("min_events", values::positive);
    set(&mut material.min_events, events.map(u64::from));
    fields.finish();
    Some(material)
}

fn window(cx: Cx<'_>, node: &Node) -> Option<Duration> {
    at_least(cx, node, Duration::from_millis(60))
}

fn pause(cx: Cx<'_>, node: &Node) -> Option<Duration> {
    at_least(cx, node, Duration::from_millis(10))
}

fn at_least(cx: Cx<'_>, node: &Node, least: Duration) -> Option<Duration> {
    let value = values::duration(cx, node)?;
    if value < least {
        let least = crate::time::Human(least).to_string();
        return cx.wrong(node, "long enough", &format!("at least {least}"));
    }
    Some(value)
}

/// The thresholds under `rollback` and `alert`; none when neither is there.
fn thresholds(fields: &Fields<'_, '_>) -> Option<Vec<Threshold>> {
    let groups = [
        ("rollback", ThresholdAction::Rollback),
        ("alert", ThresholdAction::Alert),
    ];
    let read = groups.map(|(key, action)| {
        fields.optional(key, |cx, node| {
            let limits = limits(cx, node)?;
            let with_action = |limit| Threshold { limit, action };
            Some(limits.into_iter().map(with_action).collect::<Vec<_>>())
        })
    });
    let is_given = read.iter().any(Option::is_some);
    is_given.then(|| read.into_iter().flatten().flatten().collect())
}

fn limits(cx: Cx<'_>, node: &Node) -> Option<Vec<Limit>> {
    let fields = cx.fields(node, "thresholds")?;
    let above = "\"> …\": above this is a violation";
    let below = "\"< …\": below this is a violation";
    let error_rate = fields.optional("error_rate", |cx, n| {
        let c = values::share_comparison(cx, n)?;
        must_be(cx, n, c.op, Op::Greater, above)?;
        Some(Limit::ErrorRate(c.bound.fraction()))
    });
    let success_rate = fields.optional("success_rate", |cx, n| {
        let c = values::share_comparison(cx, n)?;
        must_be(cx, n, c.op, Op::Less, below)?;
        Some(Limit::SuccessRate(c.bound.fraction()))
    });
    let p99 = fields.optional("p99", |cx, n| {
        let c = values::duration_comparison(cx, n)?;
        must_be(cx, n, c.op, Op::Greater, above)?;
        Some(Limit::P99(c.bound))
    });
    fields.finish();
    Some(
        error_rate
            .into_iter()
            .chain(success_rate)
            .chain(p99)
            .collect(),
    )
}

fn must_be(cx: Cx<'_>, node: &Node, op: Op, wanted: Op, expected: &str) -> Option<()> {
    if op == wanted {
        return Some(());
    }
    let what = format!("a threshold with `{wanted}`");
    cx.wrong(node, &what, expected)
}
