//! What a request says: its body within limits, its fields with *all* mistakes at once, and the
//! revision that it was based on.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::header::{HeaderMap, IF_MATCH};
use serde_json::{Map, Value};

use crate::live::admin::problem::Problem;
use crate::live::http;

/// Largest body that is read: a router file is smaller.
const MAX_BODY: usize = 1 << 20;
/// Time for a client to send its body.
const BODY_TIME: Duration = Duration::from_secs(10);

/// Reads the whole body of a request before anybody looks at it.
pub async fn whole_body(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match read(body).await {
        Ok(bytes) => {
            let request = Request::from_parts(parts, Body::from(bytes));
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

async fn read(body: Body) -> Result<Bytes, Problem> {
    let whole = Limited::new(body, MAX_BODY).collect();
    match tokio::time::timeout(BODY_TIME, whole).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let message = format!("the body is larger than {} MiB", MAX_BODY >> 20);
            Err(Problem::new(413, "request_too_large", message))
        }
        Ok(Err(_)) => {
            let message = "the body broke off";
            Err(Problem::new(400, "invalid_request", message))
        }
        Err(_) => {
            let message = "the body did not arrive in time";
            Err(Problem::new(408, "request_timeout", message))
        }
    }
}

/// The revision that a change was based on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BasedOn {
    /// The revision; none asks whatever it is.
    pub revision: Option<u64>,
    /// Was it named by `If-Match`? Then the answer to a stale one is 412 instead of 409.
    pub by_header: bool,
}

impl BasedOn {
    /// From the header, and from what stands in the body or the query.
    ///
    /// # Errors
    /// When the header is no revision, or they differ.
    pub fn read(headers: &HeaderMap, named: Option<u64>) -> Result<Self, Problem> {
        let by_header = match headers.contains_key(IF_MATCH) {
            false => None,
            true => if_match(http::header(headers, IF_MATCH.as_str()).unwrap_or_default())?,
        };
        if let (Some(header), Some(named)) = (by_header, named)
            && header != named
        {
            let message = format!("If-Match says revision {header}, the request {named}");
            return Err(Problem::new(400, "invalid_request", message));
        }
        Ok(Self {
            revision: by_header.or(named),
            by_header: by_header.is_some(),
        })
    }

    /// The problem of a change that was refused.
    pub fn problem(self, refusal: crate::router::control::Refusal) -> Problem {
        let mut problem = Problem::from(refusal);
        if self.by_header && problem.code == "stale_revision" {
            problem.status = 412;
        }
        problem
    }
}

/// `"7"`, or `*` for any.
fn if_match(text: &str) -> Result<Option<u64>, Problem> {
    let text = text.trim();
    if text == "*" {
        return Ok(None);
    }
    let inner = text.trim_matches('"');
    inner.parse().map(Some).map_err(|_| {
        let message = "If-Match must be a revision in quotes, like \"7\", or *";
        Problem::new(400, "invalid_request", message)
    })
}

/// A JSON object of a request, read field by field.
#[derive(Debug)]
pub struct Form {
    fields: Map<String, Value>,
    mistakes: Vec<String>,
}

impl Form {
    /// Longest text in a field, in characters.
    const LONGEST: usize = 500;

    /// The object of a body; without a body, an empty one.
    ///
    /// # Errors
    /// When it is no JSON object.
    pub fn parse(body: &[u8]) -> Result<Self, Problem> {
        let fields = match body.trim_ascii().is_empty() {
            true => Map::new(),
            false => serde_json::from_slice(body).map_err(|error| {
                let message = format!("the body is no JSON object: {error}");
                Problem::new(400, "invalid_json", message)
            })?,
        };
        Ok(Self {
            fields,
            mistakes: Vec::new(),
        })
    }

    /// Notes a mistake.
    pub fn complain(&mut self, mistake: impl Into<String>) {
        self.mistakes.push(mistake.into());
    }

    /// Takes a field out.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.fields.remove(name).filter(|value| !value.is_null())
    }

    /// Takes a text out: not blank, not too long, without control characters.
    pub fn text(&mut self, name: &str) -> Option<String> {
        let value = self.take(name)?;
        let text = value.as_str().map(str::trim).filter(|text| {
            let is_short = text.chars().count() <= Self::LONGEST;
            !text.is_empty() && is_short && !text.contains(char::is_control)
        });
        if text.is_none() {
            let most = Self::LONGEST;
            self.complain(format!(
                "`{name}` must be a text of at most {most} characters"
            ));
        }
        text.map(str::to_owned)
    }

    /// Takes `revision` out.
    pub fn revision(&mut self) -> Option<u64> {
        let value = self.take("revision")?;
        let revision = value.as_u64();
        if revision.is_none() {
            self.complain("`revision` must be a whole number");
        }
        revision
    }

    /// All mistakes, unknown fields among them.
    ///
    /// # Errors
    /// When there are any.
    pub fn finish(mut self) -> Result<(), Problem> {
        let unknown = self.fields.keys().map(|name| {
            let name: String = name.chars().take(40).collect();
            format!("unknown field `{name}`")
        });
        self.mistakes.extend(unknown);
        match self.mistakes.is_empty() {
            true => Ok(()),
            false => {
                let message = self.mistakes.join("; ");
                Err(Problem::new(422, "invalid_fields", message).with("mistakes", self.mistakes))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn based_on(header: Option<&'static str>, named: Option<u64>) -> Result<BasedOn, u16> {
        let mut headers = HeaderMap::new();
        if let Some(value) = header {
            headers.insert(IF_MATCH, HeaderValue::from_static(value));
        }
        BasedOn::read(&headers, named).map_err(|p| p.status)
    }

    #[test]
    fn a_revision_is_named_by_header_or_field_but_not_differently() {
        let revision = |header, named| based_on(header, named).map(|b| b.revision);
        assert_eq!(revision(None, None), Ok(None));
        assert_eq!(revision(Some("\"7\""), None), Ok(Some(7)));
        assert_eq!(revision(Some("7"), Some(7)), Ok(Some(7)));
        assert_eq!(revision(None, Some(8)), Ok(Some(8)));
        assert_eq!(revision(Some("*"), Some(8)), Ok(Some(8)));
        assert_eq!(revision(Some("\"7\""), Some(8)), Err(400));
        assert_eq!(revision(Some("W/\"7\""), None), Err(400));
        assert!(!based_on(Some("*"), None).unwrap().by_header);
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let body = br#"{"revision": "x", "reason": "", "wieghts": 1, "name": null}"#;
        let mut form = Form::parse(body).unwrap();
        assert_eq!(
            (form.revision(), form.text("reason"), form.text("name")),
            (None, None, None)
        );
        let problem = form.finish().unwrap_err();
        assert_eq!(problem.status, 422);
        for word in ["`revision`", "`reason`", "`wieghts`"] {
            assert!(problem.message.contains(word), "{}", problem.message);
        }
        assert!(Form::parse(b" ").unwrap().finish().is_ok());
        assert_eq!(Form::parse(b"[]").unwrap_err().status, 400);
    }
}
