//! The router's configuration as people write it. docs/scenario.md is the reference.

use std::time::Duration;

use crate::config::fields::{Cx, Fields, head};
use crate::config::node::{Node, Place, Value};
use crate::config::values;
use crate::config::versions::{self, find_version, version_name};
use crate::config::{judge, limits, prices, release};
use crate::id::{PerVersion, VersionId};
use crate::pricing::PriceTable;
use crate::router::budget::RetryBudget;
use crate::router::config::{
    Condition, FallbackPolicy, JudgeConfig, RetryPolicy, Route, RouterConfig, SplitConfig,
    StickyBy, Threshold, ThresholdAction, Timeouts,
};
use crate::router::ramp::RampConfig;

/// Reads the price table whose path stands at a node.
pub type TableReader<'r> = &'r dyn Fn(Cx<'_>, &Node) -> Option<PriceTable>;

/// Reads a router configuration that comes without a place of its own: what it says of prices it must
/// say itself. None means that mistakes were reported.
pub fn read(cx: Cx<'_>, node: &Node) -> Option<RouterConfig> {
    read_with(cx, node, &|cx, node| {
        let message = "no price table can be looked up from here";
        let hint = "write prices out: price: {input: $2.00, output: $8.00}";
        cx.error(cx.at(node.place, message).hint(hint))
    })
}

/// Reads a router configuration; `table` reads the price table that it names. None means that
/// mistakes were reported.
pub fn read_with(cx: Cx<'_>, node: &Node, table: TableReader<'_>) -> Option<RouterConfig> {
    let fields = cx.fields(node, "the router configuration")?;
    fields.optional("name", values::text);
    fields.optional("description", values::text);
    let prices = match fields.node("prices") {
        None => prices::Names::Unset,
        Some(node) => table(cx, node).map_or(prices::Names::Unreadable, prices::Names::Table),
    };
    let versions = fields.required("versions", "{v1: {role: stable, …}, v2: …}", |cx, n| {
        versions::read(cx, n, &prices)
    });
    let names = versions.as_ref().map(|v| v.names()).unwrap_or_default();
    let routes = fields.optional("routes", |cx, n| routes(cx, n, &names));
    let overrides = fields.optional("overrides", release::overrides);
    let ramp = fields.optional("ramp", release::ramp);
    let node_of_ramp = fields.node("ramp");
    let has_ramp = node_of_ramp.is_some();
    let split = read_split(
        &fields,
        &names,
        versions.as_ref().map(|v| v.canary),
        has_ramp,
    );
    let retry = fields.optional("retry", retry).unwrap_or(DEFAULT_RETRY);
    let timeouts = fields.optional("timeouts", timeouts);
    let fallback = fields.optional("fallback", fallback);
    let judged = fields.optional("judge", judge::judge);
    let rollback = fields.optional("rollback", release::rollback);
    if has_ramp && judged == Some(JudgeConfig::Off) {
        let expected = "a judge: without one, no step is ever followed by the next";
        fields.complain("the ramp has no judge", expected);
    }
    fields.finish();
    let versions = versions?;
    let judge = judged.unwrap_or_else(|| JudgeConfig::Literal(judge::default_literal()));
    let ramp = ramp.map(|(ramp, control)| {
        let control = control.unwrap_or(control_of(&judge));
        if let Some(node) = node_of_ramp {
            check_ramp(cx, node, &ramp, control, &judge);
        }
        ramp.with_control(control)
    });
    let first_share = ramp.as_ref().and_then(|ramp| Some(ramp.step(0)?.share));
    let config = RouterConfig {
        stable: versions.stable,
        canary: versions.canary,
        versions: versions.list,
        routes: routes.unwrap_or_default(),
        split: split?,
        retry,
        timeouts: timeouts.unwrap_or(DEFAULT_TIMEOUTS),
        fallback: fallback.unwrap_or(FallbackPolicy::Immediately),
        judge,
        overrides,
        ramp,
        rollback: rollback.unwrap_or_default(),
    };
    // A ramp begins at its first step.
    Some(match first_share {
        Some(share) => config.with_canary_share(share),
        None => config,
    })
}

/// The split, whose weights a ramp sets when there is one.
fn read_split(
    fields: &Fields<'_, '_>,
    names: &[String],
    canary: Option<VersionId>,
    has_ramp: bool,
) -> Option<SplitConfig> {
    if !has_ramp {
        return fields.required("split", "{weights: {v1: 90, v2: 10}}", |cx, n| {
            split(cx, n, names, None)
        });
    }
    let canary = canary?;
    match fields.node("split") {
        Some(_) => fields.optional("split", |cx, n| split(cx, n, names, Some(canary))),
        None => Some(SplitConfig {
            weights: all_at_stable(names, canary),
            sticky: None,
        }),
    }
}

/// What a ramp needs of its judge, and of the share that stable keeps. The last step may be lowered by that.
fn check_ramp(cx: Cx<'_>, node: &Node, ramp: &RampConfig, control: f64, judge: &JudgeConfig) {
    let before_last = ramp.steps.len().saturating_sub(1);
    let most = 1.0 - control;
    // The dust of binary fractions is nobody's mistake.
    let is_above = |share: f64| share > most + 1e-9;
    if let Some(step) = ramp.steps[..before_last].iter().find(|s| is_above(s.share)) {
        let message = format!("`{}` leaves stable less than its control", step.name);
        let expected = "weights of at most 100% less `control`, but for the last step";
        cx.error::<()>(cx.at(node.place, message).expected(expected));
    }
    if let JudgeConfig::Literal(literal) = judge {
        let acts = |t: &Threshold| t.action == ThresholdAction::Rollback;
        if !literal.thresholds.iter().any(acts) {
            let message = "the ramp's judge never rolls back";
            let expected = "a threshold under `judge.literal.rollback`";
            cx.error::<()>(cx.at(node.place, message).expected(expected));
        }
    }
}

/// The share that stable keeps, so that there is always something to compare with.
fn control_of(judge: &JudgeConfig) -> f64 {
    match judge {
        JudgeConfig::Sequential(_) => 0.01,
        JudgeConfig::Literal(_) | JudgeConfig::Off => 0.0,
    }
}

fn all_at_stable(names: &[String], canary: VersionId) -> PerVersion<f64> {
    let weight = |version| if version == canary { 0.0 } else { 100.0 };
    PerVersion::from_fn(names.len(), weight)
}

/// Three retries after 1 s, 2 s and 4 s.
const DEFAULT_RETRY: RetryPolicy = RetryPolicy {
    max_retries: 3,
    base: Duration::from_secs(1),
    factor: 2.0,
    jitter: 0.0,
    max_wait: Duration::from_secs(30),
    budget: Some(RetryBudget {
        share: 0.2,
        reserve_per_second: 10.0,
        memory: Duration::from_secs(10),
    }),
};

const DEFAULT_TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(5),
    escalation: None,
    first_token: None,
    idle: None,
    attempt: Duration::from_secs(30),
    request: Duration::from_secs(90),
};

