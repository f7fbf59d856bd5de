//! Asks the versions' upstreams which models they serve (`GET /v1/models`), before callers do.

use std::error::Error;
use std::time::Duration;

use reqwest::redirect;
use serde::Deserialize;

use crate::config::redact::redact;
use crate::live::gateway::Endpoint;
use crate::live::http::client::{CONNECT_TIME, Trust};

/// Time for the whole answer.
const PROBE_TIME: Duration = Duration::from_secs(10);
/// Largest list that is read: that of a broker of hundreds of models takes about one MiB.
const MAX_LIST: usize = 8 << 20;
/// How many models are named when the right one is not among them.
const NAMED: usize = 5;

/// What an upstream said of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It serves it.
    Listed,
    /// It serves others only. Some of these.
    Missing(Vec<String>),
    /// It has no such list (404, 405, 501), or not for this key (403): its answers will tell.
    NotOffered(u16),
    /// It refuses the key (401).
    Refused(u16),
    /// Nobody is there, or nobody to be trusted.
    Unreachable(String),
    /// An answer that says nothing of the model.
    Unclear(String),
}

/// Asks upstreams.
#[derive(Clone, Debug)]
pub struct Prober {
    client: reqwest::Client,
}

impl Prober {
    /// Somebody who asks upstreams that `trust` believes.
    ///
    /// # Errors
    /// When the system has no room for one.
    pub fn new(trust: &Trust) -> reqwest::Result<Self> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(trust.config())
            // Requests take neither a proxy nor a detour, so the probe must not either.
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIME)
            .timeout(PROBE_TIME)
            .retry(reqwest::retry::never())
            .build()?;
        Ok(Self { client })
    }

    /// Does this upstream serve this model?
    pub async fn ask(&self, endpoint: &Endpoint, model: &str) -> Finding {
        let mut request = self.client.get(format!("{}/models", endpoint.base));
        if let Some(key) = &endpoint.api_key {
            request = request.bearer_auth(key.reveal());
        }
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if error.is_connect() => return Finding::Unreachable(causes(&error)),
            Err(error) => return Finding::Unclear(causes(&error)),
        };
        match answer.status().as_u16() {
            200 => match list(answer).await {
                Ok(list) => list.finding(model),
                Err(why) => Finding::Unclear(why),
            },
            status @ 401 => Finding::Refused(status),
            // A key may be good for chats, and not for lists.
            status @ (403 | 404 | 405 | 501) => Finding::NotOffered(status),
            status => Finding::Unclear(format!("status {status}")),
        }
    }
}

/// The body of an answer to `GET /v1/models`.
#[derive(Debug, Deserialize)]
struct ModelList {
    data: Vec<Model>,
    /// Some providers give long lists in pages.
    #[serde(default)]
    has_more: bool,
}

#[derive(Debug, Deserialize)]
struct Model {
    id: String,
}

impl ModelList {
    fn finding(&self, model: &str) -> Finding {
        if self.data.iter().any(|listed| is_same(&listed.id, model)) {
            return Finding::Listed;
        }
        if self.has_more {
            return Finding::Unclear("the list goes on over more pages".to_owned());
        }
        let some = self.data.iter().take(NAMED);
        Finding::Missing(some.map(|listed| shown(&listed.id)).collect())
    }
}

/// Gemini lists `models/NAME`, Ollama `NAME:latest`, and both answer to the bare name.
fn is_same(listed: &str, model: &str) -> bool {
    let bare = listed.strip_prefix("models/").unwrap_or(listed);
    listed == model || bare == model || bare.strip_suffix(":latest") == Some(model)
}

/// A name that somebody else chose, safe for a terminal.
fn shown(name: &str) -> String {
    let short: String = name.chars().take(80).collect();
    redact(&short.escape_debug().to_string())
}

async fn list(mut answer: reqwest::Response) -> Result<ModelList, String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|e| causes(&e))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > MAX_LIST {
            return Err(format!("a list of more than {} MiB", MAX_LIST >> 20));
        }
    }
    serde_json::from_slice(&bytes).map_err(|_| "an answer that is no list of models".to_owned())
}

/// An error with all its causes: the last ones are what helps.
fn causes(error: &reqwest::Error) -> String {
    let mut said = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        said.push(error.to_string());
        cause = error.source();
    }
    match said.is_empty() {
        true if error.is_timeout() => "no answer in time".to_owned(),
        true => redact(&error.to_string()),
        false => redact(&said.join(": ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(list: &str, model: &str) -> Finding {
        let list: ModelList = serde_json::from_str(list).unwrap();
        list.finding(model)
    }

    #[test]
    fn a_model_is_found_by_the_names_that_providers_give_it() {
        let listed = r#"{"data":[{"id":"models/a","x":1},{"id":"b:latest"},{"id":"c"}]}"#;
        for model in ["a", "models/a", "b", "b:latest", "c"] {
            assert_eq!(finding(listed, model), Finding::Listed, "{model}");
        }
        for model in ["d", "", "c:latest", "latest"] {
            let missing = finding(listed, model);
            assert!(matches!(missing, Finding::Missing(_)), "{model}");
        }
    }

    #[test]
    fn a_page_of_a_list_proves_nothing() {
        let page = r#"{"data":[{"id":"a"}],"has_more":true}"#;
        assert_eq!(finding(page, "a"), Finding::Listed);
        assert!(matches!(finding(page, "b"), Finding::Unclear(_)));
    }

    #[test]
    fn names_of_others_do_no_harm_to_a_terminal() {
        let odd = r#"{"data":[{"id":"\u001b[2J sk-0123456789abcdef"}]}"#;
        let shown = "\\u{1b}[2J sk-***".to_owned();
        assert_eq!(finding(odd, "b"), Finding::Missing(vec![shown]));
    }
}
