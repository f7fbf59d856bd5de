//! Answers that no HTTP server would send: written past it, to the very bytes.

use std::time::Duration;

use crate::live::clock::Clock;
use crate::live::http::socket::Socket;
use crate::live::http::{self, Break, Reply};
use crate::live::mock::ledger::Row;
use crate::protocol::outcome::Outcome;
use crate::upstream::odd::{Delivery, ENDLESS, Script, half};

/// A body that comes bit by bit comes in so many pieces.
const PIECES: usize = 10;

/// What a body that never ends is made of.
static ZEROS: [u8; 1 << 16] = [b'0'; 1 << 16];

/// Plays an odd answer. When the other side hangs up, this future is dropped, and with it the row.
///
/// # Errors
/// When the connection ends with it, as it does unless the reply is a whole one.
pub(in crate::live) async fn play(
    script: Script,
    outcome: Option<Outcome>,
    row: Row,
    connection: &Socket,
) -> Result<Reply, Break> {
    let outcome = outcome.unwrap_or(Outcome::Malformed);
    if script.delivery == Delivery::Whole {
        row.end(outcome);
        return Ok(whole(script));
    }
    // Whoever reads the last byte may look at the ledger at once; only a slow body is under way
    // for long enough for a caller to leave.
    match script.delivery {
        Delivery::Drip(over) => {
            let _ = drip(connection, &script, over).await;
            row.end(outcome);
        }
        _ => {
            row.end(outcome);
            let _ = rush(connection, &script).await;
        }
    }
    // The server has nothing to add, and closes.
    Err(Break)
}

fn whole(script: Script) -> Reply {
    let mut reply = http::json(script.status, script.body);
    http::set(reply.headers_mut(), "content-type", script.content_type);
    if let Some(location) = script.location {
        http::set(reply.headers_mut(), "location", location);
    }
    reply
}

/// Everything at once.
async fn rush(stream: &Socket, script: &Script) -> std::io::Result<()> {
    let body = script.body.as_str();
    let (announced, sent) = match script.delivery {
        Delivery::Half => (body.len() as u64, half(body)),
        Delivery::HalfAnnounced => (half(body).len() as u64, body),
        Delivery::Endless => (ENDLESS, ""),
        Delivery::Whole | Delivery::Drip(_) => (body.len() as u64, body),
    };
    // In one piece, so that what comes too much comes at once.
    let text = head(script, announced) + sent;
    stream.write_all(text.as_bytes()).await?;
    if script.delivery == Delivery::Endless {
        loop {
            stream.write_all(&ZEROS).await?;
        }
    }
    Ok(())
}

/// The head at once, then the body in even pieces, the last of them at the end.
async fn drip(stream: &Socket, script: &Script, over: Duration) -> std::io::Result<()> {
    let clock = Clock::starting_now();
    let begun = clock.now();
    let body = script.body.as_bytes();
    let text = head(script, body.len() as u64);
    stream.write_all(text.as_bytes()).await?;
    for (n, piece) in (1_u32..).zip(body.chunks(body.len().div_ceil(PIECES).max(1))) {
        let part = over.mul_f64(f64::from(n) / PIECES as f64).min(over);
        clock.sleep_exactly_until(begun + part).await;
        stream.write_all(piece).await?;
    }
    clock.sleep_exactly_until(begun + over).await;
    Ok(())
}

fn head(script: &Script, announced: u64) -> String {
    let status = script.status;
    let content_type = script.content_type;
    format!(
        "HTTP/1.1 {status} \r\ncontent-type: {content_type}\r\ncontent-length: {announced}\r\n\
         connection: close\r\n\r\n"
    )
}
