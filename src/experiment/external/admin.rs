//! How another gateway is given orders, and which ones: as plain data.

use std::time::Duration;

use crate::id::PerVersion;
use crate::router::config::RouterConfig;
use crate::time::Timestamp;

/// A gateway's own API for whoever runs it. Its texts are templates.
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// Where it is: on this machine, without the path of a call.
    pub url: String,
    /// What every call bears.
    pub headers: Vec<(String, String)>,
    /// How the split is changed.
    pub set_weights: Option<Call>,
    /// How the canary is closed.
    pub rollback: Option<Call>,
    /// The longest time to the end of an answer.
    pub within: Duration,
}

/// One call of such an API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The method, in upper case.
    pub method: &'static str,
    /// The path, with its query.
    pub path: String,
    /// The body; none for a call without one.
    pub body: Option<String>,
}

/// An order that a run gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: Command,
}

/// What a gateway can be told.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// The share of each version, 0 to 1.
    SetWeights(PerVersion<f64>),
    /// To close the canary.
    Rollback,
}

impl Command {
    /// The share that it gives to the canary, 0 to 1; none where it gives none.
    pub fn canary_share(&self, router: &RouterConfig) -> Option<f64> {
        match self {
            Self::SetWeights(shares) => Some(shares[router.canary]),
            Self::Rollback => None,
        }
    }
}

/// A share as gateways are told it: the number of its percents.
pub fn percents(share: f64) -> String {
    // Without the dust of binary fractions.
    let value = (share * 1e11).round() / 1e9;
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_told_as_people_write_them() {
        for (share, text) in [
            (0.0, "0"),
            (0.5, "50"),
            (0.333, "33.3"),
            (0.07, "7"),
            (1.0, "100"),
        ] {
            assert_eq!(percents(share), text);
        }
    }
}
