//! `graygate serve` before an upstream that says, byte for byte, what a test wants it to.

use std::sync::RwLockReadGuard;

use bytes::Bytes;
use reqwest::Client;
use reqwest::header::HeaderMap;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::process::{KEYS, Server, router_file};
use crate::support::in_company;

/// A gateway before an upstream that gives both versions the same answer.
pub(crate) struct Scripted {
    gateway: Server,
    runtime: tokio::runtime::Runtime,
    _upstream: MockServer,
    _folder: tempfile::TempDir,
    _company: RwLockReadGuard<'static, ()>,
}

/// What a caller got.
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|v| v.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

impl Scripted {
    /// A gateway that does not retry, and an upstream with this answer.
    pub(crate) fn new(answer: ResponseTemplate) -> Self {
        let company = in_company();
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let upstream = runtime.block_on(async {
            let upstream = MockServer::start().await;
            Mock::given(any())
                .respond_with(answer)
                .mount(&upstream)
                .await;
            upstream
        });
        let base = format!("{}/v1", upstream.uri());
        let more = "retry: {max_retries: 0}";
        let router = router_file(folder.path(), &base, &base, more);
        let keys = KEYS;
        let gateway = Server::start(&["serve", &router], &keys);
        Self {
            gateway,
            runtime,
            _upstream: upstream,
            _folder: folder,
            _company: company,
        }
    }

    /// An upstream that answers 200 with this JSON.
    pub(crate) fn answering(body: &str) -> Self {
        Self::new(ResponseTemplate::new(200).set_body_raw(body, "application/json"))
    }

    /// Asks stable something.
    pub(crate) fn ask(&self) -> Got {
        let url = format!("{}/chat/completions", self.gateway.base);
        // A client wants cryptography to be chosen, though it meets none here; a second choice does nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let request = Client::new().post(url).body(r#"{"model": "gpt-4.1"}"#);
        self.runtime.block_on(async {
            let response = request.send().await.expect("an answer");
            Got {
                status: response.status().as_u16(),
                headers: response.headers().clone(),
                body: response.bytes().await.expect("a body"),
            }
        })
    }
}
