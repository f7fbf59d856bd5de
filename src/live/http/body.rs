//! The bodies of requests, read within limits.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;

use crate::live::http::server::Limits;
use crate::live::http::{Break, Reply, refuse, set};

/// Largest body of a request that is read.
pub const MAX_BODY: usize = 16 << 20;
/// Largest answer that is read, of an upstream or a gateway: far more than any chat completion.
pub const MAX_ANSWER: usize = 64 << 20;
/// Time for a client to send its body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the rest of a body that is too large is read and thrown away. A client that still sends when
/// its connection is closed sees a reset, and never the answer that says why.
const LINGER: Duration = Duration::from_secs(2);

/// Why a request's body was not read to its end.
#[derive(Debug)]
pub enum Unread {
    /// Larger than this many bytes.
    TooLarge(usize),
    /// Not there in time.
    TooSlow,
    /// The connection broke.
    Broken,
}

/// The whole body of a request.
///
/// # Errors
/// When it is larger than the limits allow, or does not arrive in time.
pub async fn read(mut body: Incoming, limits: Limits) -> Result<Bytes, Unread> {
    let whole = Limited::new(&mut body, limits.body_bytes).collect();
    match tokio::time::timeout(limits.body_time, whole).await {
        Err(_) => Err(Unread::TooSlow),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            linger(body).await;
            Err(Unread::TooLarge(limits.body_bytes))
        }
        Ok(Err(_)) => Err(Unread::Broken),
    }
}

async fn linger(mut body: Incoming) {
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    let _ = tokio::time::timeout(LINGER, rest).await;
}

impl Unread {
    /// What the client is told. Nothing more can be read on its connection, so that is closed.
    ///
    /// # Errors
    /// When there is no connection any more.
    pub fn reply(self) -> Result<Reply, Break> {
        let mut reply = match self {
            Self::TooLarge(limit) => {
                let message = format!("the request body is larger than {} MiB", limit >> 20);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hyper::Request;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::live::http::drain::Drain;
    use crate::live::http::json;
    use crate::live::http::server::serve;

    #[tokio::test]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits = Limits {
            body_time: Duration::from_millis(30),
            ..Limits::default()
        };
        let handler = move |request: Request<Incoming>| async move {
            match read(request.into_body(), limits).await {
                Ok(body) => Ok(json(200, body.len().to_string())),
                Err(unread) => unread.reply(),
            }
        };
        let drain = Arc::new(Drain::default());
        tokio::spawn(serve(listener, limits, drain, move |stream| {
            (stream, handler)
        }));
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
}
