//! Reads what a run is to be judged by once more: a scenario, or other gates for one.

use std::path::Path;

use crate::config::diagnostic::{Diagnostic, Diagnostics, Problems};
use crate::scenario::compile::version_names;
use crate::scenario::load::Loader;
use crate::scenario::replay::read_expectations;
use crate::scenario::{Scenario, compile, gates};
use crate::verdict::spec::{GateSpec, RequestsSpec, TokenMeasure};

/// What needs a witness that rows do not keep, and what that is.
const NOT_IN_ROWS: [(&str, &str); 6] = [
    ("attribution", "what the router and its headers claimed"),
    ("contract", "how answers differed from the OpenAI shape"),
    ("memory", "how much the router held at each moment"),
    ("notification", "what webhooks and peers were told"),
    ("stickiness", "who sent what in which header"),
    ("stream", "the chunks of streams"),
];

/// The scenario in `expect`; or, where a scenario is given, that with the gates of `expect`.
///
/// # Errors
/// All mistakes of the files, and gates that rows cannot tell of.
pub fn compile(expect: &Path, scenario: Option<&Path>) -> Result<Scenario, Diagnostics> {
    let (compiled, _) = compile::file(scenario.unwrap_or(expect))?;
    let compiled = match scenario {
        None => compiled,
        Some(_) => with_gates(compiled, expect)?,
    };
    let refused: Vec<Diagnostic> = compiled
        .gates
        .iter()
        .filter_map(|gate| refusal(gate, &compiled, expect))
        .collect();
    match refused.is_empty() {
        true => Ok(compiled),
        false => Err(Diagnostics {
            list: refused,
            more: 0,
        }),
    }
}

fn with_gates(scenario: Scenario, expect: &Path) -> Result<Scenario, Diagnostics> {
    let (problems, loader) = (Problems::default(), Loader::default());
    let router = &scenario.experiment.router;
    let setting = gates::Setting {
        router,
        names: &version_names(router),
        faults: &scenario.experiment.upstreams.faults,
        external: scenario.experiment.gateway.as_deref(),
    };
    match read_expectations(expect, setting, &problems, &loader) {
        Some(gates) if !problems.has_errors() => Ok(Scenario { gates, ..scenario }),
        _ => Err(problems.into_diagnostics()),
    }
}

/// Why a gate cannot be judged from rows.
fn refusal(gate: &GateSpec, scenario: &Scenario, expect: &Path) -> Option<Diagnostic> {
    let name = gate.name();
    let listed = NOT_IN_ROWS.iter().find(|(gate, _)| *gate == name);
    let is_real = scenario.experiment.has_real_upstreams();
    let lacks = match gate {
        GateSpec::Cost(_) if is_real => Some("what real upstreams said that answers cost"),
        GateSpec::Requests(spec) if asks_for_gaps(spec) => Some("when each token came"),
        GateSpec::Generator(_) => Some("what held requests back"),
        _ => listed.map(|(_, lacks)| *lacks),
    }?;
    let message = format!("`{name}` cannot be judged again: a run's files do not tell {lacks}");
    let problem = Diagnostic::file(expect.display().to_string(), message);
    Some(
        problem
            .hint("leave it out here; what the run itself said of it stands in its summary.json"),
    )
}

fn asks_for_gaps(spec: &RequestsSpec) -> bool {
    let mut quantiles = spec.tokens.quantiles.iter();
    spec.tokens.speed.is_some() || quantiles.any(|(measure, ..)| *measure != TokenMeasure::First)
}
