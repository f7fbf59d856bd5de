//! The form of a router file, written from a configuration: what [`crate::config::router_file`] reads
//! back as the very same configuration.
//!
//! It says everything, defaults as well, so that it means the same in another version of graygate. Prices
//! are written out. Under a ramp it holds no weights: those are the ramp's.

use std::time::Duration;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

use crate::config::redact::redact;
use crate::router::budget::RetryBudget;
use crate::router::config::{
    Condition, FallbackPolicy, Features, InFlight, JudgeConfig, Limit, LiteralConfig,
    OverrideConfig, RetryPolicy, RollbackConfig, Route, RouterConfig, SplitConfig, StickyBy,
    ThresholdAction, Timeouts, VersionConfig,
};
use crate::router::judge::sequential::SequentialConfig;
use crate::router::limit::RateLimit;
use crate::router::ramp::{Inconclusive, RampConfig, StepConfig};

/// A value whose mappings keep the order in which they are written: that of versions and of headers
/// means something.
#[derive(Clone, Debug)]
pub enum Text {
    /// A mapping.
    Map(Vec<(String, Text)>),
    /// A list.
    List(Vec<Text>),
    /// Anything else.
    One(Value),
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
            Self::List(items) => serializer.collect_seq(items),
            Self::One(value) => value.serialize(serializer),
        }
    }
}

/// The configuration as a router file. What looks like a key is cut out of its texts.
pub fn write(config: &RouterConfig) -> Text {
    let versions = config.versions.values();
    let versions = versions.zip(config.versions.iter()).map(|(v, (id, _))| {
        let role = if id == config.stable {
            "stable"
        } else {
            "canary"
        };
        (v.name.clone(), version(v, role))
    });
    let routes = config.routes.iter().map(|r| route(config, r));
    map([
        ("versions", Some(Text::Map(versions.collect()))),
        ("routes", Some(Text::List(routes.collect()))),
        ("overrides", config.overrides.as_ref().map(overrides)),
        ("split", split(config)),
        ("ramp", config.ramp.as_ref().map(ramp)),
        ("retry", Some(retry(&config.retry))),
        ("timeouts", Some(timeouts(&config.timeouts))),
        ("fallback", Some(word(fallback(config.fallback)))),
        ("judge", Some(judge(&config.judge))),
        ("rollback", Some(rollback(&config.rollback))),
    ])
}

/// A mapping of what is there.
fn map<const N: usize>(entries: [(&str, Option<Text>); N]) -> Text {
    let there = entries.into_iter();
    Text::Map(
        there
            .filter_map(|(key, v)| Some((key.to_owned(), v?)))
            .collect(),
    )
}

fn word(text: &str) -> Text {
    Text::One(json!(redact(text)))
}

fn words<'w>(list: impl IntoIterator<Item = &'w String>) -> Text {
    Text::List(list.into_iter().map(|w| word(w)).collect())
}

fn number(value: impl Into<Value>) -> Text {
    Text::One(value.into())
}

fn time(duration: Duration) -> Text {
    word(&time_text(duration))
}

