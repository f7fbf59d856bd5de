//! The admin API of `graygate serve`: where it listens, who may use it, what it may change.

use std::error::Error;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Receiver;

use clap::Args;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::cli::env;
use crate::config::diagnostic::{Diagnostic, Problems};
use crate::live::admin::auth::{Token, may_listen};
use crate::live::admin::records::{MemoryRecords, Records};
use crate::live::admin::tally::{Counter, SharedTally};
use crate::live::admin::{Admin, AdminConfig, Check};
use crate::live::clock::{Clock, unix_now};
use crate::live::gateway::driver::Driver;
use crate::live::{self, StartError};
use crate::observe::event::{RunEvent, Sink};
use crate::router::config::RouterConfig;
use crate::router::deployment::Change;

/// The variable that holds the token.
pub(super) const TOKEN: &str = "GRAYGATE_ADMIN_TOKEN";
/// Fewest characters of a token: shorter ones can be guessed.
const LEAST: usize = 16;

#[derive(Debug, Args)]
pub(super) struct ServeAdminArgs {
    /// Where the admin API listens, or `none`. Its token is in GRAYGATE_ADMIN_TOKEN; without one, it
    /// listens on this machine's own address only
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    admin: Where,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    Nowhere,
    At(SocketAddr),
}

impl FromStr for Where {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::Nowhere),
            _ => text
                .parse()
                .map(Self::At)
                .map_err(|_| "neither an address like 127.0.0.1:8081 nor `none`".to_owned()),
        }
    }
}

/// Where the admin API is to listen, and for whom.
#[derive(Debug)]
pub(super) struct AdminPlan {
    address: Option<SocketAddr>,
    token: Option<Token>,
}

impl ServeAdminArgs {
    /// The plan, from the arguments and the environment; or why it would not be safe.
    pub(super) fn plan(&self) -> Result<AdminPlan, String> {
        let Where::At(address) = self.admin else {
            let (address, token) = (None, None);
            return Ok(AdminPlan { address, token });
        };
        let text = env::variable(TOKEN);
        if let Some(flaw) = text.as_deref().and_then(flaw) {
            return Err(format!("the token in {TOKEN} {flaw}"));
        }
        if !may_listen(address, text.is_some()) {
            return Err(format!(
                "--admin {address} can be reached from other machines, and there is no token\n   = \
                 hint: export {TOKEN}, for instance from `openssl rand -hex 32`, or listen on \
                 127.0.0.1"
            ));
        }
        Ok(AdminPlan {
            address: Some(address),
            token: text.as_deref().map(Token::new),
        })
    }
}

fn flaw(token: &str) -> Option<&'static str> {
    if !token.chars().all(|c| c.is_ascii_graphic()) {
        return Some("holds characters that a header cannot carry");
    }
    let hint = "has fewer than 16 characters\n   = hint: make one by `openssl rand -hex 32`";
    (token.len() < LEAST).then_some(hint)
}

/// Changes on their way to where they are kept.
type Changes = Receiver<(u64, Box<Change>)>;

/// The admin API before it goes to work: its port is taken.
pub(super) struct AdminDesk {
    listener: Option<TcpListener>,
    token: Option<Token>,
    changes: Changes,
}

impl AdminDesk {
    /// Takes the port. `changes` come from the driver.
    pub(super) fn open(
        plan: AdminPlan,
        runtime: &Runtime,
        changes: Changes,
    ) -> Result<Self, StartError> {
        let bind = |address: SocketAddr| runtime.block_on(bind(address));
        Ok(Self {
            listener: plan.address.map(bind).transpose()?,
            token: plan.token,
            changes,
        })
    }

    /// Goes to work for the gateway of this driver. Whoever records its events must tell them the
    /// counter that is returned.
    pub(super) fn attend(
        self,
        runtime: &Runtime,
        driver: &Arc<Driver>,
        clock: Clock,
        router: &Arc<RouterConfig>,
        endpoints: impl Fn(&RouterConfig, &Problems) + Send + Sync + 'static,
    ) -> Result<Counter, Box<dyn Error>> {
        let kept = MemoryRecords::default();
        let tally = SharedTally::new(router);
        let config = AdminConfig {
            token: self.token,
            unix_zero: u64::try_from((unix_now() - clock.now().elapsed()).as_millis())?,
            check: check(router.clone(), endpoints),
            records: Arc::new(kept.clone()) as Arc<dyn Records>,
            tally: tally.clone(),
            is_stopping: Arc::new(AtomicBool::new(false)),
        };
        let (changes, weak) = (self.changes, Arc::downgrade(driver));
        std::thread::Builder::new()
            .name("records".to_owned())
            .spawn(move || kept.keep_all(&changes, &weak))?;
        if let Some(listener) = self.listener {
            let has_token = config.token.is_some();
            let address = listener.local_addr()?;
            tracing::info!(token = has_token, "admin API on http://{address}");
            runtime.spawn(Admin::new(driver.clone(), config).serve(listener));
        }
        Ok(Counter::new(tally, driver.clone()))
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    let bound = live::bind(&address.to_string()).await;
    bound.map_err(|error| match error {
        StartError::Bind { address, error } => StartError::Bind {
            address: format!("{address} for the admin API (--admin ADDRESS, or none)"),
            error,
        },
        other => other,
    })
}

/// What a configuration must have to be applied: what `serve` asks of a file, and nothing that this
/// gateway would have to start anew for.
fn check(
    served: Arc<RouterConfig>,
    endpoints: impl Fn(&RouterConfig, &Problems) + Send + Sync + 'static,
) -> Box<Check> {
    Box::new(move |config, problems| {
        endpoints(config, problems);
        for what in cannot_follow(&served, config) {
            let message = format!("{what}: this gateway cannot change that while it runs");
            let hint = "put it into the router file and start `serve` anew";
            problems.add(Diagnostic::file("body", message).hint(hint));
        }
    })
}

/// What the gateway reads once, when it starts.
fn cannot_follow(served: &RouterConfig, config: &RouterConfig) -> Vec<&'static str> {
    let looks_at = |name: &str| served.headers_looked_at().any(|known| known == name);
    let told_apart = [
        (
            served.versions != config.versions,
            "other versions, models, endpoints, keys or features",
        ),
        (
            served.overrides != config.overrides,
            "other rules on who may choose a version",
        ),
        (
            !config.headers_looked_at().all(looks_at),
            "rules or stickiness by headers that were not looked at so far",
        ),
        (
            served.timeouts.connect != config.timeouts.connect,
            "another limit on connecting",
        ),
    ];
    let differ = told_apart.into_iter().filter(|(differs, _)| *differs);
    differ.map(|(_, what)| what).collect()
}

/// Two who listen.
pub(super) struct Both<A, B>(pub(super) A, pub(super) B);

impl<A: Sink, B: Sink> Sink for Both<A, B> {
    fn event(&mut self, event: &RunEvent) {
        self.0.event(event);
        self.1.event(event);
    }
}
