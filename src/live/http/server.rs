//! The side that is called: accepts connections, as many as there are places, and serves each within
//! limits, so that no caller can hold what others need.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::live::http::body::{BODY_TIMEOUT, MAX_BODY};
use crate::live::http::drain::{Busy, Drain};
use crate::live::http::{Break, Reply, body, files};
use crate::protocol::openai::ErrorReply;

/// Largest request head (first line and headers) that is read; more is answered with 431.
const MAX_HEAD: usize = 64 << 10;
/// Most headers of a request; more are answered with 431.
const MAX_HEADERS: usize = 100;
/// Time for a client to send a request's headers. A connection that is kept for the next request is
/// closed after this time, too.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// What a server takes from its callers, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; further ones wait in the system's queue until one ends.
    pub connections: usize,
    /// Time to send the headers of a request.
    pub header_time: Duration,
    /// Time to send the body of a request.
    pub body_time: Duration,
    /// Bytes of a body.
    pub body_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // As many as the system allows.
            connections: usize::MAX,
            header_time: HEADER_TIMEOUT,
            body_time: BODY_TIMEOUT,
            body_bytes: MAX_BODY,
        }
    }
}

/// Serves HTTP/1.1 on a listener for ever, until `drain` begins: from then on it turns every new
/// request away. `handlers` makes the handler of each connection, and says what is read and written of it.
pub async fn serve<M, S, H, F>(
    listener: TcpListener,
    limits: Limits,
    drain: Arc<Drain>,
    handlers: M,
) where
    M: Fn(TcpStream) -> (S, H),
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    H: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Result<Reply, Break>> + Send + 'static,
{
    let mut places = Places::new(limits.connections);
    loop {
        let place = places.next().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                let (stream, handler) = handlers(stream);
                let drain = drain.clone();
                tokio::spawn(async move {
                    connection(stream, limits, &drain, handler).await;
                    drop(place);
                });
            }
            // Out of file descriptors, most likely: some will be free soon.
            Err(error) => {
                files::note(&error);
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// The places for connections.
struct Places {
    free: Arc<Semaphore>,
    all: usize,
    /// Was it said that there are none left?
    said: bool,
}

impl Places {
    fn new(all: usize) -> Self {
        let all = all.clamp(1, Semaphore::MAX_PERMITS);
        let free = Arc::new(Semaphore::new(all));
        let said = false;
        Self { free, all, said }
    }

    /// The next place, as soon as there is one; none only if there are no places any more.
    async fn next(&mut self) -> Option<OwnedSemaphorePermit> {
        let free = self.free.available_permits();
        if free == 0 && !self.said {
            tracing::warn!("all {} connections are taken: new callers wait", self.all);
        }
        // Said once, until there is room again: not once a caller.
        self.said = (self.said || free == 0) && free <= self.all / 2;
        self.free.clone().acquire_owned().await.ok()
    }
}

/// The way in for the requests of one connection.
#[derive(Clone)]
struct Door {
    drain: Arc<Drain>,
    /// From the first request on, and until the last byte is sent: the connection outlives its handlers.
    busy: Arc<OnceLock<Busy>>,
}

impl Door {
    fn new(drain: Arc<Drain>) -> Self {
        let busy = Arc::default();
        Self { drain, busy }
    }

    fn lets_in(&self) -> bool {
        if self.is_busy() {
            // A connection counts once, however many requests come over it.
            return self.drain.is_open();
        }
        let entered = self.drain.enter();
        entered.map(|busy| self.busy.set(busy)).is_some()
    }

    fn is_busy(&self) -> bool {
        self.busy.get().is_some()
    }
}

async fn connection<S, H, F>(stream: S, limits: Limits, drain: &Arc<Drain>, handler: H)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    H: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Result<Reply, Break>> + Send + 'static,
{
    let door = Door::new(drain.clone());
    let entry = door.clone();
    let is_abrupt = drain.is_abrupt();
    let service = service_fn(move |request| {
        let answer = match entry.lets_in() {
            true => Ok(handler(request)),
            false => {
                entry.drain.note_turned_away();
                Err(request)
            }
        };
        async move {
            match answer {
                Ok(answer) => answer.await,
                Err(_) if is_abrupt => Err(Break),
                Err(request) => Ok(turn_away(request, limits).await),
            }
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = pin!(serving);
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = drain.begun() => {
            // Idle connections close now, others after their answer. On those without a request so
            // far one may be on its way: it deserves an answer.
            if door.is_busy() {
                serving.as_mut().graceful_shutdown();
            }
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended");
    }
}

/// The answer of a server that is about to stop: another one will take the request.
async fn turn_away(request: Request<Incoming>, limits: Limits) -> Reply {
    // Closing a connection that still has bytes to be read would reset it, and the answer with it.
    let _ = body::read(request.into_body(), limits).await;
    let mut reply = super::error(&ErrorReply {
        status: 503,
        message: "the gateway is shutting down: try again".to_owned(),
        kind: "server_error",
        code: "shutting_down",
    });
    super::set(reply.headers_mut(), "retry-after", "1");
    super::set(reply.headers_mut(), "connection", "close");
    reply
}
