//! Mock upstreams on their own ports: one [`MockUpstream`] says what happens to each request, two
//! servers play it. [`native`] plays everything; [`wiremock`] plays whole replies, and its responder
//! can be mounted in anybody's tests.

pub mod ledger;
pub mod native;
pub mod wiremock;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::fault::inject::{Response, Upstreams};
use crate::id::{RequestKey, VersionId};
use crate::live::clock::Clock;
use crate::live::mock::ledger::{Ledger, Row};
use crate::protocol::chat::digest;
use crate::protocol::openai::{Completion, ErrorReply, Usage};
use crate::time::Timestamp;
use crate::traffic::body::{max_tokens, prompt_tokens};
use crate::upstream::profile::Ask;

/// One model upstream: what it does is a pure function of the request key and the time.
#[derive(Debug)]
pub struct MockUpstream {
    /// Which of the upstreams it is.
    pub version: VersionId,
    /// The model it serves.
    pub model: String,
    /// The key it wants to see; any when absent.
    pub api_key: Option<String>,
    /// How all upstreams behave.
    pub upstreams: Arc<Upstreams>,
    /// The time on which faults go on and off.
    pub clock: Clock,
    /// Who came, and how it ended.
    pub ledger: Ledger,
    /// Counts requests without a key of their own.
    anonymous: AtomicU64,
}

/// A request as a mock sees it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The request's key, if one survived the way.
    pub key: Option<RequestKey>,
    /// The `Authorization` header.
    pub authorization: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

/// A request that was taken: what happens to it, and its line in the ledger.
#[derive(Debug)]
pub struct Taken {
    /// When it was taken.
    pub at: Timestamp,
    /// What happens.
    pub response: Response,
    /// Its line.
    pub row: Row,
}

impl MockUpstream {
    /// An upstream of `version` that serves `model`.
    pub fn new(
        version: VersionId,
        model: String,
        upstreams: Arc<Upstreams>,
        clock: Clock,
        ledger: Ledger,
    ) -> Self {
        Self {
            version,
            model,
            api_key: None,
            upstreams,
            clock,
            ledger,
            anonymous: AtomicU64::new(0),
        }
    }

    /// The same upstream, refusing every other key than this one.
    pub fn with_api_key(self, key: String) -> Self {
        Self {
            api_key: Some(key),
            ..self
        }
    }

    /// Takes a chat request.
    ///
    /// # Errors
    /// The reply to give when it is no request for this upstream: a wrong key, another model, no chat
    /// request. Nothing of it goes into the ledger.
    pub fn take(&self, seen: Seen<'_>) -> Result<Taken, ErrorReply> {
        let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(seen.body)
            .map_err(|e| refusal(400, "invalid_json", &format!("not a JSON object: {e}")))?;
        self.check_key(seen.authorization)?;
        self.check_model(&fields)?;
        let at = self.clock.now();
        let row = self.ledger.accept(seen.key, || digest(seen.body));
        let ask = Ask {
            key: seen.key.unwrap_or_else(|| self.next_anonymous()),
            version: self.version,
            nth: row.ordinal(),
            input_tokens: prompt_tokens(&fields),
            max_tokens: max_tokens(&fields),
        };
        let response = self.upstreams.respond(&ask, at);
        self.ledger.announce(at, &row, response.fault);
        Ok(Taken { at, response, row })
    }

    fn check_key(&self, authorization: Option<&str>) -> Result<(), ErrorReply> {
        let given = authorization.and_then(|a| a.strip_prefix("Bearer "));
        match &self.api_key {
            Some(wanted) if given != Some(wanted) => Err(refusal(
                401,
                "invalid_api_key",
                "the mock upstream was given another key than its own",
            )),
            _ => Ok(()),
        }
    }

    fn check_model(
        &self,
        fields: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<(), ErrorReply> {
        match fields.get("model").and_then(|m| m.as_str()) {
            Some(model) if model == self.model => Ok(()),
            Some(model) => {
                let message = format!("the model `{model}` does not exist");
                Err(refusal(404, "model_not_found", &message))
            }
            None => Err(refusal(400, "missing_model", "`model` is missing")),
        }
    }

    /// A key for a request that brings none. Its own half of the numbers keeps it apart from others.
    fn next_anonymous(&self) -> RequestKey {
        let n = self.anonymous.fetch_add(1, Ordering::Relaxed);
        RequestKey(1 << 63 | n)
    }

    /// The body of a completion.
    pub fn completion(&self, key: Option<RequestKey>, usage: Usage) -> String {
        let id = key.map_or_else(|| "anonymous".to_owned(), |k| k.to_string());
        // One word a token, so that the length of an answer is the length it claims.
        let content = vec!["tok"; usage.completion_tokens.min(100_000) as usize].join(" ");
        Completion {
            id: format!("chatcmpl-mock-{id}"),
            model: &self.model,
            content: &content,
            usage,
        }
        .body()
    }
}

fn refusal(status: u16, code: &'static str, message: &str) -> ErrorReply {
    ErrorReply {
        status,
        message: message.to_owned(),
        kind: "invalid_request_error",
        code,
    }
}
