//! TLS before a mock: a certificate of the run's own, which the gateway believes, except while a fault spoils the
//! handshake. What is behind it speaks plain HTTP and knows nothing of it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::live::clock::Clock;
use crate::live::mock::door::{LOOK, turn_one_away};
use crate::time::Timestamp;

/// A port that speaks TLS, most of the time.
pub struct Veil {
    listener: TcpListener,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    certificate: CertificateDer<'static>,
}

impl Veil {
    /// A veil on a port of its own.
    ///
    /// # Errors
    /// When the system has no port, or no randomness for a key.
    pub async fn new() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]);
        let made = made.map_err(io::Error::other)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let certificate = made.cert.der().clone();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .map_err(io::Error::other)?;
        Ok(Self {
            address: listener.local_addr()?,
            listener,
            acceptor: TlsAcceptor::from(Arc::new(config)),
            certificate,
        })
    }

    /// The address that callers are told.
    pub fn base(&self) -> String {
        format!("https://{}/v1", self.address)
    }

    /// What must be believed to speak to it.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    /// Lets connections through to `target` until the runtime ends. While it is torn, handshakes fail, and connections
    /// that there are end.
    pub async fn stand(
        self,
        clock: Clock,
        is_torn: impl Fn(Timestamp) -> bool,
        target: SocketAddr,
    ) {
        let mut through = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => Some(accepted),
                () = clock.sleep(LOOK) => None,
            };
            let is_torn = is_torn(clock.now());
            if is_torn {
                through.abort_all();
            }
            while through.try_join_next().is_some() {}
            if let Some(Ok((stream, _))) = accepted {
                match is_torn {
                    true => drop(tokio::spawn(turn_one_away(stream))),
                    false => {
                        through.spawn(pass(stream, self.acceptor.clone(), target));
                    }
                }
            }
        }
    }
}

/// Passes one connection through. How the mock's side ends, the other one does.
async fn pass(stream: TcpStream, acceptor: TlsAcceptor, target: SocketAddr) {
    let _ = stream.set_nodelay(true);
    let Ok(mut outside) = acceptor.accept(stream).await else {
        return;
    };
    let Ok(mut inside) = TcpStream::connect(target).await else {
        return;
    };
    let _ = inside.set_nodelay(true);
    let copied = copy_bidirectional(&mut outside, &mut inside).await;
    if copied.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset) {
        let (socket, _) = outside.get_ref();
        let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
    }
}
