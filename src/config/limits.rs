//! The parts of a router file that keep load off upstreams: rate limits and the retry budget.

use std::time::Duration;

use crate::config::fields::Cx;
use crate::config::node::{Node, Value};
use crate::config::values;
use crate::router::budget::RetryBudget;
use crate::router::limit::RateLimit;

/// Most attempts in a window: each is remembered.
const MOST_REQUESTS: u32 = 1_000_000;
/// Highest share of retries: ten for every first attempt.
const MOST_SHARE: f64 = 10.0;

/// Reads a version's `rate_limit`.
pub fn rate_limit(cx: Cx<'_>, node: &Node) -> Option<RateLimit> {
    let fields = cx.fields(node, "a rate limit")?;
    let default = RateLimit::default();
    let limit = RateLimit {
        requests: fields
            .optional("requests", requests)
            .unwrap_or(default.requests),
        window: fields
            .optional("window", values::positive_duration)
            .unwrap_or(default.window),
        max_wait: fields
            .optional("max_wait", values::duration)
            .unwrap_or(default.max_wait),
        guard: fields
            .optional("guard", values::duration)
            .unwrap_or(default.guard),
    };
    fields.finish();
    Some(limit)
}

fn requests(cx: Cx<'_>, node: &Node) -> Option<u32> {
    match values::positive(cx, node)? {
        n if n <= MOST_REQUESTS => Some(n),
        _ => cx.wrong(node, "a sane number of requests", "1 to 1000000"),
    }
}

/// Reads `budget`: `off`, or a share with a reserve. The outer none stands for mistakes.
pub fn budget(cx: Cx<'_>, node: &Node) -> Option<Option<RetryBudget>> {
    if !matches!(&node.value, Value::Map(_)) {
        let words = [("off", None)];
        return values::word::<Option<()>>(
            cx,
            node,
            "a retry budget (`off` or {share: 20%})",
            &words,
        )
        .map(|_| None);
    }
    let fields = cx.fields(node, "the retry budget")?;
    let default = RetryBudget::default();
    let budget = RetryBudget {
        share: fields.optional("share", share).unwrap_or(default.share),
        reserve_per_second: fields
            .optional("reserve", values::rate)
            .unwrap_or(default.reserve_per_second),
        memory: fields.optional("memory", memory).unwrap_or(default.memory),
    };
    fields.finish();
    Some(Some(budget))
}

fn share(cx: Cx<'_>, node: &Node) -> Option<f64> {
    let expected = "a share of the requests, like 20%";
    let text = cx.text(node, "a share", expected)?;
    let percent = text
        .strip_suffix('%')
        .and_then(|t| t.trim().parse::<f64>().ok());
    match percent.map(|p| p / 100.0) {
        Some(share) if (0.0..=MOST_SHARE).contains(&share) => Some(share),
        _ => cx.wrong(node, "a share of 0% to 1000%", expected),
    }
}

fn memory(cx: Cx<'_>, node: &Node) -> Option<Duration> {
    match values::duration(cx, node)? {
        memory if memory >= Duration::from_millis(10) => Some(memory),
        _ => cx.wrong(node, "long enough", "at least 10ms"),
    }
}
