//! Real sockets, real time, real clients.

mod conformance;
mod cost;
mod gateway;
mod input_log;
mod machinery;
mod normalize;
mod process;
mod responder;
mod retry_after;
mod shipped;
#[path = "../support/mod.rs"]
mod support;
mod upstreams;