fn time_text(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// A share as people write it. They write billionths at most: the dust behind them is of binary
/// fractions.
fn percent(share: f64) -> String {
    format!("{}%", (share * 1e9).round() / 1e7)
}

fn version(version: &VersionConfig, role: &str) -> Text {
    let price = version.price.map(|price| {
        map([
            ("input", Some(word(&price.input.to_string()))),
            ("output", Some(word(&price.output.to_string()))),
        ])
    });
    map([
        ("role", Some(word(role))),
        ("model", Some(word(&version.model))),
        ("endpoint", version.endpoint.as_deref().map(word)),
        ("api_key_env", version.api_key_env.as_deref().map(word)),
        ("features", Some(features(version.features))),
        ("rate_limit", version.rate_limit.as_ref().map(rate_limit)),
        ("price", price),
    ])
}

fn features(features: Features) -> Text {
    let named = [("streaming", features.streaming), ("tools", features.tools)];
    let those = named.into_iter().filter(|(_, has)| *has);
    Text::List(those.map(|(name, _)| word(name)).collect())
}

fn rate_limit(limit: &RateLimit) -> Text {
    map([
        ("requests", Some(number(limit.requests))),
        ("window", Some(time(limit.window))),
        ("max_wait", Some(time(limit.max_wait))),
        ("guard", Some(time(limit.guard))),
    ])
}

fn route(config: &RouterConfig, route: &Route) -> Text {
    let mut when = Vec::new();
    let mut headers = Vec::new();
    for condition in &route.when {
        match condition {
            Condition::Tier(tier) => when.push(("tier".to_owned(), word(tier))),
            Condition::Tenant(tenant) => when.push(("tenant".to_owned(), word(tenant))),
            Condition::Model(model) => when.push(("model".to_owned(), word(model))),
            Condition::Header { name, value } => headers.push((name.clone(), word(value))),
        }
    }
    if !headers.is_empty() {
        when.push(("header".to_owned(), Text::Map(headers)));
    }
    map([
        ("when", Some(Text::Map(when))),
        ("to", Some(word(config.name(route.to)))),
    ])
}

fn overrides(overrides: &OverrideConfig) -> Text {
    map([
        ("header", Some(word(&overrides.header))),
        ("tiers", Some(words(&overrides.tiers))),
        ("keys", Some(words(&overrides.key_envs))),
    ])
}

/// A ramp sets the weights.
fn split(config: &RouterConfig) -> Option<Text> {
    let SplitConfig { weights, sticky } = &config.split;
    let versions = config.versions.iter();
    let weights = versions.map(|(id, v)| (v.name.clone(), number(weights[id])));
    let weights = Text::Map(weights.collect());
    let sticky = sticky.as_ref().map(|by| match by {
        StickyBy::User => word("user"),
        StickyBy::Header(name) => map([("header", Some(word(name)))]),
    });
    match (config.ramp.is_some(), sticky) {
        (true, None) => None,
        (true, sticky) => Some(map([("sticky", sticky)])),
        (false, sticky) => Some(map([("weights", Some(weights)), ("sticky", sticky)])),
    }
}

/// The share that stable keeps, if the last step's share may be what that leaves of everything: steps that
/// were lowered by it may not be told apart any more.
fn control(ramp: &RampConfig) -> f64 {
    let share = ramp.steps.last().map_or(1.0, |step| step.share);
    let control = ((1.0 - share) * 1e9).round() / 1e9;
    match control <= 0.5 && 1.0 - control == share {
        true => control,
        false => 0.0,
    }
}

fn ramp(ramp: &RampConfig) -> Text {
    let last = ramp.steps.len().saturating_sub(1);
    let control = control(ramp);
    let steps = ramp.steps.iter().enumerate();
    let steps = steps.map(|(i, s)| step(s, i == last, control));
    let inconclusive = match ramp.inconclusive {
        Inconclusive::Hold => "hold",
        Inconclusive::Rollback => "rollback",
    };
    map([
        ("steps", Some(Text::List(steps.collect()))),
        ("inconclusive", Some(word(inconclusive))),
        ("control", Some(word(&percent(control)))),
    ])
}

fn step(step: &StepConfig, is_last: bool, control: f64) -> Text {
    let share = match is_last && control > 0.0 {
        true => 1.0,
        false => step.share,
    };
    map([
        ("name", Some(word(&step.name))),
        ("weight", Some(word(&percent(share)))),
        ("hold", (!is_last).then(|| time(step.hold))),
        ("limit", Some(time(step.limit))),
    ])
}

fn retry(retry: &RetryPolicy) -> Text {
    map([
        ("max_retries", Some(number(retry.max_retries))),
        ("base", Some(time(retry.base))),
        ("factor", Some(number(retry.factor))),
        ("jitter", Some(word(&percent(retry.jitter)))),
        ("max_wait", Some(time(retry.max_wait))),
        (
            "budget",
            Some(retry.budget.as_ref().map_or(word("off"), budget)),
        ),
    ])
}

fn budget(budget: &RetryBudget) -> Text {
    let reserve = format!("{}/s", budget.reserve_per_second);
    map([
        ("share", Some(word(&percent(budget.share)))),
        ("reserve", Some(word(&reserve))),
        ("memory", Some(time(budget.memory))),
    ])
}

fn timeouts(timeouts: &Timeouts) -> Text {
    map([
        ("connect", Some(time(timeouts.connect))),
        ("attempt", Some(time(timeouts.attempt))),
        ("escalation", timeouts.escalation.map(time)),
        ("first_token", timeouts.first_token.map(time)),
        ("idle", timeouts.idle.map(time)),
        ("request", Some(time(timeouts.request))),
    ])
}

fn fallback(policy: FallbackPolicy) -> &'static str {
    match policy {
        FallbackPolicy::Immediately => "immediately",
        FallbackPolicy::AfterRetries => "after_retries",
        FallbackPolicy::Off => "off",
    }
}

