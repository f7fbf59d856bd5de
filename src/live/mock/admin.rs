//! The admin side of a mock that stands alone: its faults can be seen, replaced and cleared, and its ledger
//! fetched. Only for callers on the same machine, and for no web page.

use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request};
use serde_json::{Value, json};

use crate::fault::schedule::Fault;
use crate::live::http::server::Limits;
use crate::live::http::{self, Break, Reply};
use crate::live::mock::house::House;
use crate::time::Timestamp;

/// Largest list of faults.
const MAX_FAULTS: usize = 1 << 20;

/// Answers a request below `/admin/`.
pub(super) async fn answer(
    house: &Arc<House>,
    request: Request<Incoming>,
    is_near: bool,
) -> Result<Reply, Break> {
    if !is_near {
        let message = "the admin side of a mock is for callers on its own machine";
        return Ok(http::refuse(403, "not_local", message));
    }
    // A page in a browser on this machine is near, too.
    if request.headers().contains_key("origin") {
        let message = "the admin side of a mock is not for web pages";
        return Ok(http::refuse(403, "not_for_pages", message));
    }
    let query = request.uri().query().unwrap_or_default().to_owned();
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/admin/faults") => Ok(faults(house)),
        (&Method::POST, "/admin/faults") => replace(house, request).await,
        (&Method::DELETE, "/admin/faults") => {
            house.switch.replace(Vec::new());
            Ok(faults(house))
        }
        (&Method::GET, "/admin/ledger") => ledger(house, &query).await,
        (method, path @ ("/admin/faults" | "/admin/ledger")) => {
            let known = match path {
                "/admin/faults" => "GET, POST and DELETE",
                _ => "GET",
            };
            let message = format!("{path} knows {known}, not {method}");
            Ok(http::refuse(405, "method_not_allowed", message))
        }
        (_, path) => {
            let message =
                format!("there is nothing at {path}, but /admin/faults and /admin/ledger");
            Ok(http::refuse(404, "not_found", message))
        }
    }
}

/// Puts the faults of the body in the place of those that were.
async fn replace(house: &House, request: Request<Incoming>) -> Result<Reply, Break> {
    let limits = Limits {
        body_bytes: MAX_FAULTS,
        ..Limits::default()
    };
    let body = match http::body::read(request.into_body(), limits).await {
        Ok(body) => body,
        Err(unread) => return unread.reply(),
    };
    let Ok(text) = std::str::from_utf8(&body) else {
        return Ok(http::refuse(
            400,
            "invalid_faults",
            "the body is not UTF-8 text",
        ));
    };
    match (house.read_faults)(text) {
        Ok(list) => {
            let now = house.clock.now();
            house
                .switch
                .replace(list.into_iter().map(|fault| from(now, fault)).collect());
            Ok(faults(house))
        }
        Err(problems) => Ok(http::refuse(400, "invalid_faults", problems)),
    }
}

/// A fault whose times count from `now`.
fn from(now: Timestamp, fault: Fault) -> Fault {
    let later = |at: Timestamp| now + at.elapsed();
    Fault {
        from: later(fault.from),
        until: fault.until.map(later),
        ..fault
    }
}

/// The faults that are in force, and the time that theirs are on.
fn faults(house: &House) -> Reply {
    let now = house.clock.now();
    let in_force = house.switch.in_force();
    let list = in_force.upstreams.faults.iter();
    let list: Vec<Value> = list.map(|fault| shown(house, fault, now)).collect();
    let body = json!({"now_s": now.as_secs_f64(), "faults": list});
    http::json(200, body.to_string())
}

fn shown(house: &House, fault: &Fault, now: Timestamp) -> Value {
    let names: Vec<&str> = house.names().collect();
    let on = fault.on.iter();
    let on: Vec<_> = on
        .filter_map(|version| names.get(version.index()))
        .collect();
    let is_on = fault.on.iter().any(|version| fault.is_on(*version, now));
    json!({
        "kind": fault.kind.name(),
        "on": on,
        "share": fault.share,
        "from_s": fault.from.as_secs_f64(),
        "until_s": fault.until.map(Timestamp::as_secs_f64),
        "is_on": is_on,
    })
}

/// The ledger as a file.
async fn ledger(house: &Arc<House>, query: &str) -> Result<Reply, Break> {
    let is_csv = match query {
        "" | "format=jsonl" => false,
        "format=csv" => true,
        _ => {
            let message = format!("`{query}` is not format=jsonl or format=csv");
            return Ok(http::refuse(400, "invalid_query", message));
        }
    };
    let book = house.book.clone();
    // Long lists take their time, which others' answers do not have.
    let written = tokio::task::spawn_blocking(move || {
        let copy = book.copy();
        let text = match is_csv {
            true => copy.csv(),
            false => copy.jsonl(),
        };
        (text, copy.forgotten)
    });
    let (text, forgotten) = written.await.map_err(|_| Break)?;
    let mut reply = http::json(200, Bytes::from(text));
    let headers = reply.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(match is_csv {
            true => "text/csv",
            false => "application/jsonl",
        }),
    );
    http::set(headers, "x-ledger-forgotten", &forgotten.to_string());
    Ok(reply)
}
