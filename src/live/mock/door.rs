//! An upstream that nobody gets a connection to, for the whole of a run.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

use crate::fault::kind::FaultKind;

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
    /// A door that is shut as this fault says.
    ///
    /// # Errors
    /// When the system has no port.
    pub fn new(fault: FaultKind) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
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

/// Answers whoever says hello in TLS as a server does that knows only plain HTTP.
async fn turn_away(listener: TcpListener) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        tokio::spawn(async move {
            let mut hello = [0; 4_096];
            let read = tokio::time::timeout(PATIENCE, stream.read(&mut hello)).await;
            if matches!(read, Ok(Ok(n)) if n > 0) {
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            }
        });
    }
}
