//! How a letter is sent: one POST, and what its failure is called. No URL is ever shown: many are
//! secrets.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url, redirect};

use crate::live::gateway::Secret;

use super::mail::Letter;
use super::receivers::{Receiver, ReceiverKind};

/// Longest time for one try.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Where a peer is told, below its address.
const PEER_PATH: &str = "/v1/deployment/rollback";
/// Bears the rollback's id: a receiver that knows it already has nothing to do.
const ROLLBACK_ID: HeaderName = HeaderName::from_static("x-graygate-rollback-id");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Looks an environment variable up.
pub type Variables = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Sends letters.
#[derive(Clone)]
pub struct Post {
    client: Client,
    variables: Variables,
    /// The environment variable of the token that peers want.
    token: &'static str,
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Post")
    }
}

impl Post {
    /// A post office. `variables` knows the addresses that entries name, and `token` what peers want
    /// to see.
    ///
    /// # Errors
    /// When there can be no client, which says why.
    pub fn new(variables: Variables, token: &'static str) -> reqwest::Result<Self> {
        // The client takes the process's provider; another one that is installed is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(TIMEOUT)
            .build()?;
        Ok(Self {
            client,
            variables,
            token,
        })
    }

    /// Sends a letter.
    ///
    /// # Errors
    /// When it was not taken; what is returned says why and bears no secret.
    pub async fn send(&self, letter: &Letter) -> Result<(), String> {
        let url = self.address(&letter.receiver)?;
        let request = self
            .client
            .post(url)
            .headers(self.headers(letter))
            .body(letter.receiver.body.clone());
        let response = request.send().await.map_err(|error| said(&error))?;
        match response.status() {
            status if status.is_success() => Ok(()),
            status => Err(format!("it answered {}", status.as_u16())),
        }
    }

    fn address(&self, receiver: &Receiver) -> Result<Url, String> {
        let entry = receiver.entry.as_str();
        let base = match is_url(entry) {
            true => entry.to_owned(),
            false => {
                (self.variables)(entry).ok_or_else(|| format!("the variable {entry} is not set"))?
            }
        };
        let text = match receiver.kind {
            ReceiverKind::Webhook => base,
            ReceiverKind::Peer => format!("{}{PEER_PATH}", base.trim_end_matches('/')),
        };
        address(&text).ok_or_else(|| "its address is no http:// or https:// URL".to_owned())
    }

    fn headers(&self, letter: &Letter) -> HeaderMap {
        let id = header_text(&letter.rollback_id);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(IDEMPOTENCY_KEY, id.clone());
        headers.insert(ROLLBACK_ID, id);
        let token = match letter.receiver.kind {
            ReceiverKind::Peer => (self.variables)(self.token).map(Secret::new),
            ReceiverKind::Webhook => None,
        };
        let token = token.map(|token| HeaderValue::from_str(&format!("Bearer {}", token.reveal())));
        if let Some(Ok(mut token)) = token {
            token.set_sensitive(true);
            headers.insert(AUTHORIZATION, token);
        }
        headers
    }
}

/// Who a receiver is, for people: the variable's name or the URL's host.
pub fn label(entry: &str) -> String {
    let url = Url::parse(entry).ok().filter(|_| is_url(entry));
    match url
        .as_ref()
        .and_then(|url| Some((url.host_str()?, url.port())))
    {
        Some((host, Some(port))) => format!("{host}:{port}"),
        Some((host, None)) => host.to_owned(),
        None => entry.to_owned(),
    }
}

/// The address that a text is; none when it is no http:// or https:// URL.
pub fn address(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok();
    url.filter(|url| ["http", "https"].contains(&url.scheme()))
}

/// Is an entry of the router file an address itself, and not the name of a variable?
pub fn is_url(entry: &str) -> bool {
    entry.starts_with("http://") || entry.starts_with("https://")
}

/// What went wrong, without the URL.
fn said(error: &reqwest::Error) -> String {
    let what = match error {
        error if error.is_timeout() => "it did not answer in time",
        error if error.is_connect() => "no connection could be had",
        _ => "the connection broke",
    };
    what.to_owned()
}

/// A version's name, which is part of the id, may hold letters that no header can.
fn header_text(id: &str) -> HeaderValue {
    let plain = |c: char| match c.is_ascii_graphic() {
        true => c,
        false => '_',
    };
    let text: String = id.chars().map(plain).collect();
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("rollback"))
}
