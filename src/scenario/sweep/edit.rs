//! Putting one value into a router file that is at hand as a tree.

use crate::config::node::{Entry, Node, Value};
use crate::router::config::RouterConfig;

/// The keys of each kind of judge.
const LITERAL: [&str; 6] = [
    "window",
    "max_samples",
    "min_requests",
    "every",
    "rollback",
    "alert",
];
const SEQUENTIAL: [&str; 9] = [
    "alpha",
    "error_rate",
    "slow",
    "rate_limits_are_errors",
    "every",
    "bake",
    "horizon",
    "max_callers",
    "material",
];

/// Puts a value where its key says. False where the key means nothing here: it is another judge's, or there
/// is no ramp.
pub(super) fn put(root: &mut Node, own: &RouterConfig, key: &str, value: &Node) -> bool {
    let mut path = key.split('.');
    let first = path.next().unwrap_or_default();
    let rest: Vec<&str> = path.collect();
    match (first, &rest[..]) {
        ("judge", []) => {
            let is_own = |kind: &str| value.value == Value::Scalar(kind.to_owned());
            // A word for the kind there is means the judge there is.
            if !child(root, "judge").is_some_and(|own| kind_of(own).is_some_and(is_own)) {
                set(root, "judge", judge(value));
            }
            true
        }
        ("judge", rest) => in_judge(root, rest, value),
        ("weight", []) if own.ramp.is_none() => weigh(root, own, value),
        ("ramp", [step, rest @ ..]) if !rest.is_empty() && *step != "steps" => {
            in_step(root, step, rest, value)
        }
        ("split" | "retry" | "timeouts" | "ramp", rest) => {
            let inner = child(root, first);
            inner.is_some_and(|inner| put_at(inner, rest, value))
        }
        ("fallback", []) => {
            set(root, "fallback", value.clone());
            true
        }
        _ => false,
    }
}

/// `literal` or `sequential`; none of a judge that is off.
fn kind_of(judge: &Node) -> Option<&str> {
    match &judge.value {
        Value::Map(entries) => entries.first().map(|entry| entry.key.as_str()),
        _ => None,
    }
}

/// A judge as a mapping: `literal` and `sequential` as words have all their defaults.
fn judge(value: &Node) -> Node {
    match &value.value {
        Value::Scalar(word) if word == "literal" || word == "sequential" => {
            let empty = like(value, Value::Map(Vec::new()));
            let entry = Entry {
                key: word.clone(),
                place: value.place,
                value: empty,
            };
            like(value, Value::Map(vec![entry]))
        }
        _ => value.clone(),
    }
}

fn in_judge(root: &mut Node, path: &[&str], value: &Node) -> bool {
    let Some(Node {
        value: Value::Map(entries),
        ..
    }) = child(root, "judge")
    else {
        return false;
    };
    let [entry] = &mut entries[..] else {
        return false;
    };
    // `judge.literal.window` is the literal judge's alone; `judge.every` is of whichever there is.
    let path = match path {
        [kind, rest @ ..] if *kind == entry.key && !rest.is_empty() => rest,
        path => path,
    };
    let known: &[&str] = match entry.key.as_str() {
        "literal" => &LITERAL,
        _ => &SEQUENTIAL,
    };
    let is_known = path.first().is_some_and(|key| known.contains(key));
    is_known && put_at(&mut entry.value, path, value)
}

/// The step of a ramp that has this name.
fn in_step(root: &mut Node, name: &str, path: &[&str], value: &Node) -> bool {
    let steps = child(root, "ramp").and_then(|ramp| child(ramp, "steps"));
    let Some(Node {
        value: Value::List(steps),
        ..
    }) = steps
    else {
        return false;
    };
    let is_named = |step: &mut Node| {
        let own = child(step, "name");
        own.is_some_and(|own| own.value == Value::Scalar(name.to_owned()))
    };
    let named = steps.iter_mut().position(is_named);
    named.is_some_and(|position| put_at(&mut steps[position], path, value))
}

/// The canary's share as weights: `10%`. What is no share is left to the reader to refuse.
fn weigh(root: &mut Node, own: &RouterConfig, value: &Node) -> bool {
    let percent = match &value.value {
        Value::Scalar(text) => text.strip_suffix('%').and_then(|n| n.trim().parse().ok()),
        _ => None,
    };
    let percent: Option<f64> = percent.filter(|p| (0.0..=100.0).contains(p));
    let weight = |share: Option<f64>| match share {
        Some(share) => like(value, Value::Scalar(share.to_string())),
        None => value.clone(),
    };
    let canary = weight(percent);
    let stable = weight(percent.map(|p| 100.0 - p));
    let Some(split) = child(root, "split") else {
        return false;
    };
    let name = |version| own.name(version);
    put_at(split, &["weights", name(own.canary)], &canary)
        && put_at(split, &["weights", name(own.stable)], &stable)
}

/// Puts a value at a path of keys below a mapping; mappings on the way are made.
fn put_at(node: &mut Node, path: &[&str], value: &Node) -> bool {
    let [key, rest @ ..] = path else {
        return false;
    };
    if rest.is_empty() {
        set(node, key, value.clone());
        return true;
    }
    if child(node, key).is_none() {
        set(node, key, like(value, Value::Map(Vec::new())));
    }
    child(node, key).is_some_and(|inner| put_at(inner, rest, value))
}

/// The value of a key of a mapping, or the item of a list at a position.
fn child<'n>(node: &'n mut Node, key: &str) -> Option<&'n mut Node> {
    match &mut node.value {
        Value::Map(entries) => {
            let entry = entries.iter_mut().find(|entry| entry.key == key);
            entry.map(|entry| &mut entry.value)
        }
        Value::List(items) => items.get_mut(key.parse::<usize>().ok()?),
        Value::Null | Value::Scalar(_) => None,
    }
}

fn set(node: &mut Node, key: &str, value: Node) {
    if let Some(old) = child(node, key) {
        *old = value;
        return;
    }
    let place = value.place;
    if let Value::Map(entries) = &mut node.value {
        let key = key.to_owned();
        entries.push(Entry { key, place, value });
    }
}

fn like(node: &Node, value: Value) -> Node {
    Node {
        place: node.place,
        value,
    }
}

/// A value as it is written in one line.
pub(super) fn flow(node: &Node) -> String {
    match &node.value {
        Value::Null => "~".to_owned(),
        Value::Scalar(text) => text.clone(),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(flow).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(entries) => {
            let entry = |e: &Entry| format!("{}: {}", e.key, flow(&e.value));
            let entries: Vec<String> = entries.iter().map(entry).collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}
