//! The gray router as an OpenAI-compatible gateway.
//!
//! [`driver`] holds the core behind one lock, [`server`] speaks HTTP with callers, [`upstream`] with
//! the versions over their [`connections`], [`probe`] asks them what they serve and [`member`] says what that means, [`secret`] keeps their
//! keys, [`choosers`] knows who may choose a version. [`orders`] are what the core wants done for a request, [`input_log`] keeps what went into it, and [`unheard`]
//! counts what never did.

pub mod choosers;
pub mod connections;
pub mod driver;
pub mod input_log;
pub mod member;
pub mod orders;
pub mod probe;
pub mod release;
pub mod secret;
pub mod server;
mod streaming;
pub mod unheard;
pub mod upstream;

use std::sync::Arc;

use crate::live::http::client::Trust;
use crate::live::http::server::Limits;
use crate::protocol::chat::Forward;
use crate::router::config::RouterConfig;

pub use choosers::{Choosers, FindChoosers};
pub use release::FindEndpoints;
pub use secret::Secret;

/// Where a version's upstream is.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Base URL up to and including `/v1`, without a final slash.
    pub base: String,
    /// The key it wants.
    pub api_key: Option<Secret>,
}

/// What a gateway needs besides its core.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// The router's configuration.
    pub router: Arc<RouterConfig>,
    /// Where the upstreams of a configuration are.
    pub endpoints: FindEndpoints,
    /// Who may choose a version under a configuration by a key.
    pub choosers: FindChoosers,
    /// Is this a run of the harness, whose client sets the requests' keys by a header?
    pub is_harness: bool,
    /// How a caller's body becomes an upstream's.
    pub forward: Forward,
    /// What is taken from callers, at most.
    pub limits: Limits,
    /// Whose certificates are believed, of upstreams that are spoken to over TLS.
    pub trust: Trust,
}
