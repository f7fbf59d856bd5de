//! Before callers come: do the versions' upstreams serve their models? Without stable there is nothing
//! to serve; a canary that is not there gets no traffic.

use std::time::Duration;

use crate::id::{PerVersion, VersionId};
use crate::live::StartError;
use crate::live::gateway::Endpoint;
use crate::live::gateway::probe::{Finding, Prober};
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
        Ok(Self {
            prober: Prober::new(trust)?,
            stable: Member::of(router, endpoints, router.stable),
            canary: Member::of(router, endpoints, router.canary),
        })
    }

    /// Asks both versions at once.
    ///
    /// # Errors
    /// When stable is not there.
    pub(super) async fn call(&self) -> Result<Canary, StartError> {
        let (stable, canary) = tokio::join!(
            self.prober.ask(&self.stable.endpoint, &self.stable.model),
            self.prober.ask(&self.canary.endpoint, &self.canary.model),
        );
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
        let name = &self.canary.name;
        tracing::error!("the canary `{name}` gets no traffic: {trouble} ({hint})");
        Ok(Canary::Closed)
    }

    /// Looks for a missing canary until it is there, and says so. Its weight is a person's decision.
    pub(super) async fn keep_asking(self, every: Duration) {
        let canary = self.canary;
        loop {
            tokio::time::sleep(every).await;
            let finding = self.prober.ask(&canary.endpoint, &canary.model).await;
            match canary.trouble(&finding) {
                Some(trouble) => tracing::debug!("still no canary: {trouble}"),
                None => break,
            }
        }
        tracing::warn!(
            "the canary `{}` is there now and still gets no traffic: `graygate admin resume` gives \
             it its share",
            canary.name
        );
    }
}

/// A version to be asked.
struct Member {
    name: String,
    model: String,
    endpoint: Endpoint,
    /// The variable of its key.
    variable: Option<String>,
}

impl Member {
    fn of(router: &RouterConfig, endpoints: &PerVersion<Endpoint>, version: VersionId) -> Self {
        let config = &router.versions[version];
        Self {
            name: config.name.clone(),
            model: config.model.clone(),
            endpoint: endpoints[version].clone(),
            variable: config.api_key_env.clone(),
        }
    }

    /// `the upstream of v1 at http://…`
    fn place(&self) -> String {
        format!("the upstream of `{}` at {}", self.name, self.endpoint.base)
    }

    /// Why requests could not be served, if that is certain.
    fn trouble(&self, finding: &Finding) -> Option<String> {
        let place = self.place();
        Some(match finding {
            Finding::Listed | Finding::NotOffered(_) | Finding::Unclear(_) => return None,
            Finding::Missing(others) => {
                let model = &self.model;
                let others = match others.is_empty() {
                    true => "it lists no models".to_owned(),
                    false => format!("it lists {}", others.join(", ")),
                };
                format!("{place} does not serve the model `{model}`: {others}")
            }
            Finding::Refused(status) => match &self.variable {
                Some(variable) => format!("{place} refuses the key in {variable} ({status})"),
                None => format!("{place} wants an API key ({status})"),
            },
            Finding::Unreachable(why) => format!("cannot reach {place}: {why}"),
        })
    }

    /// What is to be done about it.
    fn hint(&self, finding: &Finding) -> String {
        match (finding, &self.variable) {
            (Finding::Refused(_), Some(variable)) => {
                format!("put a key of this provider into {variable}")
            }
            (Finding::Refused(_), None) => {
                "name the variable that holds its key in api_key_env".to_owned()
            }
            (Finding::Missing(_), _) => {
                "correct the version's model in the router file, or wait until it is deployed"
                    .to_owned()
            }
            _ => "start it first, or correct its endpoint in the router file".to_owned(),
        }
    }

    /// Tells what was found, of an upstream that is let through.
    fn mention(&self, finding: &Finding) {
        let (place, model) = (self.place(), &self.model);
        match finding {
            Finding::NotOffered(status) => tracing::warn!(
                "{place} does not say what it serves ({status}): whether that is `{model}` shows \
                 with the first requests"
            ),
            Finding::Unclear(why) => tracing::warn!(
                "{place} was asked whether it serves `{model}`, without a clear answer: {why}"
            ),
            _ => tracing::debug!("{place} serves `{model}`"),
        }
    }
}
