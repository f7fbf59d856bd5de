//! The bare client of `bench/many-streams`: so many streams at once over HTTP/1.1, each on a connection of its
//! own, timed chunk by chunk beside the plan that they follow. It prints one line of JSON.
//!
//! Arguments: port, streams, milliseconds to the first token, tokens a second, tokens of a stream, seconds
//! over which the streams begin.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "it measures, beside graygate and not in it"
)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const BODY: &str = r#"{"model":"gpt-4.1","stream":true,"stream_options":{"include_usage":true},"max_tokens":1000000,"messages":[{"role":"user","content":"hi"}]}"#;

/// What every chunk with a token has, and no other.
const TOKEN: &[u8] = br#""content":"tok"#;

#[derive(Clone, Copy)]
struct Plan {
    port: u16,
    streams: u32,
    first: Duration,
    gap: Duration,
    tokens: usize,
    spread: Duration,
}

/// What was seen of one stream.
#[derive(Default)]
struct Seen {
    /// How far the first token was from its plan, in milliseconds.
    first: Vec<f64>,
    /// The same of the times between two tokens.
    gaps: Vec<f64>,
    /// How late each token was, counted from the request.
    late: Vec<f64>,
    failure: Option<String>,
}

type Trouble = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "multi_thread")]
async fn main() -> Result<(), Trouble> {
    let plan = plan()?;
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for n in 0..plan.streams {
        let due = begin + plan.spread.mul_f64(f64::from(n) / f64::from(plan.streams));
        tokio::time::sleep_until(due.into()).await;
        tasks.spawn(stream(plan));
    }
    let mut all = Seen::default();
    let mut failures = Vec::new();
    while let Some(seen) = tasks.join_next().await {
        let mut seen = seen?;
        all.first.append(&mut seen.first);
        all.gaps.append(&mut seen.gaps);
        all.late.append(&mut seen.late);
        failures.extend(seen.failure);
    }
    let report = serde_json::json!({
        "chunks": all.late.len(),
        "failures": failures.len(),
        "first_failure": failures.first(),
        "first_token_ms": figures(all.first),
        "inter_token_ms": figures(all.gaps),
        "late_ms": figures(all.late),
    });
    println!("{report}");
    Ok(())
}

fn plan() -> Result<Plan, Trouble> {
    let numbers: Result<Vec<u32>, _> = std::env::args().skip(1).map(|a| a.parse()).collect();
    let &[port, streams, first, speed, tokens, spread] = numbers?.as_slice() else {
        return Err("six numbers are wanted: see the file's head".into());
    };
    Ok(Plan {
        port: u16::try_from(port)?,
        streams,
        first: Duration::from_millis(first.into()),
        gap: Duration::from_secs(1) / speed.max(1),
        tokens: tokens as usize,
        spread: Duration::from_secs(spread.into()),
    })
}

async fn stream(plan: Plan) -> Seen {
    let mut seen = Seen::default();
    seen.failure = match read(plan, &mut seen).await {
        Ok(()) if seen.late.len() == plan.tokens => None,
        Ok(()) => Some(format!("{} tokens of {}", seen.late.len(), plan.tokens)),
        Err(error) => Some(error.to_string()),
    };
    seen
}

async fn read(plan: Plan, seen: &mut Seen) -> Result<(), Trouble> {
    let socket = TcpStream::connect(("127.0.0.1", plan.port)).await?;
    socket.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .uri("/v1/chat/completions")
        .header("host", "127.0.0.1")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from_static(BODY.as_bytes())))?;
    let sent = Instant::now();
    let mut response = sender.send_request(request).await?;
    if !response.status().is_success() {
        return Err(format!("status {}", response.status()).into());
    }
    let (mut last, mut is_done) = (None, false);
    while let Some(frame) = response.frame().await {
        let frame = frame?;
        let data = frame.data_ref().map_or(&[][..], |data| data);
        let now = Instant::now();
        for _ in 0..count(data, TOKEN) {
            let due = plan.first + plan.gap * u32::try_from(seen.late.len())?;
            seen.late.push(apart(now - sent, due));
            match last {
                None => seen.first.push(apart(now - sent, plan.first)),
                Some(last) => seen.gaps.push(apart(now - last, plan.gap)),
            }
            last = Some(now);
        }
        is_done |= count(data, b"[DONE]") > 0;
    }
    match is_done {
        true => Ok(()),
        false => Err("no [DONE]".into()),
    }
}

fn count(data: &[u8], part: &[u8]) -> usize {
    data.windows(part.len()).filter(|w| *w == part).count()
}

/// Milliseconds from what was planned to what was.
fn apart(seen: Duration, planned: Duration) -> f64 {
    (seen.as_secs_f64() - planned.as_secs_f64()) * 1e3
}

/// The spread of signed errors, and of their sizes.
fn figures(mut errors: Vec<f64>) -> serde_json::Value {
    errors.sort_by(f64::total_cmp);
    let mut sizes: Vec<f64> = errors.iter().map(|e| e.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    serde_json::json!({
        "n": errors.len(),
        "p50": at(&errors, 50),
        "p99": at(&errors, 99),
        "p50_size": at(&sizes, 50),
        "p99_size": at(&sizes, 99),
        "max_size": sizes.last(),
    })
}

fn at(sorted: &[f64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}
