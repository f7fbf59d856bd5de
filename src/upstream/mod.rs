//! How a model upstream behaves, as pure functions: a profile draws, a plan is one answer's script.

pub mod capacity;
pub mod odd;
pub mod plan;
pub mod profile;
pub mod real;
pub mod recorded;
pub mod stream;
pub mod wish;
