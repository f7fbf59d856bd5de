//! What makes an upstream slow, as files write it: `warm_up`, `slow_drip`, `capacity`.

use std::time::Duration;

use crate::config::fields::{Cx, Fields};
use crate::config::node::Node;
use crate::config::values;
use crate::time::Timestamp;
use crate::upstream::capacity::{Capacity, FullStatus, WhenFull};
use crate::upstream::profile::{Drip, WarmUp};

/// `{for: 30s, factor: 3}`.
pub fn warm_up(cx: Cx<'_>, node: &Node) -> Option<WarmUp> {
    let fields = cx.fields(node, "a warm-up")?;
    let length = fields.required("for", "30s", values::positive_duration);
    let factor = fields.required("factor", "3", slowing);
    fields.finish();
    let until = Timestamp::from(length?);
    let factor = factor?;
    Some(WarmUp { until, factor })
}

/// `{share: 5%, factor: 20}`.
pub fn drip(cx: Cx<'_>, node: &Node) -> Option<Drip> {
    let fields = cx.fields(node, "a slow drip")?;
    let share = fields.required("share", "5%", values::share);
    let factor = fields.required("factor", "20", slowing);
    fields.finish();
    let (share, factor) = (share?, factor?);
    Some(Drip { share, factor })
}

/// How many times slower.
fn slowing(cx: Cx<'_>, node: &Node) -> Option<f64> {
    match values::factor(cx, node)? {
        factor if factor >= 1.0 => Some(factor),
        _ => cx.wrong(
            node,
            "how many times slower",
            "a factor of 1 or more, like 3",
        ),
    }
}

/// `{concurrent: 8, queue: 100, when_full: 503}`.
pub fn capacity(cx: Cx<'_>, node: &Node) -> Option<Capacity> {
    let fields = cx.fields(node, "a capacity")?;
    let concurrent = fields.required("concurrent", "8", values::positive);
    let queue = fields.required("queue", "100, or 0 for no queue", queue);
    let status = fields.optional("when_full", full_status);
    let retry_after = retry_after(&fields);
    fields.finish();
    let status = status.unwrap_or(FullStatus::Overloaded);
    Some(Capacity {
        concurrent: concurrent?,
        queue: queue?,
        when_full: WhenFull {
            status,
            retry_after,
        },
    })
}

fn queue(cx: Cx<'_>, node: &Node) -> Option<u32> {
    let count = values::count(cx, node)?;
    match u32::try_from(count).ok().filter(|n| *n <= 1_000_000) {
        Some(count) => Some(count),
        None => cx.wrong(node, "the length of a queue", "0 to 1000000"),
    }
}

fn full_status(cx: Cx<'_>, node: &Node) -> Option<FullStatus> {
    let words = [
        ("503", FullStatus::Overloaded),
        ("429", FullStatus::RateLimited),
    ];
    values::word(cx, node, "a status for those without room", &words)
}

/// `Retry-After` knows whole seconds only.
fn retry_after(fields: &Fields<'_, '_>) -> Option<Duration> {
    fields.optional("retry_after", |cx, node| {
        let value = values::duration(cx, node)?;
        match value.subsec_nanos() {
            0 => Some(value),
            _ => cx.wrong(node, "a whole number of seconds", "1s, 30s, 2m"),
        }
    })
}
