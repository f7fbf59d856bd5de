//! Talks to an admin API.

use std::fmt;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, IF_MATCH};
use reqwest::redirect::Policy;
use reqwest::{Method, Url};
use serde_json::Value;

use crate::cli::serve::admin::TOKEN;

/// Time to connect, and for a whole answer: the API gives up on its store sooner.
const CONNECT_TIME: Duration = Duration::from_secs(5);
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// What was asked makes no sense.
    Usage(String),
    /// Nobody answers there, or somebody who is no admin API.
    Unreachable(String),
    /// The API said no.
    Refused {
        /// HTTP status.
        status: u16,
        /// For programs.
        code: String,
        /// For people.
        message: String,
    },
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(why) | Self::Unreachable(why) => f.write_str(why),
            Self::Refused {
                status,
                code,
                message,
            } => {
                write!(f, "refused ({status} {code}): {message}")?;
                match status {
                    401 => write!(f, "\n   = hint: export the gateway's token as {TOKEN}"),
                    _ => Ok(()),
                }
            }
        }
    }
}

/// A question to the API.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    method: Method,
    path: String,
    body: Vec<u8>,
}

impl Ask {
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path, Vec::new())
    }

    pub(super) fn post(path: impl Into<String>, body: Value) -> Self {
        Self::new(Method::POST, path, body.to_string().into_bytes())
    }

    pub(super) fn put(path: impl Into<String>, body: Vec<u8>) -> Self {
        Self::new(Method::PUT, path, body)
    }

    fn new(method: Method, path: impl Into<String>, body: Vec<u8>) -> Self {
        let path = path.into();
        Self { method, path, body }
    }
}

/// An answer of the API.
pub(super) struct Told {
    /// What it says.
    pub(super) value: Value,
    /// As it came, in its own order.
    pub(super) text: String,
}

/// A client of one API.
pub(super) struct Client {
    base: String,
    headers: HeaderMap,
}

impl Client {
    pub(super) fn new(url: &str, token: Option<String>) -> Result<Self, Trouble> {
        let wrong = || Trouble::Usage("--url must look like http://127.0.0.1:8081".to_owned());
        let parsed = Url::parse(url).map_err(|_| wrong())?;
        let is_http = matches!(parsed.scheme(), "http" | "https");
        // A token belongs into its variable, and what is in an address gets into logs.
        let is_plain = parsed.username().is_empty() && parsed.password().is_none();
        if !is_http || !is_plain || parsed.query().is_some() {
            return Err(wrong());
        }
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
                let message = format!("the token in {TOKEN} holds characters that no token has");
                Trouble::Usage(message)
            })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let base = url.trim_end_matches('/').to_owned();
        Ok(Self { base, headers })
    }

    /// Asks, and waits for the answer.
    pub(super) fn ask(mut self, ask: &Ask, revision: Option<u64>) -> Result<Told, Trouble> {
        if let Some(revision) = revision {
            let tag = HeaderValue::from_str(&format!("\"{revision}\""));
            tag.map(|tag| self.headers.insert(IF_MATCH, tag)).ok();
        }
        let broken = |e: std::io::Error| Trouble::Unreachable(format!("cannot start: {e}"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(broken)?;
        runtime.block_on(self.send(ask))
    }

    async fn send(&self, ask: &Ask) -> Result<Told, Trouble> {
        // Refused when there is one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIME)
            .timeout(ANSWER_TIME)
            .default_headers(self.headers.clone())
            .build()
            .map_err(|e| self.unreachable(&e))?;
        let url = format!("{}{}", self.base, ask.path);
        let request = client.request(ask.method.clone(), url);
        let sent = request.body(ask.body.clone()).send().await;
        let response = sent.map_err(|e| self.unreachable(&e))?;
        let status = response.status().as_u16();
        let body = response.bytes().await.map_err(|e| self.unreachable(&e))?;
        let text = String::from_utf8_lossy(&body).into_owned();
        let value: Option<Value> = serde_json::from_slice(&body).ok();
        match (status, value) {
            (200..=299, Some(value)) => Ok(Told { value, text }),
            (_, Some(body)) if body["error"].is_object() => Err(refused(status, &body["error"])),
            _ => {
                let message = format!("{} is no admin API: it answered {status}", self.base);
                Err(Trouble::Unreachable(message))
            }
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> Trouble {
        let mut why = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(inner) = source {
            why = inner.to_string();
            source = inner.source();
        }
        Trouble::Unreachable(format!(
            "cannot reach the admin API at {}: {why}\n   = hint: is `graygate serve` running there? \
             It says the address at its start; name it by --url",
            self.base
        ))
    }
}

fn refused(status: u16, error: &Value) -> Trouble {
    let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
    Trouble::Refused {
        status,
        code: text("code"),
        message: text("message"),
    }
}
