//! graygate proves that a gray release of an LLM is safe.
//!
//! One pure router core ([`router`]) is driven by two drivers: a virtual one ([`sim`], event heap
//! and virtual time) and a live one ([`live`], real sockets and real time). Everything the
//! harness claims, it claims about that one core. `ARCHITECTURE.md` is the map.

#![warn(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr
)]

pub mod audit;
pub mod canonical;
pub mod cli;
pub mod comparison;
pub mod config;
pub mod experiment;
pub mod fault;
pub mod id;
pub mod live;
pub mod observe;
pub mod pricing;
pub mod progress;
pub mod protocol;
pub mod report;
pub mod rng;
pub mod router;
pub mod runner;
pub mod scenario;
pub mod sim;
pub mod stats;
pub mod time;
pub mod traffic;
pub mod upstream;
pub mod verdict;
