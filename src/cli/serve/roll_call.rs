//! Before callers come: do the versions' upstreams serve their models? Without stable there is nothing
//! to serve; a canary that is not there gets no traffic.

use std::time::Duration;

use crate::id::PerVersion;
use crate::live::StartError;
use crate::live::gateway::Endpoint;
use crate::live::gateway::member::Member;
use crate::live::gateway::probe::Prober;
use crate::live::http::client::Trust;
use crate::router::config::RouterConfig;

/// Asks the upstreams of a router.
pub(super) struct RollCall {
    prober: Prober,
    stable: Member,
    canary: Member,
}

/// May the canary get traffic?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Canary {
    /// Nothing speaks against it.
    Open,
    /// It is not there.
    Closed,
}

impl RollCall {
    /// Nobody is asked yet.
    ///
    /// # Errors
    /// When the system gives no means to ask.
    pub(super) fn new(
        router: &RouterConfig,
        endpoints: &PerVersion<Endpoint>,
        trust: &Trust,
    ) -> reqwest::Result<Self> {
        let of = |version| Member::of(router, version, endpoints[version].clone());
        Ok(Self {
            prober: Prober::new(trust)?,
            stable: of(router.stable),
            canary: of(router.canary),
        })
    }

    /// Asks both versions at once.
    ///
    /// # Errors
    /// When stable is not there.
    pub(super) async fn call(&self) -> Result<Canary, StartError> {
        let (stable, canary) =
            tokio::join!(self.stable.ask(&self.prober), self.canary.ask(&self.prober),);
        if let Some(trouble) = self.stable.trouble(&stable) {
            let hint = self.stable.hint(&stable);
            return Err(StartError::Upstream { trouble, hint });
        }
        self.stable.mention(&stable);
        let Some(trouble) = self.canary.trouble(&canary) else {
            self.canary.mention(&canary);
            return Ok(Canary::Open);
        };
        let hint = self.canary.hint(&canary);
        let name = self.canary.name();
        tracing::error!("the canary `{name}` gets no traffic: {trouble} ({hint})");
        Ok(Canary::Closed)
    }

    /// Looks for a missing canary until it is there, and says so. Its weight is a person's decision.
    pub(super) async fn keep_asking(self, every: Duration) {
        let canary = self.canary;
        loop {
            tokio::time::sleep(every).await;
            let finding = canary.ask(&self.prober).await;
            match canary.trouble(&finding) {
                Some(trouble) => tracing::debug!("still no canary: {trouble}"),
                None => break,
            }
        }
        tracing::warn!(
            "the canary `{}` is there now and still gets no traffic: `graygate admin resume` gives \
             it its share",
            canary.name()
        );
    }
}
