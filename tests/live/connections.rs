//! The connections that the gateway keeps to its upstreams: used again while they are good, and never
//! with a request that somebody may have got already.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use graygate::live::gateway::connections::{Connections, Lost};
use http_body_util::Full;
use hyper::{Method, Request, Uri};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::support;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone";
const LONG: Duration = Duration::from_secs(60);
const LIMIT: usize = 100;

fn on_a_runtime(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(test);
}

async fn listen() -> (TcpListener, Uri) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let uri = format!("http://{address}/v1/chat?a=b").parse().unwrap();
    (listener, uri)
}

fn request() -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(Bytes::from_static(b"{}")));
    *request.method_mut() = Method::POST;
    request
}

/// Reads one request; its text, empty when the connection was closed instead.
async fn read(stream: &mut TcpStream) -> String {
    let mut got = Vec::new();
    while !got.ends_with(b"\r\n\r\n{}") {
        let mut part = [0; 1_024];
        match stream.read(&mut part).await.unwrap_or(0) {
            0 => break,
            n => got.extend_from_slice(&part[..n]),
        }
    }
    String::from_utf8(got).unwrap()
}

/// Answers on one connection after the other, on each so many times. Tells what each one was asked.
fn answering(listener: TcpListener, times: &'static [usize]) -> JoinHandle<Vec<Vec<String>>> {
    tokio::spawn(async move {
        let mut asked = Vec::new();
        for times in times {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut here = Vec::new();
            for _ in 0..*times {
                here.push(read(&mut stream).await);
                stream.write_all(ANSWER).await.unwrap();
            }
            asked.push(here);
        }
        asked
    })
}

async fn ask(connections: &Connections) {
    let (head, body) = connections.exchange(request(), LIMIT).await.unwrap();
    assert_eq!((head.status.as_u16(), &body[..]), (200, &b"done"[..]));
}

#[test]
fn one_connection_serves_requests_that_follow_each_other() {
    let _company = support::in_company();
    on_a_runtime(async {
        let (listener, uri) = listen().await;
        let host = format!("host: {}\r\n", uri.authority().unwrap());
        let server = answering(listener, &[3]);
        let connections = Connections::new(&uri, LONG, LONG).unwrap();
        for _ in 0..3 {
            ask(&connections).await;
        }
        let asked = server.await.unwrap();
        for text in &asked[0] {
            assert!(text.starts_with("POST /v1/chat?a=b HTTP/1.1\r\n"), "{text}");
            assert!(text.contains(&host), "{text}");
        }
    });
}

#[test]
fn a_connection_that_was_closed_meanwhile_is_not_used() {
    let _company = support::in_company();
    on_a_runtime(async {
        let (listener, uri) = listen().await;
        // Each connection is closed after its answer.
        let server = answering(listener, &[1, 1, 1]);
        let connections = Connections::new(&uri, LONG, LONG).unwrap();
        for _ in 0..3 {
            ask(&connections).await;
            // The end of the connection is on its way.
            while connections.resting() > 0 {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(server.await.unwrap().concat().len(), 3);
    });
}

#[test]
fn a_connection_that_was_idle_for_too_long_is_not_used() {
    let _company = support::in_company();
    on_a_runtime(async {
        let (listener, uri) = listen().await;
        let server = answering(listener, &[1, 1]);
        let connections = Connections::new(&uri, Duration::ZERO, LONG).unwrap();
        for _ in 0..2 {
            ask(&connections).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(server.await.unwrap().len(), 2);
    });
}

#[test]
fn idle_connections_are_closed_when_nothing_follows() {
    let _company = support::in_company();
    on_a_runtime(async {
        let (listener, uri) = listen().await;
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            read(&mut stream).await;
            stream.write_all(ANSWER).await.unwrap();
            read(&mut stream).await
        });
        let connections = Connections::new(&uri, Duration::from_millis(1), LONG).unwrap();
        ask(&connections).await;
        // Ends only because the connection is closed.
        assert_eq!(server.await.unwrap(), "");
    });
}

#[test]
fn a_request_that_breaks_its_connection_is_lost_and_not_sent_again() {
    let _company = support::in_company();
    on_a_runtime(async {
        let (listener, uri) = listen().await;
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            read(&mut stream).await;
            stream.write_all(ANSWER).await.unwrap();
            let second = read(&mut stream).await;
            drop(stream);
            (second, listener)
        });
        let connections = Connections::new(&uri, LONG, LONG).unwrap();
        ask(&connections).await;
        let lost = connections.exchange(request(), LIMIT).await.unwrap_err();
        assert!(matches!(lost, Lost::Head(_)), "{lost:?}");
        let (second, listener) = server.await.unwrap();
        assert!(second.starts_with("POST"), "{second}");
        // Nobody knocked a second time.
        let knock = tokio::time::timeout(Duration::from_millis(20), listener.accept());
        assert!(knock.await.is_err());
    });
}

#[test]
fn an_attempt_that_is_dropped_hangs_up() {
    let _company = support::in_company();
    on_a_runtime(async {
        let (listener, uri) = listen().await;
        let connections = Connections::new(&uri, LONG, LONG).unwrap();
        let mut attempt = Box::pin(connections.exchange(request(), LIMIT));
        let accepted = tokio::select! {
            _ = &mut attempt => unreachable!("nobody answers"),
            accepted = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                assert!(read(&mut stream).await.starts_with("POST"));
                stream
            } => accepted,
        };
        drop(attempt);
        let mut stream = accepted;
        assert_eq!(read(&mut stream).await, "");
    });
}

#[test]
fn bodies_that_are_too_large_or_cut_short_are_lost() {
    let _company = support::in_company();
    on_a_runtime(async {
        for answer in [
            &b"HTTP/1.1 200 OK\r\ncontent-length: 101\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
        ] {
            let (listener, uri) = listen().await;
            let server = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                read(&mut stream).await;
                stream.write_all(answer).await.unwrap();
                stream.write_all(&[b' '; 101]).await.ok();
            });
            let connections = Connections::new(&uri, LONG, LONG).unwrap();
            let lost = connections.exchange(request(), LIMIT).await.unwrap_err();
            assert!(matches!(lost, Lost::Body(_)), "{lost:?}");
            server.await.unwrap();
        }
    });
}

#[test]
fn where_nobody_listens_there_is_no_connection() {
    let _company = support::in_company();
    on_a_runtime(async {
        let (listener, uri) = listen().await;
        drop(listener);
        let connections = Connections::new(&uri, LONG, LONG).unwrap();
        let lost = connections.exchange(request(), LIMIT).await.unwrap_err();
        assert!(matches!(lost, Lost::Connect(_)), "{lost:?}");
        let secure = "https://127.0.0.1/v1".parse().unwrap();
        assert!(Connections::new(&secure, LONG, LONG).is_none());
    });
}
