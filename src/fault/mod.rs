//! Injected faults: what they do to a response, when they are on, and whom they hit.

pub mod inject;
pub mod kind;
pub mod pattern;
mod recorded;
mod refusals;
pub mod schedule;
