//! What gateway and mocks share as HTTP servers.

use std::convert::Infallible;
use std::future::Future;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use crate::protocol::openai::ErrorReply;

/// Largest body of a request that is read.
pub const MAX_BODY: usize = 16 << 20;
/// Time for a client to send its headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for a client to send its body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an idle connection is kept for the next request: less than servers keep it (uvicorn and Node
/// close after 5 s), so that none is used again at the moment it is closed.
pub const POOL_IDLE: Duration = Duration::from_secs(4);

/// A complete response.
pub type Reply = Response<Full<Bytes>>;

/// A client of other HTTP servers, with a pool of connections.
pub type Pool = Client<HttpConnector, Full<Bytes>>;

/// The wish to break the connection instead of answering.
#[derive(Debug)]
pub struct Break;

impl std::fmt::Display for Break {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection is broken on purpose")
    }
}

impl std::error::Error for Break {}

impl From<Infallible> for Break {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// A connection that can be reset: closed so that the other side sees a reset, no clean end.
#[derive(Debug)]
pub struct Resettable {
    socket: Option<OwnedFd>,
}

impl Resettable {
    /// The connection of this stream. It takes a file descriptor of its own.
    pub fn of(stream: &TcpStream) -> Self {
        Self {
            socket: stream.as_fd().try_clone_to_owned().ok(),
        }
    }

    /// From now on, closing the connection resets it: nothing lingers that could still be sent.
    pub fn arm(&self) {
        if let Some(socket) = &self.socket {
            let _ = rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO));
        }
    }
}

/// Serves HTTP/1.1 on a listener for ever. `handlers` makes the handler of each connection.
pub async fn serve<M, H, F>(listener: TcpListener, handlers: M)
where
    M: Fn(&TcpStream) -> H,
    H: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Result<Reply, Break>> + Send + 'static,
{
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let handler = handlers(&stream);
                tokio::spawn(connection(stream, handler));
            }
            // Out of file descriptors, most likely: some will be free soon.
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

async fn connection<H, F>(stream: TcpStream, handler: H)
where
    H: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Result<Reply, Break>> + Send + 'static,
{
    let _ = stream.set_nodelay(true);
    let service = service_fn(handler);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended");
    }
}

/// Why a request's body was not read to its end.
#[derive(Debug)]
pub enum Unread {
    /// Larger than [`MAX_BODY`].
    TooLarge,
    /// Not there in time.
    TooSlow,
    /// The connection broke.
    Broken,
}

/// The whole body of a request, for which its client has so much time.
///
/// # Errors
/// When it is too large or does not arrive.
pub async fn body(request: Incoming, time: Duration) -> Result<Bytes, Unread> {
    let whole = Limited::new(request, MAX_BODY).collect();
    match tokio::time::timeout(time, whole).await {
        Err(_) => Err(Unread::TooSlow),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Unread::TooLarge),
        Ok(Err(_)) => Err(Unread::Broken),
    }
}

impl Unread {
    /// What the client is told. Nothing more can be read on its connection, so that is closed.
    ///
    /// # Errors
    /// When there is no connection any more.
    pub fn reply(self) -> Result<Reply, Break> {
        let mut reply = match self {
            Self::TooLarge => {
                let mib = MAX_BODY >> 20;
                let message = format!("the request body is larger than {mib} MiB");
                refuse(413, "request_too_large", message)
            }
            Self::TooSlow => {
                let message = "the request body did not arrive in time";
                refuse(408, "request_timeout", message)
            }
            Self::Broken => return Err(Break),
        };
        set(reply.headers_mut(), "connection", "close");
        Ok(reply)
    }
}

/// A client that keeps idle connections for so long.
pub fn pool(idle: Duration) -> Pool {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(idle)
        // Whether to try again is the router's decision alone, and a request that is sent twice would
        // be counted twice.
        .retry_canceled_requests(false)
        .build(connector)
}

/// A JSON response.
pub fn json(status: u16, body: impl Into<Bytes>) -> Reply {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// An error in OpenAI's envelope.
pub fn error(reply: &ErrorReply) -> Reply {
    json(reply.status, reply.body())
}

/// An error about the request itself.
pub fn refuse(status: u16, code: &'static str, message: impl Into<String>) -> Reply {
    error(&ErrorReply {
        status,
        message: message.into(),
        kind: "invalid_request_error",
        code,
    })
}

/// The text of a header.
pub fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// Sets a header, unless the value cannot be one.
pub fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A server that reads a request's body and gives its length; it counts its connections.
    async fn counting() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let connections = count.clone();
        let handler = async |request: Request<Incoming>| {
            let time = Duration::from_millis(30);
            match body(request.into_body(), time).await {
                Ok(body) => Ok(json(200, body.len().to_string())),
                Err(unread) => unread.reply(),
            }
        };
        tokio::spawn(serve(listener, move |_| {
            connections.fetch_add(1, Ordering::Relaxed);
            move |request| Box::pin(handler(request))
        }));
        (address, count)
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let (address, _) = counting().await;
        let mut caller = TcpStream::connect(address).await.unwrap();
        let unfinished = b"POST / HTTP/1.1\r\nhost: here\r\ncontent-length: 10\r\n\r\nabc";
        caller.write_all(unfinished).await.unwrap();
        let mut answer = String::new();
        // Ends only because the server closes the connection.
        caller.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains("\"code\":\"request_timeout\""), "{answer}");
        assert!(answer.contains("invalid_request_error"), "{answer}");
    }

    #[tokio::test]
    async fn idle_connections_are_not_kept_for_ever() {
        let (address, connections) = counting().await;
        let uri: hyper::Uri = format!("http://{address}/").parse().unwrap();
        let brief = pool(Duration::from_millis(1));
        while connections.load(Ordering::Relaxed) < 2 {
            brief
                .get(uri.clone())
                .await
                .unwrap()
                .collect()
                .await
                .unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
