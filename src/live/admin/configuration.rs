//! The whole configuration: what is in force, and another one in its place.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use hyper::header::HeaderMap;
use serde_json::{Value, json};

use crate::config::diagnostic::{Diagnostic, Diagnostics, Problems, Severity, Source};
use crate::config::fields::Cx;
use crate::config::node::{Node, Value as Tree};
use crate::config::{router_file, values, yaml};
use crate::live::admin::form::BasedOn;
use crate::live::admin::orders::{Answer, Api};
use crate::live::admin::problem::Problem;
use crate::live::admin::{Admin, Check, view};
use crate::router::config::RouterConfig;
use crate::router::control::Order;

/// `GET /v1/deployment/config`
pub async fn show(State(admin): Api) -> Answer {
    admin.configuration().await
}

/// `PUT /v1/deployment/config`: the body is a router file, in YAML or JSON, or what GET answers.
pub async fn apply(
    State(admin): Api,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let query = Query::read(query.as_deref().unwrap_or_default())?;
    let said = router(&body, &*admin.config.check)?;
    let based_on = BasedOn::read(&headers, query.revision.or(said.revision))?;
    let order = Order::Apply {
        config: Arc::new(said.config),
        again: query.again,
    };
    admin.ordered(based_on, order).await?;
    admin.configuration().await
}

/// What stands behind the question mark: the body is the file and has no room for it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Query {
    revision: Option<u64>,
    again: bool,
}

impl Query {
    fn read(text: &str) -> Result<Self, Problem> {
        let mut query = Self::default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("revision", number)) => {
                    let revision = number.parse().map_err(|_| unknown(pair))?;
                    query.revision = Some(revision);
                }
                Some(("again", "true")) => query.again = true,
                Some(("again", "false")) => query.again = false,
                _ => return Err(unknown(pair)),
            }
        }
        Ok(query)
    }
}

fn unknown(pair: &str) -> Problem {
    let pair: String = pair.chars().take(60).collect();
    let message = format!("`{pair}` is not understood: revision=NUMBER, again=true");
    Problem::new(400, "invalid_request", message)
}

/// What a body says.
struct Said {
    config: RouterConfig,
    /// The revision that it was based on, where it is an answer that was sent back.
    revision: Option<u64>,
}

/// The configuration that a body describes, or every mistake in it.
fn router(body: &[u8], check: &Check) -> Result<Said, Problem> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let message = format!("the body is no UTF-8: {error}");
        Problem::new(400, "invalid_config", message)
    })?;
    let source = Source::new("body", text);
    let node = yaml::parse(&source).map_err(|d| refuse(400, &d.into()))?;
    let problems = Problems::default();
    let cx = Cx {
        source: &source,
        problems: &problems,
    };
    let (revision, node) = opened(cx, &node);
    let config = router_file::read(cx, node);
    if let Some(config) = &config {
        check(config, &problems);
    }
    match config {
        Some(config) if !problems.has_errors() => Ok(Said { config, revision }),
        _ => Err(refuse(422, &problems.into_diagnostics())),
    }
}

/// The router file in an answer of GET, and the revision it is of; any other body is the file itself.
/// The fingerprint is that of what was answered, and says nothing of what was changed since.
fn opened<'n>(cx: Cx<'_>, body: &'n Node) -> (Option<u64>, &'n Node) {
    let has = |key: &str| match &body.value {
        Tree::Map(entries) => entries.iter().any(|entry| entry.key == key),
        Tree::Null | Tree::Scalar(_) | Tree::List(_) => false,
    };
    if !has("config") || has("versions") {
        return (None, body);
    }
    let Some(fields) = cx.fields(body, "the configuration") else {
        return (None, body);
    };
    let revision = fields.optional("revision", values::count);
    fields.optional("sha256", values::text);
    let file = fields.node("config").unwrap_or(body);
    fields.finish();
    (revision, file)
}

fn refuse(status: u16, diagnostics: &Diagnostics) -> Problem {
    let count = diagnostics.errors();
    let words = if count == 1 { "mistake" } else { "mistakes" };
    let message = format!("the configuration has {count} {words}:\n{diagnostics}");
    let list: Vec<Value> = diagnostics.list.iter().map(mistake).collect();
    Problem::new(status, "invalid_config", message).with("mistakes", list)
}

fn mistake(diagnostic: &Diagnostic) -> Value {
    let severity = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    json!({
        "severity": severity,
        "line": diagnostic.place.map(|p| p.line),
        "column": diagnostic.place.map(|p| p.column),
        "message": diagnostic.message,
        "expected": diagnostic.expected,
        "hint": diagnostic.hint,
    })
}

impl Admin {
    async fn configuration(&self) -> Answer {
        let present = self.present().await?;
        Ok(view::configuration(&present))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_is_read_strictly() {
        let read = |text| Query::read(text).map_err(|p| p.status);
        assert_eq!(read(""), Ok(Query::default()));
        let both = Query {
            revision: Some(7),
            again: true,
        };
        assert_eq!(read("again=true&revision=7"), Ok(both));
        for wrong in ["again", "again=yes", "revision=x", "force=true"] {
            assert_eq!(read(wrong), Err(400), "{wrong}");
        }
    }
}
