//! Real sockets, real time, real clients.

mod admin;
mod capacity;
mod conformance;
mod connections;
mod cost;
mod drain;
mod external;
mod files;
mod forced;
mod gateway;
mod input_log;
mod judging;
mod limits;
mod machinery;
mod mock;
mod normalize;
mod openai_client;
mod overrides;
mod process;
mod rate_limit;
mod real;
mod recorded;
mod redaction;
mod reload;
mod responder;
mod retry_after;
mod shipped;
mod start_up;
mod stream_forms;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod tls;
mod upstream;
mod upstreams;
