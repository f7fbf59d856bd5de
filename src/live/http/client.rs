//! The side that calls: pools of connections, with TLS where the address asks for it.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Uri;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tower_service::Service;

/// How long an idle connection is kept for the next request: less than servers keep it (uvicorn and Node
/// close after 5 s), so that none is used again at the moment it is closed.
pub const POOL_IDLE: Duration = Duration::from_secs(4);
/// Time to open a connection, TLS included.
pub const CONNECT_TIME: Duration = Duration::from_secs(5);
/// How often an HTTP/2 connection with requests under way is asked whether it is still alive.
const PING_EVERY: Duration = Duration::from_secs(15);
/// Time to answer that.
const PING_TIME: Duration = Duration::from_secs(10);

/// A client of other HTTP servers, with a pool of connections.
pub type Pool = Client<HttpConnector, Full<Bytes>>;

/// The same where `https://` is spoken, too: HTTP/2 with servers that offer it, HTTP/1.1 with others.
pub type SecurePool = Client<Timely<HttpsConnector<HttpConnector>>, Full<Bytes>>;

/// Whose certificates are believed.
#[derive(Clone, Debug)]
pub struct Trust(ClientConfig);

impl Trust {
    /// Nobody's: for those who only speak plain HTTP.
    pub fn nobody() -> Self {
        let roots = RootCertStore::empty();
        Self(
            builder()
                .with_root_certificates(roots)
                .with_no_client_auth(),
        )
    }

    /// The system's, or those that `SSL_CERT_FILE` or `SSL_CERT_DIR` name.
    ///
    /// # Errors
    /// When there are none.
    pub fn system() -> io::Result<Self> {
        Ok(Self(builder().with_native_roots()?.with_no_client_auth()))
    }

    /// The owners of these certificates.
    pub fn only(certificates: Vec<CertificateDer<'static>>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates);
        Self(
            builder()
                .with_root_certificates(roots)
                .with_no_client_auth(),
        )
    }

    /// The same as rustls knows it.
    pub fn config(&self) -> ClientConfig {
        self.0.clone()
    }
}

#[allow(
    clippy::expect_used,
    reason = "ring knows the default versions of TLS: nothing that is read can change that"
)]
fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)
        .expect("the default versions of TLS")
}

/// A client that keeps idle connections for so long.
pub fn pool(idle: Duration) -> Pool {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    client(connector, idle)
}

/// A client that keeps idle connections for so long, and gives up connecting after `connect`.
pub fn secure_pool(idle: Duration, connect: Duration, trust: &Trust) -> SecurePool {
    let mut plain = HttpConnector::new();
    plain.set_nodelay(true);
    // Or it would refuse https:// addresses.
    plain.enforce_http(false);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(trust.config())
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(plain);
    let limit = connect;
    client(Timely { connector, limit }, idle)
}

fn client<C>(connector: C, idle: Duration) -> Client<C, Full<Bytes>>
where
    C: Connect + Clone,
{
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(idle)
        // A connection that died silently would swallow every request that comes after.
        .http2_keep_alive_interval(PING_EVERY)
        .http2_keep_alive_timeout(PING_TIME)
        // Whether to try again is the router's decision alone, and a request that is sent twice would
        // be counted twice.
        .retry_canceled_requests(false)
        .build(connector)
}

/// A connector whose connections are there within a limit, or not at all.
#[derive(Clone, Debug)]
pub struct Timely<C> {
    connector: C,
    limit: Duration,
}

/// A connection to come.
type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, Box<dyn Error + Send + Sync>>> + Send>>;

impl<C> Service<Uri> for Timely<C>
where
    C: Service<Uri>,
    C::Error: Into<Box<dyn Error + Send + Sync>>,
    C::Future: Send + 'static,
{
    type Response = C::Response;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Connecting<C::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.connector.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connected = tokio::time::timeout(self.limit, self.connector.call(uri));
        Box::pin(async move {
            match connected.await {
                Ok(connected) => connected.map_err(Into::into),
                Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http_body_util::BodyExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::live::http::drain::Drain;
    use crate::live::http::json;
    use crate::live::http::server::{Limits, serve};

    #[tokio::test]
    async fn idle_connections_are_not_kept_for_ever() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri: Uri = format!("http://{}/", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        let drain = Arc::new(Drain::default());
        tokio::spawn(serve(listener, Limits::default(), drain, move |stream| {
            count.fetch_add(1, Ordering::Relaxed);
            (stream, |_| std::future::ready(Ok(json(200, "{}"))))
        }));
        let brief = pool(Duration::from_millis(1));
        while connections.load(Ordering::Relaxed) < 2 {
            let answer = brief.get(uri.clone()).await.unwrap();
            answer.collect().await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Somebody listens and never speaks TLS.
    #[tokio::test]
    async fn a_handshake_that_hangs_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let uri: Uri = format!("https://{address}/").parse().unwrap();
        let limit = Duration::from_millis(20);
        let error = secure_pool(POOL_IDLE, limit, &Trust::nobody())
            .get(uri)
            .await
            .unwrap_err();
        assert!(error.is_connect());
        let source = error.source().and_then(|e| e.downcast_ref::<io::Error>());
        assert_eq!(source.map(io::Error::kind), Some(io::ErrorKind::TimedOut));
    }
}
