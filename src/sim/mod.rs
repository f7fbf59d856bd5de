//! The virtual driver: an event heap and invented time. Seven hours pass in milliseconds.

pub mod engine;
mod flight;
mod patience;
mod places;
pub mod queue;