/// Reads `routes`.
pub fn routes(cx: Cx<'_>, node: &Node, names: &[String]) -> Option<Vec<Route>> {
    let items = cx.list(node, "- {when: {tier: premium}, to: v2}")?;
    if items.len() > usize::from(u16::MAX) {
        return cx.error(cx.at(node.place, "more than 65535 rules"));
    }
    let routes: Vec<_> = items.iter().map(|n| route(cx, n, names)).collect();
    routes.into_iter().collect()
}

fn route(cx: Cx<'_>, node: &Node, names: &[String]) -> Option<Route> {
    let fields = cx.fields(node, "a routing rule")?;
    let when = fields.required("when", "{tier: premium}", conditions);
    let to = fields.required("to", "the name of a version", |cx, n| {
        version_name(cx, n, names)
    });
    fields.finish();
    Some(Route {
        when: when?,
        to: to?,
    })
}

fn conditions(cx: Cx<'_>, node: &Node) -> Option<Vec<Condition>> {
    let expected =
        "{tier: premium}, {tenant: NAME}, {model: NAME} or {header: {x-test-version: v2}}";
    let fields = cx.fields(node, "the conditions of a rule")?;
    let tier = fields.optional("tier", values::text).map(Condition::Tier);
    let tenant = fields.optional("tenant", values::text);
    let model = fields.optional("model", values::text).map(Condition::Model);
    let headers = fields.optional("header", header_conditions);
    let is_empty = ["tier", "tenant", "model", "header"]
        .into_iter()
        .all(|key| fields.node(key).is_none());
    let conditions: Vec<Condition> = tier
        .into_iter()
        .chain(tenant.map(Condition::Tenant))
        .chain(model)
        .chain(headers.into_iter().flatten())
        .collect();
    if is_empty {
        let message = "a rule without conditions would match everything";
        cx.error::<()>(cx.at(fields.place(), message).expected(expected));
    }
    fields.finish();
    Some(conditions)
}

