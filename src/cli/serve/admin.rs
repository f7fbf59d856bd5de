//! The admin API of `graygate serve`: where it listens, who may use it, what it may change.

use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use clap::Args;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::cli::env;
use crate::live::admin::auth::{Token, may_listen};
use crate::live::admin::records::Records;
use crate::live::admin::tally::{Counter, SharedTally};
use crate::live::admin::{Admin, AdminConfig, Check};
use crate::live::clock::{Clock, unix_now};
use crate::live::gateway::driver::Driver;
use crate::live::gateway::unheard::Unheard;
use crate::live::http::drain::Drain;
use crate::live::{self, StartError};
use crate::observe::event::{RunEvent, Sink};
use crate::router::config::RouterConfig;

/// The variable that holds the token.
pub(in crate::cli) const TOKEN: &str = "GRAYGATE_ADMIN_TOKEN";
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

/// The admin API before it goes to work: its port is taken.
pub(super) struct AdminDesk {
    listener: Option<TcpListener>,
    token: Option<Token>,
}

impl AdminDesk {
    /// Takes the port.
    pub(super) fn open(plan: AdminPlan, runtime: &Runtime) -> Result<Self, StartError> {
        let bind = |address: SocketAddr| runtime.block_on(bind(address));
        Ok(Self {
            listener: plan.address.map(bind).transpose()?,
            token: plan.token,
        })
    }

    /// Goes to work for a gateway. Whoever records its events must tell them the counter that is
    /// returned.
    pub(super) fn attend(self, runtime: &Runtime, served: Served<'_>) -> io::Result<Counter> {
        let Served {
            driver,
            clock,
            router,
            records,
            drain,
            unheard,
            check,
        } = served;
        let tally = SharedTally::new(router);
        let counter = Counter::new(tally.clone(), driver.clone());
        let Some(listener) = self.listener else {
            return Ok(counter);
        };
        let begun = unix_now().saturating_sub(clock.now().elapsed()).as_millis();
        let config = AdminConfig {
            unix_zero: u64::try_from(begun).unwrap_or(u64::MAX),
            check,
            records,
            tally,
            drain,
            unheard,
            token: self.token,
        };
        let has_token = config.token.is_some();
        let address = listener.local_addr()?;
        tracing::info!(token = has_token, "admin API on http://{address}");
        runtime.spawn(Admin::new(driver.clone(), config).serve(listener));
        Ok(counter)
    }
}

/// The gateway that the admin API is about.
pub(super) struct Served<'a> {
    pub(super) driver: &'a Arc<Driver>,
    pub(super) clock: Clock,
    pub(super) router: &'a Arc<RouterConfig>,
    pub(super) records: Arc<dyn Records>,
    pub(super) drain: Arc<Drain>,
    pub(super) unheard: Arc<Unheard>,
    /// What a configuration must have to be applied.
    pub(super) check: Box<Check>,
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

/// Two who listen.
pub(super) struct Both<A, B>(pub(super) A, pub(super) B);

impl<A: Sink, B: Sink> Sink for Both<A, B> {
    fn event(&mut self, event: &RunEvent) {
        self.0.event(event);
        self.1.event(event);
    }
}
