//! By what a gateway shows that it is ready.

use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use tokio::net::TcpStream;

use crate::experiment::external::Ready;
use crate::live::http;
use crate::live::http::client::{POOL_IDLE, Pool, pool};
use crate::live::target::slots::Slots;

/// How often a gateway is asked.
const AGAIN: Duration = Duration::from_millis(20);
/// Longest wait for an answer, before it is asked again.
const PATIENCE: Duration = Duration::from_secs(5);

/// Waits until a gateway is ready, for ever if it never is.
pub(super) async fn wait(ready: &Ready, slots: &Slots<'_>) {
    let client = pool(POOL_IDLE);
    loop {
        let is_ready = match ready {
            Ready::Tcp => accepts(slots.port).await,
            Ready::Http(path) => {
                let url = slots.url(path);
                let asked = answers(&client, &url, &slots.key);
                let answer = tokio::time::timeout(PATIENCE, asked).await;
                answer.unwrap_or_default()
            }
        };
        if is_ready {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn accepts(port: u16) -> bool {
    let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else {
        return false;
    };
    // Before anybody listens, the system may choose this very port for the caller, who then meets itself.
    match (stream.local_addr(), stream.peer_addr()) {
        (Ok(own), Ok(other)) => own != other,
        _ => false,
    }
}

/// Is a GET answered with 2xx?
async fn answers(client: &Pool, url: &str, key: &str) -> bool {
    let Ok(mut request) = Request::get(url).body(Full::<Bytes>::default()) else {
        return false;
    };
    // Some gateways tell nobody else.
    http::set(
        request.headers_mut(),
        "authorization",
        &format!("Bearer {key}"),
    );
    let answer = client.request(request).await;
    answer.is_ok_and(|answer| answer.status().is_success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_accepts_is_ready_and_one_that_does_not_is_not() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(accepts(port).await);
        drop(listener);
        assert!(!accepts(port).await);
    }

    #[tokio::test]
    async fn only_an_answer_with_2xx_is_ready() {
        let server = ::wiremock::MockServer::start().await;
        let fine = ::wiremock::Mock::given(::wiremock::matchers::path("/fine"));
        fine.respond_with(::wiremock::ResponseTemplate::new(204))
            .mount(&server)
            .await;
        let client = pool(POOL_IDLE);
        assert!(answers(&client, &format!("{}/fine", server.uri()), "k").await);
        assert!(!answers(&client, &format!("{}/other", server.uri()), "k").await);
    }
}
