//! `requires`: what a scenario needs of the machine. Without it, it is skipped.

use crate::config::fields::Cx;
use crate::config::node::Node;
use crate::config::redact::is_variable_name;

/// What must be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requires {
    /// Programs that are found on the path.
    pub programs: Vec<String>,
    /// Variables that are set.
    pub env: Vec<String>,
}

/// Reads `requires`.
pub fn read(cx: Cx<'_>, node: &Node) -> Option<Requires> {
    let fields = cx.fields(node, "what a scenario requires")?;
    let programs = fields.optional("programs", |cx, n| words(cx, n, "[envoy]", program));
    let env = fields.optional("env", |cx, n| words(cx, n, "[API_KEY]", variable));
    fields.finish();
    Some(Requires {
        programs: programs.unwrap_or_default(),
        env: env.unwrap_or_default(),
    })
}

fn words(
    cx: Cx<'_>,
    node: &Node,
    expected: &str,
    read: fn(Cx<'_>, &Node) -> Option<String>,
) -> Option<Vec<String>> {
    let items = cx.list(node, expected)?;
    let read: Vec<_> = items.iter().map(|n| read(cx, n)).collect();
    read.into_iter().collect()
}

fn program(cx: Cx<'_>, node: &Node) -> Option<String> {
    let expected = "the name of a program, like envoy";
    let text = cx.text(node, "a program", expected)?;
    match text.is_empty() || text.contains('/') {
        true => cx.wrong(node, "the name of a program", expected),
        false => Some(text.to_owned()),
    }
}

fn variable(cx: Cx<'_>, node: &Node) -> Option<String> {
    let expected = "the name of a variable, like API_KEY";
    let text = cx.text(node, "a variable", expected)?;
    match !text.is_empty() && is_variable_name(text) {
        true => Some(text.to_owned()),
        // It may be a key that was put into the wrong place.
        false => {
            let message = "this is not the name of a variable";
            cx.error(cx.at(node.place, message).without_line().expected(expected))
        }
    }
}
