//! Connections to one upstream that speaks HTTP/1.1 without TLS, kept for the next request.
//!
//! The request's own task drives its connection: nothing is spawned, and no task has to wake another
//! one to hand a request or an answer over, which is what a general client spends most of its time on.
//! An attempt that is dropped takes its connection with it.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper::header::{HOST, HeaderValue};
use hyper::http::response::Parts;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::live::clock::Clock;
use crate::live::http::files;
use crate::time::Timestamp;

/// Any error.
type AnyError = Box<dyn Error + Send + Sync>;

/// Most connections that are kept idle.
const MAX_IDLE: usize = 4_096;

/// Why there is no whole answer.
#[derive(Debug)]
pub enum Lost {
    /// There was no connection to be had, or not in time.
    Connect(AnyError),
    /// It broke before the head of the answer was there.
    Head(hyper::Error),
    /// The body was too large, or did not come whole.
    Body(AnyError),
}

/// A body is announced as larger than anybody wants to read.
#[derive(Debug)]
pub struct TooLarge;

impl std::fmt::Display for TooLarge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the body is announced as larger than the limit")
    }
}

impl Error for TooLarge {}

/// The connections to one upstream.
#[derive(Clone, Debug)]
pub struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    address: Uri,
    /// What the request line says.
    path: Uri,
    host: HeaderValue,
    connector: HttpConnector,
    clock: Clock,
    /// How long it may take to connect.
    limit: Duration,
    /// How long a connection may be idle.
    patience: Duration,
    idle: Mutex<Idle>,
}

/// Connections that rest, the one used last at the end.
#[derive(Debug, Default)]
struct Idle {
    // Each on the heap once for all its life: a line is large, and goes to and fro with every request.
    lines: Vec<(Timestamp, Box<Line>)>,
    /// Does somebody look after those that are idle for too long?
    is_swept: bool,
}

impl Connections {
    /// Connections for requests to `address`, made within `limit`, kept for so long when they are idle.
    /// None when this is no plain HTTP.
    pub fn new(address: &Uri, patience: Duration, limit: Duration) -> Option<Self> {
        if address.scheme_str() != Some("http") {
            return None;
        }
        let host = address.host()?;
        let port = address.port_u16().filter(|port| *port != 80);
        let host = port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let path = address.path_and_query()?.as_str();
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Some(Self(Arc::new(Shared {
            address: address.clone(),
            path: path.parse().ok()?,
            host: HeaderValue::from_str(&host).ok()?,
            connector,
            clock: Clock::starting_now(),
            limit,
            patience,
            idle: Mutex::default(),
        })))
    }

    /// How many connections rest that can still be used. Those that the other side has closed go.
    pub fn resting(&self) -> usize {
        let lines = &mut self.0.lock().lines;
        lines.retain_mut(|(_, line)| line.rests());
        lines.len()
    }

    /// Sends a request and waits for the whole answer, with a body of at most `limit` bytes.
    ///
    /// # Errors
    /// When there is no whole answer.
    pub async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        limit: usize,
    ) -> Result<(Parts, Bytes), Lost> {
        let (head, coming) = self.begin(request).await?;
        // What is announced as too large is not read first.
        if coming.size_hint().lower() > limit as u64 {
            return Err(Lost::Body(Box::new(TooLarge)));
        }
        let body = Limited::new(coming, limit).collect().await;
        Ok((head, body.map_err(Lost::Body)?.to_bytes()))
    }

    /// Sends a request and waits for the head of the answer; the body comes as it is read. It is sent
    /// once: a connection that breaks with it is an answer that is lost.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn begin(&self, mut request: Request<Full<Bytes>>) -> Result<(Parts, Coming), Lost> {
        *request.uri_mut() = self.0.path.clone();
        request.headers_mut().insert(HOST, self.0.host.clone());
        let mut line = match self.0.rested() {
            Some(line) => line,
            None => self.0.connect_in_time().await.map_err(Lost::Connect)?,
        };
        let response = line.send(request).await.map_err(Lost::Head)?;
        let (head, body) = response.into_parts();
        let coming = Coming {
            body,
            line: Some(line),
            home: self.0.clone(),
        };
        Ok((head, coming))
    }
}

