//! Scenarios with upstreams that are real: whether they may run here, and with which keys.

use crate::cli::requires;
use crate::cli::serve::endpoints;
use crate::live::real::RealEndpoints;
use crate::scenario::Scenario;

/// Where the real upstreams of a scenario are; none when it has none.
///
/// # Errors
/// Why it is skipped: nobody allowed it, it has no real time, or a key or something else that it requires is missing.
pub(super) fn look(
    scenario: &Scenario,
    is_live: bool,
    is_allowed: bool,
) -> Result<Option<RealEndpoints>, String> {
    let experiment = &scenario.experiment;
    if let Some(why) = requires::missing(scenario, is_live) {
        return Err(why);
    }
    if !experiment.has_real_upstreams() {
        return Ok(None);
    }
    if !is_live {
        return Err("its upstreams are real, and virtual time has none".to_owned());
    }
    if !is_allowed {
        return Err(format!(
            "it sends requests to {}: --allow-real lets it",
            addresses(scenario).join(" and ")
        ));
    }
    let is_real = |version| experiment.real[version].is_some();
    let found = endpoints::of_some(&scenario.path, &experiment.router, is_real);
    let first = |problems: crate::config::diagnostic::Diagnostics| {
        let messages = problems.list.into_iter().map(|problem| problem.message);
        messages.collect::<Vec<_>>().join("; ")
    };
    found.map(Some).map_err(first)
}

fn addresses(scenario: &Scenario) -> Vec<String> {
    let experiment = &scenario.experiment;
    let real = experiment.real.iter().filter(|(_, terms)| terms.is_some());
    let versions = real.map(|(version, _)| &experiment.router.versions[version]);
    let mut all: Vec<String> = versions.filter_map(|v| v.endpoint.clone()).collect();
    all.dedup();
    all
}
