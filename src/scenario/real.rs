//! Upstreams that are real: on what terms they are asked, and what they may cost.

use crate::config::fields::Cx;
use crate::config::node::{Node, Place};
use crate::config::{prices, values};
use crate::id::PerVersion;
use crate::observe::meta::Engine;
use crate::router::config::RouterConfig;
use crate::traffic::body::Template;
use crate::upstream::real::{Budget, LIMIT_FIELDS, RealUpstream};

/// Most requests at once, unless the file says otherwise: little enough for a small account.
const CONCURRENCY: u32 = 8;
/// Most requests at once of all files.
const MOST_CONCURRENCY: u32 = 10_000;
/// Tokens of an answer, unless the file says otherwise.
const MAX_TOKENS: u32 = 256;

/// What a budget looks like.
const EXPECTED: &str = "budget: {money: $1.00, tokens: 200000}, or one of both";

/// Where a scenario says something that only real upstreams need.
pub struct Setting<'a> {
    /// Which versions are real, and where that is said.
    pub real: &'a PerVersion<Option<Place>>,
    /// The router.
    pub router: &'a RouterConfig,
    /// The engine that the file asks for.
    pub engine: Option<Engine>,
    /// The budget, and where it stands.
    pub budget: Option<(Budget, Place)>,
    /// What is asked.
    pub prompts: &'a [Template],
}

/// Reads what stands behind `real`: terms, or nothing for the usual ones.
pub fn read(cx: Cx<'_>, node: &Node) -> Option<RealUpstream> {
    let fields = cx.fields(node, "a real upstream")?;
    let concurrency = fields.optional("concurrency", concurrency);
    let rate = fields.optional("rate", rate);
    let max_tokens = fields.optional("max_tokens", values::positive);
    let limit_field = fields.optional("limit_field", |cx, n| {
        let words = LIMIT_FIELDS.map(|field| (field, field));
        values::word(cx, n, "a field that limits answers", &words)
    });
    fields.finish();
    Some(RealUpstream {
        concurrency: concurrency.unwrap_or(CONCURRENCY),
        rate,
        max_tokens: max_tokens.unwrap_or(MAX_TOKENS),
        limit_field: limit_field.unwrap_or(LIMIT_FIELDS[0]),
    })
}

fn concurrency(cx: Cx<'_>, node: &Node) -> Option<u32> {
    let value = values::positive(cx, node)?;
    match value <= MOST_CONCURRENCY {
        true => Some(value),
        false => cx.wrong(node, "a sane number of requests", "1 to 10000"),
    }
}

fn rate(cx: Cx<'_>, node: &Node) -> Option<f64> {
    let rate = values::rate(cx, node)?;
    match rate > 0.0 {
        true => Some(rate),
        false => cx.wrong(node, "a rate above 0", "a rate like 5/s or 60/min"),
    }
}

/// Reads `budget`.
pub fn budget(cx: Cx<'_>, node: &Node) -> Option<(Budget, Place)> {
    let fields = cx.fields(node, "a budget")?;
    let money = fields.optional("money", prices::amount);
    let tokens = fields.optional("tokens", values::count);
    let is_empty = ["money", "tokens"]
        .iter()
        .all(|key| fields.node(key).is_none());
    if is_empty {
        fields.complain("a budget limits something", EXPECTED);
    }
    fields.finish();
    Some((Budget { money, tokens }, node.place))
}

/// Reports what real upstreams lack, or who has a budget for none.
pub fn check(cx: Cx<'_>, setting: &Setting<'_>) {
    let mut first = None;
    for (version, place) in setting.real.iter() {
        let Some(place) = *place else { continue };
        first = first.or(Some(place));
        let config = &setting.router.versions[version];
        let name = &config.name;
        if config.endpoint.is_none() {
            let message = format!("`{name}` is real, and has no endpoint in the router file");
            let expected =
                "endpoint: https://api.example.com/v1, and api_key_env: NAME if it wants a key";
            cx.problems.add(cx.at(place, message).expected(expected));
        }
        let has_money = setting
            .budget
            .is_some_and(|(budget, _)| budget.money.is_some());
        if has_money && config.price.is_none() {
            let message = format!("`{name}` is real and has no price: money cannot be counted");
            let expected = "price: {input: $2.00, output: $8.00} in the router file";
            cx.problems.add(cx.at(place, message).expected(expected));
        }
    }
    match (first, setting.budget) {
        (None, Some((_, place))) => {
            let message = "there is a budget, and no upstream that is real";
            let hint = "mocks cost nothing: leave it out";
            cx.problems.add(cx.at(place, message).hint(hint));
        }
        (Some(place), None) => {
            let message = "an upstream is real, and there is no budget";
            cx.problems.add(cx.at(place, message).expected(EXPECTED));
        }
        _ => {}
    }
    if let (Some(place), true) = (
        first,
        setting.prompts.iter().any(Template::has_more_than_text),
    ) {
        let message = "an upstream is real, and prompts have parts that are no text";
        let hint = "what a picture comes to in tokens cannot be known before it is sent: a budget could be passed";
        cx.problems.add(cx.at(place, message).hint(hint));
    }
    if let (Some(place), true) = (first, setting.engine != Some(Engine::Live)) {
        let message = "an upstream is real, and the engine has no real time";
        cx.problems
            .add(cx.at(place, message).expected("engine: live"));
    }
}