fn judge(judge: &JudgeConfig) -> Text {
    match judge {
        JudgeConfig::Off => word("off"),
        JudgeConfig::Literal(settings) => map([("literal", Some(literal(settings)))]),
        JudgeConfig::Sequential(settings) => map([("sequential", Some(sequential(settings)))]),
    }
}

fn literal(judge: &LiteralConfig) -> Text {
    let limits = |action: ThresholdAction| {
        let those = judge.thresholds.iter().filter(|t| t.action == action);
        Some(Text::Map(those.map(|t| limit(t.limit)).collect()))
    };
    map([
        ("window", Some(time(judge.window))),
        ("max_samples", Some(number(judge.max_samples))),
        ("min_requests", Some(number(judge.min_requests))),
        ("every", Some(time(judge.every))),
        ("rollback", limits(ThresholdAction::Rollback)),
        ("alert", limits(ThresholdAction::Alert)),
    ])
}

fn limit(limit: Limit) -> (String, Text) {
    let (name, bound) = match limit {
        Limit::ErrorRate(share) => ("error_rate", format!("> {}", percent(share))),
        Limit::SuccessRate(share) => ("success_rate", format!("< {}", percent(share))),
        Limit::P99(latency) => ("p99", format!("> {}", time_text(latency))),
    };
    (name.to_owned(), word(&bound))
}

fn sequential(judge: &SequentialConfig) -> Text {
    let slow = judge.slow.map(|age| format!("> {}", time_text(age)));
    let material = &judge.material;
    let difference = (material.difference * 1e11).round() / 1e9;
    let material = map([
        ("difference", Some(word(&format!("{difference}pp")))),
        ("ratio", Some(number(material.ratio))),
        ("min_events", Some(number(material.min_events))),
    ]);
    let error_rate = format!("> {}", percent(judge.slo_error_rate));
    map([
        ("alpha", Some(word(&percent(judge.alpha)))),
        ("error_rate", Some(word(&error_rate))),
        ("slow", Some(word(slow.as_deref().unwrap_or("off")))),
        (
            "rate_limits_are_errors",
            Some(number(judge.rate_limits_are_errors)),
        ),
        ("every", Some(time(judge.every))),
        ("bake", Some(time(judge.bake))),
        ("horizon", Some(time(judge.horizon))),
        ("max_callers", Some(number(judge.max_callers))),
        ("material", Some(material)),
    ])
}