fn header_conditions(cx: Cx<'_>, node: &Node) -> Option<Vec<Condition>> {
    let expected = "{x-test-version: v2}";
    let Value::Map(entries) = &node.value else {
        return cx.wrong(node, "a mapping of headers", expected);
    };
    let read = entries.iter().map(|e| {
        Some(Condition::Header {
            name: header_name(cx, &e.key, e.place)?,
            value: values::text(cx, &e.value)?,
        })
    });
    let read: Vec<_> = read.collect();
    read.into_iter().collect()
}

/// Headers whose values are credentials.
const CREDENTIALS: [&str; 5] = [
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "api-key",
    "cookie",
];

/// The name of a header whose values are no secrets.
pub fn header_name(cx: Cx<'_>, name: &str, place: Place) -> Option<String> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || !name.chars().all(is_token) {
        let message = format!("`{}` is not the name of a header", head(name));
        return cx.error(cx.at(place, message).expected("letters, digits and dashes"));
    }
    let name = name.to_lowercase();
    if CREDENTIALS.contains(&name.as_str()) {
        let message = format!("`{name}` carries credentials");
        let hint = "what the router looks at gets into files and logs: give callers a header of \
                    their own, like x-test-version";
        let diagnostic = cx.at(place, message).without_line();
        return cx.error(diagnostic.expected("a header without secrets").hint(hint));
    }
    Some(name)
}

fn split(
    cx: Cx<'_>,
    node: &Node,
    names: &[String],
    ramped: Option<VersionId>,
) -> Option<SplitConfig> {
    let fields = cx.fields(node, "the split")?;
    let weights = match ramped {
        None => fields.required("weights", "{v1: 90, v2: 10}", |cx, n| weights(cx, n, names)),
        Some(canary) => {
            if fields.node("weights").is_some() {
                fields.complain("the ramp sets the weights", "weights or a ramp, not both");
                fields.optional("weights", |cx, n| weights(cx, n, names));
            }
            Some(all_at_stable(names, canary))
        }
    };
    let sticky = fields.optional("sticky", sticky);
    fields.finish();
    Some(SplitConfig {
        weights: weights?,
        sticky,
    })
}

fn weights(cx: Cx<'_>, node: &Node, names: &[String]) -> Option<PerVersion<f64>> {
    let expected = "a weight for every version, like {v1: 90, v2: 10}";
    let Value::Map(entries) = &node.value else {
        return cx.wrong(node, "a mapping of weights", expected);
    };
    let mut found: Vec<Option<f64>> = vec![None; names.len()];
    let mut is_complete = !names.is_empty();
    for entry in entries {
        let version = find_version(cx, &entry.key, entry.place, names);
        let weight = values::weight(cx, &entry.value);
        match (version, weight) {
            (Some(version), Some(weight)) => found[version.index()] = Some(weight),
            _ => is_complete = false,
        }
    }
    if !is_complete {
        return None;
    }
    if let Some(missing) = found.iter().position(Option::is_none) {
        let message = format!("`{}` has no weight", names[missing]);
        return cx.error(cx.at(node.place, message).expected(expected));
    }
    let weights: PerVersion<f64> = found.into_iter().flatten().collect();
    if weights.values().all(|w| *w == 0.0) {
        let message = "all weights are zero: nothing could be served";
        return cx.error(cx.at(node.place, message).expected(expected));
    }
    Some(weights)
}

/// Reads `sticky`.
pub fn sticky(cx: Cx<'_>, node: &Node) -> Option<StickyBy> {
    if let Value::Map(_) = &node.value {
        let entry = cx.choice(node, "sticky", &["header"])?;
        let name = cx.text(&entry.value, "a header", "the name of a header")?;
        return header_name(cx, name, entry.value.place).map(StickyBy::Header);
    }
    let words = [("user", ())];
    values::word(cx, node, "sticky (`user` or {header: NAME})", &words).map(|()| StickyBy::User)
}

