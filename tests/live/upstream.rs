//! An upstream in the test's own process that sees what mocks do not tell: protocols, connections, and
//! requests that are given up.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

/// How an upstream behaves.
#[derive(Clone, Debug)]
pub(crate) struct Manner {
    /// The status and body of `GET /v1/models`.
    pub(crate) models: (u16, String),
    /// Do chats wait until they are let go?
    pub(crate) holds: bool,
    /// The protocols it offers over TLS; plain HTTP/1.1 if none.
    pub(crate) alpn: &'static [&'static str],
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            models: (200, listing(&["gpt-4.1", "gpt-4.1-new"])),
            holds: false,
            alpn: &[],
        }
    }
}

/// The body of `GET /v1/models` with these models.
pub(crate) fn listing(models: &[&str]) -> String {
    let data: Vec<_> = models.iter().map(|id| json!({"id": id})).collect();
    json!({"object": "list", "data": data}).to_string()
}

/// What it saw.
#[derive(Debug)]
pub(crate) struct Seen {
    manner: Mutex<Manner>,
    /// Connections that were opened.
    pub(crate) connections: AtomicUsize,
    /// Lists that were asked for.
    pub(crate) lists: AtomicUsize,
    /// Chats that came.
    pub(crate) chats: AtomicUsize,
    /// Chats that were given up before they were answered.
    pub(crate) gone: AtomicUsize,
    /// The protocols of the chats.
    pub(crate) versions: Mutex<Vec<Version>>,
    go: Semaphore,
}

impl Seen {
    /// Lets so many held chats go.
    pub(crate) fn let_go(&self, n: usize) {
        self.go.add_permits(n);
    }

    /// Lists these models from now on.
    pub(crate) fn list(&self, models: &[&str]) {
        self.manner.lock().unwrap().models = (200, listing(models));
    }
}

/// An upstream at work, until it is dropped.
pub(crate) struct Upstream {
    /// `http://127.0.0.1:PORT/v1`, or the same with `https`.
    pub(crate) base: String,
    pub(crate) seen: Arc<Seen>,
    /// The certificate, as a file for `SSL_CERT_FILE`.
    pub(crate) certificate: Option<tempfile::NamedTempFile>,
    _runtime: tokio::runtime::Runtime,
}

impl Upstream {
    pub(crate) fn start(manner: Manner) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("a port");
        let address = listener.local_addr().unwrap();
        let (tls, certificate) = match manner.alpn {
            [] => (None, None),
            alpn => {
                let (acceptor, file) = acceptor(alpn);
                (Some(acceptor), Some(file))
            }
        };
        let scheme = if tls.is_some() { "https" } else { "http" };
        let seen = Arc::new(Seen {
            manner: Mutex::new(manner),
            connections: AtomicUsize::new(0),
            lists: AtomicUsize::new(0),
            chats: AtomicUsize::new(0),
            gone: AtomicUsize::new(0),
            versions: Mutex::default(),
            go: Semaphore::new(0),
        });
        runtime.spawn(accept(listener, tls, seen.clone()));
        Self {
            base: format!("{scheme}://{address}/v1"),
            seen,
            certificate,
            _runtime: runtime,
        }
    }
}

fn acceptor(alpn: &[&str]) -> (TlsAcceptor, tempfile::NamedTempFile) {
    let names = ["127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), made.cert.pem()).expect("a file");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    (TlsAcceptor::from(Arc::new(config)), file)
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, seen: Arc<Seen>) {
    while let Ok((stream, _)) = listener.accept().await {
        seen.connections.fetch_add(1, Ordering::SeqCst);
        let (tls, seen) = (tls.clone(), seen.clone());
        tokio::spawn(async move {
            let Some(tls) = tls else {
                return serve(stream, false, seen).await;
            };
            // Whoever does not trust us hangs up.
            if let Ok(stream) = tls.accept(stream).await {
                let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                serve(stream, is_h2, seen).await;
            }
        });
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    is_h2: bool,
    seen: Arc<Seen>,
) {
    let service = service_fn(move |request| answer(request, seen.clone()));
    let stream = TokioIo::new(stream);
    let _ = match is_h2 {
        true => {
            let server = http2::Builder::new(TokioExecutor::new());
            server.serve_connection(stream, service).await
        }
        false => {
            let server = http1::Builder::new();
            server.serve_connection(stream, service).await
        }
    };
}

/// Counts a chat that is dropped before its answer.
struct Waiting<'s>(&'s Seen, bool);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.1 {
            self.0.gone.fetch_add(1, Ordering::SeqCst);
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    seen: Arc<Seen>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let manner = seen.manner.lock().unwrap().clone();
    if request.uri().path() == "/v1/models" {
        seen.lists.fetch_add(1, Ordering::SeqCst);
        let (status, list) = manner.models;
        return Ok(reply(status, list));
    }
    seen.versions.lock().unwrap().push(request.version());
    let mut waiting = Waiting(&seen, false);
    let _ = request.into_body().collect().await;
    seen.chats.fetch_add(1, Ordering::SeqCst);
    if manner.holds {
        seen.go.acquire().await.expect("it is open").forget();
    }
    waiting.1 = true;
    let body = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": "gpt-4.1",
        "choices": [{
            "index": 0, "finish_reason": "stop",
            "message": {"role": "assistant", "content": "hello"},
        }],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    });
    Ok(reply(200, body.to_string()))
}

fn reply(status: u16, body: String) -> Response<Full<Bytes>> {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .expect("a response")
}

/// How long a test waits for something that must not happen.
pub(crate) const A_WHILE: Duration = Duration::from_millis(100);
