//! `admin`: how another gateway is given orders.

use std::time::Duration;

use crate::config::fields::Cx;
use crate::config::node::Node;
use crate::config::values;
use crate::experiment::external::Known;
use crate::experiment::external::admin::{Admin, Call};
use crate::scenario::external::{named_texts, template};
use crate::scenario::here;

/// The longest time to an answer, unless the file says otherwise.
const WITHIN: Duration = Duration::from_secs(5);
const METHODS: [&str; 5] = ["POST", "PUT", "PATCH", "DELETE", "GET"];
/// What stands for a port before it is chosen.
const PORTS: [&str; 2] = ["{{admin_port}}", "{{port}}"];

/// Reads `admin`. None means that mistakes were reported.
pub(super) fn read(cx: Cx<'_>, node: &Node, known: Known<'_>) -> Option<Admin> {
    let fields = cx.fields(node, "the admin API of a gateway")?;
    let url = fields.required("url", EXPECTED, |cx, n| url(cx, n, known));
    let headers = fields.optional("headers", |cx, n| {
        named_texts(cx, n, |cx, name, n| header(cx, name, n, known))
    });
    let weighing = Known {
        has_weights: true,
        ..known
    };
    let set_weights = fields.optional("set_weights", |cx, n| call(cx, n, weighing));
    let rollback = fields.optional("rollback", |cx, n| call(cx, n, known));
    let within = fields.optional("within", values::positive_duration);
    let is_given = |key| fields.node(key).is_some();
    let is_wrong = is_given("headers") != headers.is_some()
        || is_given("set_weights") != set_weights.is_some()
        || is_given("rollback") != rollback.is_some();
    if !is_given("set_weights") && !is_given("rollback") {
        let expected = "set_weights: {path: …, body: …} or rollback: {path: …}";
        let message = "nobody is told how an order is given";
        cx.problems
            .add(cx.at(fields.place(), message).expected(expected));
    }
    fields.finish();
    let url = url?;
    (!is_wrong).then(|| Admin {
        url,
        headers: headers.unwrap_or_default(),
        set_weights,
        rollback,
        within: within.unwrap_or(WITHIN),
    })
}

const EXPECTED: &str = "a URL on this machine, like http://127.0.0.1:{{admin_port}}";

/// Where the API is: on this machine only.
fn url(cx: Cx<'_>, node: &Node, known: Known<'_>) -> Option<String> {
    let text = template(cx, node, known)?;
    match here::is_base_url(&text, |port| PORTS.contains(&port)) {
        true => Some(text.trim_end_matches('/').to_owned()),
        false => cx.wrong(node, "a URL of an API on this machine", EXPECTED),
    }
}

fn header(cx: Cx<'_>, name: &str, node: &Node, known: Known<'_>) -> Option<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if name.is_empty() || !name.chars().all(is_name) {
        let message = format!("`{name}` is not the name of a header");
        let expected = "letters, digits and dashes, like authorization";
        return cx.error(cx.at(node.place, message).expected(expected));
    }
    let text = template(cx, node, known)?;
    let is_plain = |c: char| c == ' ' || c.is_ascii_graphic();
    match text.chars().all(is_plain) {
        true => Some(text),
        false => cx.wrong(
            node,
            "the value of a header",
            "one line of plain characters",
        ),
    }
}

fn call(cx: Cx<'_>, node: &Node, known: Known<'_>) -> Option<Call> {
    let fields = cx.fields(node, "an order")?;
    let methods = METHODS.map(|method| (method, method));
    let method = fields.optional("method", |cx, n| values::word(cx, n, "a method", &methods));
    let path = fields.required("path", "a path, like /v1/weights", |cx, n| {
        path(cx, n, known)
    });
    let body = fields.optional("body", |cx, n| template(cx, n, known));
    let is_wrong = (fields.node("method").is_some() && method.is_none())
        || (fields.node("body").is_some() && body.is_none());
    fields.finish();
    let path = path?;
    (!is_wrong).then(|| Call {
        method: method.unwrap_or("POST"),
        path,
        body,
    })
}

fn path(cx: Cx<'_>, node: &Node, known: Known<'_>) -> Option<String> {
    let text = template(cx, node, known)?;
    match text.starts_with('/') && text.chars().all(|c| c.is_ascii_graphic()) {
        true => Some(text),
        false => cx.wrong(node, "a path", "a path, like /v1/weights?v2={{weight.v2}}"),
    }
}