fn rollback(rollback: &RollbackConfig) -> Text {
    let in_flight = match rollback.in_flight {
        InFlight::Drain => "drain",
        InFlight::Cancel => "cancel",
    };
    map([
        ("in_flight", Some(word(in_flight))),
        ("webhooks", Some(words(&rollback.webhooks))),
        ("peers", Some(words(&rollback.peers))),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical;
    use crate::config::diagnostic::{Problems, Source};
    use crate::config::fields::Cx;
    use crate::config::{router_file, yaml};

    fn read(text: &str) -> RouterConfig {
        let source = Source::new("r.yaml", text);
        let problems = Problems::default();
        let cx = Cx {
            source: &source,
            problems: &problems,
        };
        let config = router_file::read(cx, &yaml::parse(&source).unwrap());
        let said = problems.into_diagnostics();
        config
            .filter(|_| said.errors() == 0)
            .unwrap_or_else(|| panic!("{said}\n{text}"))
    }

    /// Versions whose order and whose figures mean something.
    const VERSIONS: &str = "versions:
  v2: {role: canary, model: b, endpoint: \"http://127.0.0.1:1/v1\", api_key_env: B_KEY, features: [],
       rate_limit: {requests: 7, window: 1m 30s, max_wait: 0s, guard: 1.5ms}, price: {input: $2.00, output: \"$1,234.50\"}}
  v1: {role: stable, model: a, features: [tools], price: {flat: $0.000000001}}
";

    #[test]
    fn what_is_written_is_read_as_the_very_same() {
        let split = "split: {weights: {v1: 99.9, v2: 0.1}, sticky: {header: x-user}}";
        for rest in [
            "split: {weights: {v1: 1e-7, v2: 3}}",
            &format!("{split}\njudge: off\nfallback: off\nretry: {{budget: off, jitter: 33.3%, factor: 1.7}}"),
            &format!("{split}\njudge: sequential\nretry: {{budget: {{share: 12.3%, reserve: 100/min, memory: 7s}}}}"),
            &format!(
                "{split}\njudge: {{sequential: {{alpha: 0.07%, error_rate: \"> 7%\", slow: off, bake: 1m,
                 rate_limits_are_errors: false, max_callers: 9, material: {{difference: 0.07pp, ratio: 1.1, min_events: 5}}}}}}"
            ),
            &format!("{split}\njudge: {{literal: {{alert: {{p99: \"> 1.5s\", error_rate: \"> 7%\"}}}}}}"),
            &format!("{split}\njudge: {{literal: {{rollback: {{success_rate: \"< 93%\"}}, alert: {{success_rate: \"< 97%\"}}}}}}"),
            &format!(
                "{split}\nroutes:\n  - {{when: {{header: {{x-b: \"1\", x-a: \"on\"}}, tenant: t, tier: p, model: m}}, to: v2}}\n\
                 overrides: {{keys: [QA_KEY]}}\nrollback: {{in_flight: cancel, webhooks: [HOOK], peers: [\"http://127.0.0.1:2\"]}}\n\
                 timeouts: {{attempt: 7s, escalation: 3s, first_token: 2s, idle: 1500ms, request: 1h}}"
            ),
            "ramp: default",
            "ramp: default\njudge: sequential\nsplit: {sticky: user}",
        ] {
            same_again(&format!("{VERSIONS}{rest}"));
        }
    }

    #[test]
    fn a_ramp_keeps_what_stable_keeps() {
        for control in 0..=50 {
            let steps =
                "{name: a, weight: 7%, hold: 1h}, {name: b, weight: 50%, hold: 2m, limit: 9m}";
            for last in ["100%", "93%", "99.9%"] {
                same_again(&format!(
                    "{VERSIONS}ramp: {{steps: [{steps}, {{name: c, weight: {last}}}], \
                     control: {control}%, inconclusive: rollback}}"
                ));
            }
        }
    }

    fn same_again(file: &str) {
        let config = read(file);
        let text = serde_json::to_string(&write(&config)).unwrap();
        let again = read(&text);
        assert_eq!(again, config, "{file}\n{text}");
        assert_eq!(canonical::sha256(&again), canonical::sha256(&config));
    }

    #[test]
    fn what_looks_like_a_key_is_cut_out() {
        let mut config = read(&format!("{VERSIONS}split: {{weights: {{v1: 9, v2: 1}}}}"));
        let stable = config.stable;
        for (version, settings) in config.versions.iter_mut() {
            if version == stable {
                settings.model = "sk-abcdef0123456789".to_owned();
            }
        }
        let text = serde_json::to_string(&write(&config)).unwrap();
        assert!(!text.contains("abcdef0123456789"), "{text}");
    }
}
