//! `orders`: what another gateway is told during the run, and when.

use crate::config::fields::{Cx, head, listed};
use crate::config::node::{Entry, Node, Place, Value};
use crate::config::values;
use crate::experiment::external::External;
use crate::experiment::external::admin::{Command, Order};
use crate::id::PerVersion;
use crate::time::Timestamp;

/// Most orders of one run.
const MOST: usize = 100;
const EXPECTED: &str = "- {at: 2s, set_weights: {v2: 50%}} or - {at: 3s, rollback: true}";

/// Reads `orders`, in the order of their times. None means that mistakes were reported.
pub fn read(
    cx: Cx<'_>,
    node: &Node,
    names: &[String],
    gateway: Option<&External>,
) -> Option<Vec<Order>> {
    let Some(gateway) = gateway else {
        let message = "orders are given to another gateway, and the built-in router is tested";
        let hint = "test `graygate serve` as another gateway, by `router: {external: …}`, or leave them out";
        return cx.error(cx.at(node.place, message).hint(hint));
    };
    let items = cx.list(node, EXPECTED)?;
    if items.len() > MOST {
        return cx.error(cx.at(node.place, format!("more than {MOST} orders")));
    }
    let orders: Vec<_> = items.iter().map(|n| order(cx, n, names, gateway)).collect();
    let mut orders: Vec<Order> = orders.into_iter().collect::<Option<_>>()?;
    orders.sort_by_key(|order| order.at);
    Some(orders)
}

fn order(cx: Cx<'_>, node: &Node, names: &[String], gateway: &External) -> Option<Order> {
    let fields = cx.fields(node, "an order")?;
    let at = fields.required("at", "when, like 2s", values::duration);
    let weights = fields.optional("set_weights", |cx, n| shares(cx, n, names));
    let rollback = fields.optional("rollback", flag);
    let (place, has) = (fields.place(), |key| fields.node(key).is_some());
    let (has_weights, has_rollback) = (has("set_weights"), has("rollback"));
    fields.finish();
    if has_weights == has_rollback {
        let message = "an order asks for one thing";
        return cx.error(cx.at(place, message).expected(EXPECTED));
    }
    let what = weights
        .map(Command::SetWeights)
        .or(rollback.map(|()| Command::Rollback));
    is_known(cx, place, gateway, has_weights)?;
    Some(Order {
        at: Timestamp::from(at?),
        what: what?,
    })
}

/// Does anybody know how the gateway is told this?
fn is_known(cx: Cx<'_>, place: Place, gateway: &External, has_weights: bool) -> Option<()> {
    let admin = gateway.admin.as_ref();
    let (key, call) = match has_weights {
        true => ("set_weights", admin.and_then(|a| a.set_weights.as_ref())),
        false => ("rollback", admin.and_then(|a| a.rollback.as_ref())),
    };
    if call.is_some() {
        return Some(());
    }
    let message = format!("nobody says how the gateway is told to `{key}`");
    let hint = format!("say it in `external`: admin: {{url: …, {key}: {{path: …, body: …}}}}");
    cx.error(cx.at(place, message).hint(hint))
}

fn flag(cx: Cx<'_>, node: &Node) -> Option<()> {
    match values::flag(cx, node)? {
        true => Some(()),
        false => cx.wrong(node, "an order", "rollback: true"),
    }
}

/// The shares of all versions: one that is not named gets what the others leave.
fn shares(cx: Cx<'_>, node: &Node, names: &[String]) -> Option<PerVersion<f64>> {
    let expected = "{v2: 50%}";
    let Value::Map(entries) = &node.value else {
        return cx.wrong(node, "a mapping of shares", expected);
    };
    let read: Vec<_> = entries.iter().map(|e| share(cx, e, names)).collect();
    let read: Vec<(&str, f64)> = read.into_iter().collect::<Option<_>>()?;
    let given = |name: &String| {
        read.iter()
            .find(|(n, _)| n == name)
            .map(|(_, share)| *share)
    };
    let sum: f64 = read.iter().map(|(_, share)| share).sum();
    let is_whole = names.iter().all(|name| given(name).is_some());
    if read.is_empty() || sum > 1.0 + DUST || (is_whole && sum < 1.0 - DUST) {
        return cx.wrong(node, "a split", "shares that are 100% together");
    }
    let rest = (1.0 - sum).max(0.0);
    let shares = names.iter().map(|name| given(name).unwrap_or(rest));
    Some(shares.collect())
}

/// What sums of shares may be off by.
const DUST: f64 = 1e-9;

fn share<'e>(cx: Cx<'_>, entry: &'e Entry, names: &[String]) -> Option<(&'e str, f64)> {
    if !names.contains(&entry.key) {
        let message = format!("there is no version `{}`", head(&entry.key));
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        let expected = format!("one of {}", listed(&known));
        return cx.error(cx.at(entry.place, message).expected(expected));
    }
    let share = values::share(cx, &entry.value)?;
    Some((entry.key.as_str(), share))
}