fn retry(cx: Cx<'_>, node: &Node) -> Option<RetryPolicy> {
    let fields = cx.fields(node, "retry")?;
    let policy = RetryPolicy {
        max_retries: fields
            .optional("max_retries", max_retries)
            .unwrap_or(DEFAULT_RETRY.max_retries),
        base: fields
            .optional("base", values::duration)
            .unwrap_or(DEFAULT_RETRY.base),
        factor: fields
            .optional("factor", backoff_factor)
            .unwrap_or(DEFAULT_RETRY.factor),
        jitter: fields
            .optional("jitter", values::share)
            .unwrap_or(DEFAULT_RETRY.jitter),
        max_wait: fields
            .optional("max_wait", values::duration)
            .unwrap_or(DEFAULT_RETRY.max_wait),
        budget: match fields.node("budget") {
            Some(_) => fields.optional("budget", limits::budget).flatten(),
            None => DEFAULT_RETRY.budget,
        },
    };
    fields.finish();
    Some(policy)
}

fn max_retries(cx: Cx<'_>, node: &Node) -> Option<u32> {
    match values::count(cx, node)? {
        n @ 0..=100 => Some(n as u32),
        _ => cx.wrong(node, "a sane number of retries", "0 to 100"),
    }
}

fn backoff_factor(cx: Cx<'_>, node: &Node) -> Option<f64> {
    match values::factor(cx, node)? {
        factor if factor >= 1.0 => Some(factor),
        _ => cx.wrong(node, "a factor of at least 1", "1, 1.5, 2 …"),
    }
}

fn timeouts(cx: Cx<'_>, node: &Node) -> Option<Timeouts> {
    let fields = cx.fields(node, "timeouts")?;
    let timeouts = Timeouts {
        connect: fields
            .optional("connect", values::positive_duration)
            .unwrap_or(DEFAULT_TIMEOUTS.connect),
        escalation: fields.optional("escalation", values::positive_duration),
        first_token: fields.optional("first_token", values::positive_duration),
        idle: fields.optional("idle", values::positive_duration),
        attempt: fields
            .optional("attempt", values::positive_duration)
            .unwrap_or(DEFAULT_TIMEOUTS.attempt),
        request: fields
            .optional("request", values::positive_duration)
            .unwrap_or(DEFAULT_TIMEOUTS.request),
    };
    if timeouts.attempt >= timeouts.request {
        let message = "an attempt may take as long as the whole request";
        let diagnostic = cx
            .at(fields.place(), message)
            .expected("attempt shorter than request (by default 30s and 90s)")
            .hint(
                "otherwise a version that hangs runs into the request's deadline, which is never \
                 counted against it, and could not be rolled back",
            );
        cx.error::<()>(diagnostic);
    }
    fields.finish();
    Some(timeouts)
}

