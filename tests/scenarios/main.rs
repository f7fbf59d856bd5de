//! The shipped scenarios in virtual time: what they promise, that they can fail, and that the same
//! seed gives the same bytes.

mod classes;
mod closing;
mod determinism;
mod evidence;
mod refusals;
mod shipped;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod traces;
