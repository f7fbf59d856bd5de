//! Real sockets, real time, real clients.

mod conformance;
mod connections;
mod gateway;
mod input_log;
mod machinery;
mod process;
mod responder;
mod shipped;
#[path = "../support/mod.rs"]
mod support;
