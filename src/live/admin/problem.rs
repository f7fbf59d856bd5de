//! What the admin API says when it does not do what was asked.

use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde_json::{Map, Value, json};

use crate::config::redact::redact;
use crate::router::control::Refusal;

/// An error answer, in OpenAI's envelope: `{"error": {message, type, code, …}}`.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// `error.code`: for programs.
    pub code: &'static str,
    /// For people.
    pub message: String,
    /// Further members of `error`.
    more: Map<String, Value>,
}

impl Problem {
    /// A problem with its status, code and message. Keys are cut out of the message.
    pub fn new(status: u16, code: &'static str, message: impl AsRef<str>) -> Self {
        Self {
            status,
            code,
            message: redact(message.as_ref()),
            more: Map::new(),
        }
    }

    /// The same with another member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// `error.type`: the family.
    fn kind(&self) -> &'static str {
        match self.status {
            401 => "authentication_error",
            403 => "permission_error",
            409 | 412 => "conflict_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        }
    }

    fn body(&self) -> Value {
        let mut error = self.more.clone();
        error.insert("message".to_owned(), json!(self.message));
        error.insert("type".to_owned(), json!(self.kind()));
        error.insert("code".to_owned(), json!(self.code));
        json!({ "error": error })
    }

    /// The header that its status calls for.
    fn header(&self) -> Option<(HeaderName, &'static str)> {
        match self.status {
            401 => Some((WWW_AUTHENTICATE, "Bearer")),
            503 => Some((RETRY_AFTER, "1")),
            // Not all of the body was read: nothing more can be understood on this connection.
            408 | 413 => Some((hyper::header::CONNECTION, "close")),
            _ => None,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = self.body().to_string().into_response();
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some((name, value)) = self.header() {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (status, code) = match &refusal {
            Refusal::Stale { .. } => (409, "stale_revision"),
            Refusal::Busy => (503, "busy"),
            Refusal::Unchanged => (409, "unchanged"),
            Refusal::RolledBack => (409, "rolled_back"),
            Refusal::SameAsRolledBack => (409, "same_as_rolled_back"),
            Refusal::NotInThisPhase { .. } => (409, "not_in_this_phase"),
            Refusal::NoCheckpoint => (404, "no_checkpoint"),
            Refusal::CorruptCheckpoint => (409, "corrupt_checkpoint"),
            Refusal::BadWeights { .. } => (422, "bad_weights"),
            Refusal::StoreFailed => (503, "store_failed"),
        };
        let problem = Self::new(status, code, refusal.to_string());
        match refusal {
            Refusal::Stale { revision } => problem.with("revision", revision),
            _ => problem,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_its_family_and_no_keys() {
        let problem = Problem::new(422, "bad", "the key sk-abcdef0123456789 is wrong");
        let body = problem.with("mistakes", vec!["one"]).body();
        assert_eq!(
            body,
            json!({"error": {
                "message": "the key sk-*** is wrong", "type": "invalid_request_error",
                "code": "bad", "mistakes": ["one"],
            }})
        );
    }

    #[test]
    fn a_stale_revision_names_the_present_one() {
        let problem = Problem::from(Refusal::Stale { revision: 7 });
        assert_eq!(problem.status, 409);
        assert_eq!(problem.body()["error"]["revision"], 7);
        assert_eq!(problem.body()["error"]["type"], "conflict_error");
    }
}
