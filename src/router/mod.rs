//! The pure gray router: no clock, socket, file or thread, and facts about bodies, never bodies.
//!
//! [`core`] is the contract with the drivers, [`io`] what crosses it, [`gray`] the router itself.
//! The rest are its parts: who gets a request ([`routes`], [`split`]), how it is seen through
//! ([`request`], [`retry`], [`budget`], [`limit`], [`fallback`], [`timers`]), how the canary is
//! watched ([`health`], [`judge`]) and closed ([`rollback`]).

pub mod budget;
pub mod config;
pub mod core;
pub mod fallback;
pub mod gray;
pub mod health;
pub mod io;
pub mod judge;
pub mod limit;
pub mod request;
pub mod retry;
pub mod rollback;
pub mod routes;
pub mod split;
pub mod timers;
