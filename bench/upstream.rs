//! The bare server behind every gateway of `bench/gateway`: it answers each POST with the same small
//! chat completion, and counts. It listens on two ports, so that a weighted split shows in its counts:
//! stdout names both, `GET /counts` on either says how many POSTs each of them got.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

const COMPLETION: &str = r#"{"id":"chatcmpl-0123456789abcdef","object":"chat.completion","created":1700000000,"model":"gpt-4.1","choices":[{"index":0,"message":{"role":"assistant","content":"The quick brown fox jumps over the lazy dog."},"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":10,"total_tokens":22}}"#;

type Counts = Arc<[AtomicU64; 2]>;

#[tokio::main(flavor = "multi_thread")]
async fn main() -> std::io::Result<()> {
    let counts = Counts::default();
    let stable = TcpListener::bind("127.0.0.1:0").await?;
    let canary = TcpListener::bind("127.0.0.1:0").await?;
    let (first, second) = (stable.local_addr()?, canary.local_addr()?);
    println!("{} {}", first.port(), second.port());
    tokio::spawn(serve(stable, 0, counts.clone()));
    serve(canary, 1, counts).await;
    Ok(())
}

async fn serve(listener: TcpListener, door: usize, counts: Counts) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(connection(stream, door, counts.clone()));
    }
}

async fn connection(stream: TcpStream, door: usize, counts: Counts) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| answer(request, door, &counts));
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // A connection that breaks is the client's to count.
    let _ = served.await;
}

async fn answer(
    request: Request<Incoming>,
    door: usize,
    counts: &Counts,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() == Method::GET {
        let [stable, canary] = [0, 1].map(|door: usize| counts[door].load(Ordering::Relaxed));
        return Ok(json(format!("[{stable},{canary}]").into()));
    }
    // A request is one that arrived whole.
    if request.into_body().collect().await.is_ok() {
        counts[door].fetch_add(1, Ordering::Relaxed);
    }
    Ok(json(Bytes::from_static(COMPLETION.as_bytes())))
}

fn json(body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
