//! The articles' router, ported part by part, with a switch for each of its defects and some more.
//!
//! It is the sketches' structure and no better than it must be: a version manager that draws, a client that tries and
//! falls back, metrics in a sliding window, a deployment manager that goes up a ramp, a rollback manager with its
//! checkpoints, a rate limiter. With every switch off it does what a gray router must; the scenarios that it is run
//! in say so. It needs nothing but the crate, so that a program can serve it live.

mod client;
mod core;
mod flaws;
mod limiter;
mod metrics;
mod ramp;
mod request;
mod rollback;
mod timers;
mod versions;

pub(crate) use core::Port;
pub(crate) use flaws::{Flaw, temperature_or_default};
