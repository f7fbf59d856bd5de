//! Judging a run: gates watch its events and say pass, fail, inconclusive or invalid.
//!
//! [`spec`] is what was asked for, [`gates`] the watchers, [`result`] what they say, [`evaluate`]
//! the whole. A gate sees facts only: it knows no router, no driver and no scenario file.

pub mod evaluate;
pub mod gates;
pub mod result;
pub mod settings;
pub mod spec;
