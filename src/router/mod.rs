//! The pure gray router: no clock, socket, file or thread, and facts about bodies, never bodies.
//!
//! [`core`] is the contract with the drivers, [`io`] what crosses it, [`gray`] the router itself.
//! The rest are its parts: who gets a request ([`routes`], [`split`]), how it is seen through
//! ([`request`], [`retry`], [`budget`], [`limit`], [`fallback`], [`timers`]), how the canary is
//! watched ([`health`], [`judge`]), and how its release goes up and comes down ([`deployment`],
//! [`ramp`], [`control`], [`door`], [`keeper`]).

pub mod budget;
pub mod config;
pub mod control;
pub mod core;
pub mod deployment;
pub mod door;
pub mod fallback;
pub mod gray;
pub mod health;
pub mod io;
pub mod judge;
pub mod keeper;
pub mod limit;
pub mod ramp;
pub mod request;
pub mod retry;
pub mod routes;
pub mod split;
pub mod timers;
