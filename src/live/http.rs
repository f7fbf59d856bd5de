//! What gateway and mocks share as HTTP servers.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use crate::protocol::openai::ErrorReply;

/// Largest body of a request that is read.
pub const MAX_BODY: usize = 16 << 20;
/// Time for a client to send its headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// A complete response.
pub type Reply = Response<Full<Bytes>>;

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

/// Why a request's body is of no use.
#[derive(Debug)]
pub enum BadBody {
    /// Larger than [`MAX_BODY`].
    TooLarge,
    /// The connection broke.
    Broken,
}

/// The whole body of a request.
///
/// # Errors
/// When it is too large or does not arrive.
pub async fn body(request: Incoming) -> Result<Bytes, BadBody> {
    match Limited::new(request, MAX_BODY).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(BadBody::TooLarge),
        Err(_) => Err(BadBody::Broken),
    }
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

/// The answer to a body that was not read to its end: nothing more can be read on this connection.
pub fn too_large() -> Reply {
    let mib = MAX_BODY >> 20;
    let message = format!("the request body is larger than {mib} MiB");
    let mut reply = refuse(413, "request_too_large", message);
    set(reply.headers_mut(), "connection", "close");
    reply
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

/// Binds a TCP port on the loopback interface; 0 lets the system choose.
///
/// # Errors
/// When the port cannot be had.
pub async fn bind(address: &str) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}