fn fallback(cx: Cx<'_>, node: &Node) -> Option<FallbackPolicy> {
    let words = [
        ("immediately", FallbackPolicy::Immediately),
        ("after_retries", FallbackPolicy::AfterRetries),
        ("off", FallbackPolicy::Off),
    ];
    values::word(cx, node, "a fallback policy", &words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical;
    use crate::config::diagnostic::{Diagnostics, Problems, Source};
    use crate::config::yaml;

    fn parse(text: &str) -> Result<RouterConfig, Diagnostics> {
        let source = Source::new("r.yaml", text);
        let problems = Problems::default();
        let cx = Cx {
            source: &source,
            problems: &problems,
        };
        let node = yaml::parse(&source)?;
        match read(cx, &node) {
            Some(config) if !problems.has_errors() => Ok(config),
            _ => Err(problems.into_diagnostics()),
        }
    }

    const VERSIONS: &str = "versions:
  v1: {role: stable, model: gpt-4.1, api_key_env: STABLE_API_KEY}
  v2: {role: canary, model: gpt-4.1-new, api_key_env: CANARY_API_KEY}
";

    #[test]
    fn a_small_file_gets_the_documented_defaults() {
        let config = parse(&format!(
            "{VERSIONS}split: {{weights: {{v1: 99.5, v2: 0.5}}}}"
        ))
        .unwrap();
        assert_eq!(config.canary_share(), 0.005);
        assert_eq!(config.retry, DEFAULT_RETRY);
        assert_eq!(config.fallback, FallbackPolicy::Immediately);
        assert!(config.has_separate_credentials());
        let JudgeConfig::Literal(judge) = config.judge else {
            panic!("judged by default")
        };
        assert_eq!(judge.thresholds.len(), 3);
    }

    #[test]
    fn every_mistake_of_a_file_is_reported() {
        let text = "versions:
  v1: {role: stabel, model: a}
  v2: {role: canary, model: b, endpoint: 'http://me:secret@host/v1'}
routes:
  - {when: {}, to: v2}
split: {weights: {v1: 0, v2: 0}, stiky: user}
timeouts: {attempt: 60s, request: 30s}
judge: {literal: {rollback: {error_rate: \"< 5%\"}}}
";
        let problems = parse(text).unwrap_err();
        let all = problems.to_string();
        for expected in [
            "did you mean `stable`?",
            "holds a user name or password",
            "a rule without conditions",
            "did you mean `sticky`?",
            "as long as the whole request",
            "a threshold with `>`",
        ] {
            assert!(all.contains(expected), "{expected} is missing in:\n{all}");
        }
    }

    #[test]
    fn a_ramp_that_cannot_be_meant_is_refused() {
        let full = "{name: full, weight: 100%}";
        let half = "{name: half, weight: 50%, hold: 1m}";
        let fine = format!("ramp: {{steps: [{half}, {full}], control: 10%}}");
        let config = parse(&format!("{VERSIONS}{fine}")).unwrap();
        let ramp = config.ramp.unwrap();
        assert_eq!(ramp.steps[1].share, 0.9, "the last step may be lowered");
        for (text, expected) in [
            (
                "ramp: {steps: [{name: full, weight: 5%, hold: 1m}, FULL]}".to_owned(),
                "a step `full` already",
            ),
            (
                "ramp: {steps: [{name: most, weight: 95%, hold: 1m}, FULL], control: 10%}"
                    .to_owned(),
                "`most` leaves stable less than its control",
            ),
            (
                format!("{fine}\njudge: {{literal: {{alert: {{error_rate: \"> 5%\"}}}}}}"),
                "never rolls back",
            ),
            (
                "judge: {sequential: {slow: on}}\nramp: default".to_owned(),
                "\"> 500ms\" or off",
            ),
        ] {
            let text = format!("{VERSIONS}{}", text.replace("FULL", full));
            let all = parse(&text).unwrap_err().to_string();
            assert!(all.contains(expected), "{expected} is missing in:\n{all}");
        }
    }

    #[test]
    fn weights_must_make_sense() {
        for (weights, expected) in [
            ("{v1: 0, v2: 0}", "all weights are zero"),
            ("{v1: 90}", "`v2` has no weight"),
            ("{v1: 90, v3: 10}", "there is no version `v3`"),
            ("{v1: -1, v2: 1}", "is not a weight"),
        ] {
            let text = format!("{VERSIONS}split: {{weights: {weights}}}");
            let problems = parse(&text).unwrap_err().to_string();
            assert!(problems.contains(expected), "{weights}: {problems}");
        }
    }

    #[test]
    fn a_key_in_the_file_is_refused_and_not_shown() {
        let text = VERSIONS.replace("CANARY_API_KEY", "sk-abcdefabcdef0123456789");
        let problems = parse(&format!("{text}split: {{weights: {{v1: 9, v2: 1}}}}")).unwrap_err();
        let shown = problems.to_string();
        assert!(shown.contains("looks like a key"), "{shown}");
        assert!(!shown.contains("abcdefabcdef"), "{shown}");
        let text = VERSIONS.replace(
            "api_key_env: CANARY_API_KEY",
            "endpoint: 'http://me:hunter2@host/v1'",
        );
        let problems = parse(&format!("{text}split: {{weights: {{v1: 9, v2: 1}}}}")).unwrap_err();
        assert!(!problems.to_string().contains("hunter2"), "{problems}");
    }

    #[test]
    fn the_fingerprint_follows_the_meaning() {
        let one = parse(&format!("{VERSIONS}split: {{weights: {{v1: 90, v2: 10}}}}")).unwrap();
        let same = parse(&format!(
            "# a comment\n{VERSIONS}split:\n  weights: {{v2: 10, v1: 90}}\nfallback: immediately"
        ))
        .unwrap();
        let other = parse(&format!("{VERSIONS}split: {{weights: {{v1: 90, v2: 11}}}}")).unwrap();
        assert_eq!(canonical::sha256(&one), canonical::sha256(&same));
        assert_ne!(canonical::sha256(&one), canonical::sha256(&other));
    }
}
