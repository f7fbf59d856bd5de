//! Real upstreams in a run. A [`proxy`] of the harness's own stands before each of them: it keeps the ledger that a
//! mock would keep, puts the run's faults into what passes through it (`passing` into streams), and asks the
//! upstream only within the [`caps`] and the [`purse`] of the run.

pub mod caps;
mod passing;
pub mod proxy;
pub mod purse;

use crate::id::{PerVersion, VersionId};
use crate::live::StartError;
use crate::live::gateway::Endpoint;
use crate::live::gateway::member::Member;
use crate::live::gateway::probe::Prober;
use crate::live::http::client::Trust;
use crate::router::config::RouterConfig;

/// Where the real upstreams of a run are, with their keys; none for the versions that mocks play.
pub type RealEndpoints = PerVersion<Option<Endpoint>>;

/// Whose certificates are believed: the system's, if any of these speaks TLS.
///
/// # Errors
/// When the system has none.
pub fn trust(endpoints: &RealEndpoints) -> Result<Trust, StartError> {
    let has_tls = |endpoint: &Endpoint| endpoint.base.starts_with("https://");
    match endpoints.values().flatten().any(has_tls) {
        true => Trust::system().map_err(StartError::Certificates),
        false => Ok(Trust::nobody()),
    }
}

/// Asks all of them whether they are there and serve their models, before anything is sent that costs.
///
/// # Errors
/// When one is not there, or not of use.
pub async fn call_the_roll(
    router: &RouterConfig,
    endpoints: &RealEndpoints,
    trust: &Trust,
) -> Result<(), StartError> {
    let prober = Prober::new(trust).map_err(|error| StartError::Upstream {
        trouble: format!("cannot ask the upstreams: {error}"),
        hint: "close other programs".to_owned(),
    })?;
    for (version, endpoint) in endpoints.iter() {
        if let Some(endpoint) = endpoint {
            ask(router, version, endpoint.clone(), &prober).await?;
        }
    }
    Ok(())
}

async fn ask(
    router: &RouterConfig,
    version: VersionId,
    endpoint: Endpoint,
    prober: &Prober,
) -> Result<(), StartError> {
    let member = Member::of(router, version, endpoint);
    let finding = member.ask(prober).await;
    match member.trouble(&finding) {
        Some(trouble) => {
            let hint = member.hint(&finding);
            Err(StartError::Upstream { trouble, hint })
        }
        None => {
            member.mention(&finding);
            Ok(())
        }
    }
}
