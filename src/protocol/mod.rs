//! Bytes to values and back, without sockets: what OpenAI-compatible chat looks like on the wire.
//!
//! [`outcome`] is the only place that knows what a status code means; everything downstream
//! matches on [`outcome::Outcome`].

pub mod chat;
mod chunk;
pub mod drift;
pub mod gateway;
mod glance;
pub mod headers;
pub mod marker;
pub mod members;
pub mod normalize;
pub mod openai;
pub mod outcome;
pub mod recorded;
pub mod request_id;
pub mod retry_after;
pub mod sse;
pub mod stream;
