//! Upstreams that nobody gets a connection to: for the whole of a run, or now and then.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::fault::kind::FaultKind;
use crate::live::clock::Clock;
use crate::live::http::drain::Drain;
use crate::time::Timestamp;

/// A door that stays shut.
#[derive(Debug)]
pub struct ClosedDoor {
    address: SocketAddr,
    behind: Behind,
}

#[derive(Debug)]
enum Behind {
    /// A port that is taken, so that nobody else gets it, and on which nobody listens.
    Nobody(TcpSocket),
    /// Somebody who is asked for TLS, and does not speak it.
    Stranger(TcpListener),
}

/// How long a stranger waits for the first words.
const PATIENCE: Duration = Duration::from_secs(5);

impl ClosedDoor {
    /// A door on this port (0: any) that is shut as this fault says.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub fn new(fault: FaultKind, port: u16) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        Ok(Self {
            address: socket.local_addr()?,
            behind: match fault {
                FaultKind::TlsFailure => Behind::Stranger(socket.listen(128)?),
                _ => Behind::Nobody(socket),
            },
        })
    }

    /// The address that callers are told.
    pub fn base(&self) -> String {
        let scheme = match self.behind {
            Behind::Nobody(_) => "http",
            Behind::Stranger(_) => "https",
        };
        format!("{scheme}://{}/v1", self.address)
    }

    /// Keeps it shut until the runtime ends.
    pub fn stand(self) {
        tokio::spawn(async move {
            match self.behind {
                Behind::Nobody(socket) => {
                    std::future::pending::<()>().await;
                    drop(socket);
                }
                Behind::Stranger(listener) => turn_away(listener).await,
            }
        });
    }
}

/// A door that opens and shuts in the course of a run.
#[derive(Debug)]
pub struct Doorway {
    address: SocketAddr,
    /// Holds the port while nobody listens on it.
    holder: TcpSocket,
}

/// How often a doorway is looked after: it opens and shuts so much late, at most.
pub(super) const LOOK: Duration = Duration::from_millis(2);

impl Doorway {
    /// A doorway on this port (0: any), shut so far.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub fn new(port: u16) -> io::Result<Self> {
        let holder = shared_socket(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        let address = holder.local_addr()?;
        Ok(Self { address, holder })
    }

    /// The address that callers are told.
    pub fn base(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Opens and shuts it until the runtime ends. While it is open, `serve` serves a listener, until the drain begins:
    /// then idle connections are closed, and others after their answer.
    pub async fn stand<F>(
        self,
        clock: Clock,
        is_shut: impl Fn(Timestamp) -> bool,
        serve: impl Fn(TcpListener, Arc<Drain>) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        loop {
            while is_shut(clock.now()) {
                clock.sleep(LOOK).await;
            }
            match self.open() {
                Ok(listener) => {
                    let drain = Arc::new(Drain::abrupt());
                    let serving = tokio::spawn(serve(listener, drain.clone()));
                    while !is_shut(clock.now()) {
                        clock.sleep(LOOK).await;
                    }
                    // The listener is closed before anybody is told.
                    serving.abort();
                    let _ = serving.await;
                    drain.begin();
                }
                Err(error) => {
                    tracing::warn!(%error, "a mock cannot listen again");
                    clock.sleep(LOOK).await;
                }
            }
        }
    }

    /// One more listener on it.
    ///
    /// # Errors
    /// When the system has no more.
    pub fn open(&self) -> io::Result<TcpListener> {
        shared_socket(self.holder.local_addr()?)?.listen(1_024)
    }
}

/// A socket on an address that others of this process may have, too.
fn shared_socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Answers whoever says hello in TLS as a server does that knows only plain HTTP.
async fn turn_away(listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        tokio::spawn(turn_one_away(stream));
    }
}

/// Answers one who says hello in TLS as a server does that knows only plain HTTP.
pub(super) async fn turn_one_away(mut stream: TcpStream) {
    let mut hello = [0; 4_096];
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut hello)).await;
    if matches!(read, Ok(Ok(n)) if n > 0) {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    }
}
