//! What gateway and mocks share in speaking HTTP: replies here, [`server`] and [`body`] for the side
//! that is called, [`client`] for the side that calls, [`drain`] for the end of a server's life,
//! [`files`] for machines that have none left, [`reply_body`] for answers that are streams, [`socket`] for connections in several hands.

pub mod body;
pub mod client;
pub mod drain;
pub mod files;
pub mod reply_body;
pub mod server;
pub mod socket;

use std::convert::Infallible;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};

use crate::live::http::reply_body::ReplyBody;
use crate::protocol::openai::ErrorReply;

/// A response.
pub type Reply = Response<ReplyBody>;

/// The wish to break the connection instead of answering.
#[derive(Debug)]
pub struct Break;

impl std::fmt::Display for Break {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection is broken on purpose")
    }
}

impl std::error::Error for Break {}

impl From<Infallible> for Break {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// A JSON response.
pub fn json(status: u16, body: impl Into<Bytes>) -> Reply {
    let mut response = Response::new(ReplyBody::from(body.into()));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// An error in OpenAI's envelope.
pub fn error(reply: &ErrorReply) -> Reply {
    json(reply.status, reply.body())
}

/// An error about the request itself.
pub fn refuse(status: u16, code: &'static str, message: impl Into<String>) -> Reply {
    error(&ErrorReply {
        status,
        message: message.into(),
        kind: "invalid_request_error",
        code,
    })
}

/// The text of a header.
pub fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// Sets a header, unless the value cannot be one.
pub fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