/// The body of an answer on its way. Read to its end, it gives its connection back; dropped before, it
/// takes it along.
#[derive(Debug)]
pub struct Coming {
    body: Incoming,
    line: Option<Box<Line>>,
    home: Arc<Shared>,
}

impl Body for Coming {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let mut frame = Pin::new(&mut this.body).poll_frame(context);
        // Asked first: the connection reads a body only once somebody wants it.
        if let (Poll::Pending, Some(line)) = (&frame, &mut this.line) {
            line.work(context);
            frame = Pin::new(&mut this.body).poll_frame(context);
        }
        if let Poll::Ready(None) = frame
            && let Some(line) = this.line.take_if(|line| !line.is_over)
        {
            // Whether the other side keeps it as well shows when the next request wants it.
            this.home.keep(line);
        }
        frame
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }

    fn is_end_stream(&self) -> bool {
        // Only who reads the end gives the connection back.
        self.line.is_none() && self.body.is_end_stream()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Idle> {
        // Nothing in here panics half-way.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect_in_time(&self) -> Result<Box<Line>, AnyError> {
        match tokio::time::timeout(self.limit, self.connect()).await {
            Ok(connected) => connected.inspect_err(|error| files::note(&**error)),
            Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        }
    }

    async fn connect(&self) -> Result<Box<Line>, AnyError> {
        let mut connector = self.connector.clone();
        poll_fn(|context| connector.poll_ready(context)).await?;
        let stream = connector.call(self.address.clone()).await?;
        let (sender, work) = http1::handshake(stream).await?;
        let is_over = false;
        Ok(Box::new(Line {
            sender,
            work,
            is_over,
        }))
    }

    /// A connection that rested, is still open, and not idle for too long.
    fn rested(&self) -> Option<Box<Line>> {
        let latest = self.clock.now() - self.patience;
        loop {
            let (since, mut line) = self.lock().lines.pop()?;
            if since >= latest && line.rests() {
                return Some(line);
            }
        }
    }

    fn keep(self: &Arc<Self>, line: Box<Line>) {
        let now = self.clock.now();
        let mut idle = self.lock();
        if idle.lines.len() < MAX_IDLE {
            idle.lines.push((now, line));
        }
        if !idle.is_swept {
            idle.is_swept = true;
            tokio::spawn(sweep(Arc::downgrade(self), self.patience));
        }
    }

    /// Closes what is idle for too long. Is there anything left?
    fn close_idle(&self) -> bool {
        let latest = self.clock.now() - self.patience;
        let mut idle = self.lock();
        idle.lines.retain(|(since, _)| *since >= latest);
        idle.is_swept = !idle.lines.is_empty();
        idle.is_swept
    }
}

/// Closes idle connections as long as there are any.
async fn sweep(shared: Weak<Shared>, patience: Duration) {
    loop {
        let Some(clock) = shared.upgrade().map(|shared| shared.clock) else {
            return;
        };
        clock.sleep(patience).await;
        if !shared.upgrade().is_some_and(|shared| shared.close_idle()) {
            return;
        }
    }
}

/// A connection, with the work that it takes to move bytes over it.
#[derive(Debug)]
struct Line {
    sender: SendRequest<Full<Bytes>>,
    work: Connection<TokioIo<TcpStream>, Full<Bytes>>,
    /// Has it ended?
    is_over: bool,
}

impl Line {
    async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        let response = self.sender.send_request(request);
        self.working_for(response).await
    }

    /// Waits for something that comes over this connection.
    async fn working_for<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|context| {
            // Asked first: the connection reads a body only once somebody wants it.
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(output);
            }
            self.work(context);
            future.as_mut().poll(context)
        })
        .await
    }

    fn work(&mut self, context: &mut Context<'_>) {
        if !self.is_over {
            // How it ended is told to whoever waits for an answer on it.
            self.is_over = Pin::new(&mut self.work).poll(context).is_ready();
        }
    }

    /// Can the next request take it? No, when the other side has closed it meanwhile.
    fn rests(&mut self) -> bool {
        self.work(&mut Context::from_waker(Waker::noop()));
        !self.is_over && self.sender.is_ready()
    }
}
