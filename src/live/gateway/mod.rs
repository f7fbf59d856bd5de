//! The gray router as an OpenAI-compatible gateway.
//!
//! [`driver`] holds the core behind one lock, [`server`] speaks HTTP with callers, [`upstream`] with
//! the versions over their [`connections`], [`orders`] are what the core wants done for a request,
//! [`input_log`] keeps what went into the core.

pub mod connections;
pub mod driver;
pub mod input_log;
pub mod orders;
pub mod server;
pub mod upstream;

use std::fmt;
use std::sync::Arc;

use crate::id::PerVersion;
use crate::protocol::chat::Forward;
use crate::router::config::RouterConfig;

/// An API key. It shows itself to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a key.
    pub fn new(key: String) -> Self {
        Self(key)
    }

    /// The key, for the one header it belongs into.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

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
    /// Where each version's upstream is.
    pub endpoints: PerVersion<Endpoint>,
    /// Is this a run of the harness, whose client sets the requests' keys by a header?
    pub is_harness: bool,
    /// How a caller's body becomes an upstream's.
    pub forward: Forward,
}
