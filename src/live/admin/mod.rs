//! The admin API: looks at a release and changes it, over HTTP on a listener of its own.
//!
//! [`routes`] is the list of all there is, [`auth`] says who may, [`form`] reads what is asked,
//! [`problem`] says why not. [`tally`] counts what the gateway does, [`records`] is where the history is
//! read. Every change goes through [`Driver::order`]: the core alone decides. docs/admin.md is the
//! reference, docs/openapi.json the same for programs.

pub mod auth;
pub mod checkpoints;
pub mod configuration;
pub mod form;
pub mod health;
pub mod latency;
pub mod metrics;
pub mod orders;
pub mod peers;
pub mod problem;
pub mod records;
pub mod routes;
pub mod server;
pub mod stats;
pub mod tally;
pub mod view;
pub mod weights;

use std::sync::Arc;
use std::time::Duration;

use crate::config::diagnostic::Problems;
use crate::live::admin::auth::Token;
use crate::live::admin::peers::PeerRollbacks;
use crate::live::admin::problem::Problem;
use crate::live::admin::records::{Records, Unreadable};
use crate::live::admin::tally::SharedTally;
use crate::live::gateway::driver::Driver;
use crate::live::gateway::unheard::{Unheard, Why};
use crate::live::http::drain::Drain;
use crate::router::config::RouterConfig;
use crate::router::control::Order;
use crate::router::io::Standing;
use crate::time::Timestamp;

/// How long an order is waited for: a store that takes longer is in trouble.
const PATIENCE: Duration = Duration::from_secs(5);

/// Says what a configuration lacks to be served here, beyond being valid: endpoints, keys.
pub type Check = dyn Fn(&RouterConfig, &Problems) + Send + Sync;

/// What the admin API needs besides the driver.
pub struct AdminConfig {
    /// Whoever shows it may; without one, whoever is on this machine.
    pub token: Option<Token>,
    /// Time 0 of the driver's clock in milliseconds since 1970.
    pub unix_zero: u64,
    /// Asked before another configuration is applied.
    pub check: Box<Check>,
    /// Where the history is read.
    pub records: Arc<dyn Records>,
    /// What is counted.
    pub tally: SharedTally,
    /// The gateway's end, when it takes no more requests.
    pub drain: Arc<Drain>,
    /// What the gateway refused before the router heard of it.
    pub unheard: Arc<Unheard>,
}

/// The admin API of a gateway.
pub struct Admin {
    driver: Arc<Driver>,
    config: AdminConfig,
    peers: PeerRollbacks,
}

/// The release as it is at one moment.
#[derive(Clone, Debug)]
pub struct Present {
    /// Where it stands.
    pub standing: Standing,
    /// The configuration in force.
    pub config: Arc<RouterConfig>,
}

impl Admin {
    /// The API of the gateway that this driver drives.
    pub fn new(driver: Arc<Driver>, config: AdminConfig) -> Arc<Self> {
        Arc::new(Self {
            driver,
            config,
            peers: PeerRollbacks::default(),
        })
    }

    /// How many requests the router never heard of, by why.
    fn unheard(&self) -> [(Why, u64); Why::ALL.len()] {
        Why::ALL.map(|why| match why {
            Why::ShuttingDown => (why, self.config.drain.turned_away()),
            _ => (why, self.config.unheard.count(why)),
        })
    }

    /// The release right now.
    async fn present(&self) -> Result<Present, Problem> {
        // Two questions: what came between their answers is found out by asking the first one again.
        for _ in 0..10 {
            let before = self.look().await?;
            let config = self.driver.adopted().config;
            let standing = self.look().await?;
            if before.revision == standing.revision {
                return Ok(Present { standing, config });
            }
        }
        Err(Problem::new(503, "busy", "the release keeps changing"))
    }

    async fn look(&self) -> Result<Standing, Problem> {
        let standing = self.driver.order(None, Order::Look).await;
        standing.map_err(Problem::from)
    }

    /// Reads records, on a thread that may wait for a disk.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Records) -> Result<T, Unreadable> + Send + 'static,
    ) -> Result<T, Problem> {
        let records = self.config.records.clone();
        let result = tokio::task::spawn_blocking(move || read(&*records)).await;
        let trouble = match result {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        let message = format!("the records cannot be read: {trouble}");
        Err(Problem::new(503, "records_unreadable", message))
    }

    /// A moment in milliseconds since 1970.
    fn unix_ms(&self, at: Timestamp) -> u64 {
        let since = u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.config.unix_zero.saturating_add(since)
    }
}
