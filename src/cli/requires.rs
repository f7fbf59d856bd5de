//! Scenarios that need what is not here: another gateway in virtual time, a program, a variable.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::cli::env;
use crate::scenario::Scenario;

/// Says why a scenario is skipped, if it is.
pub(super) fn missing(scenario: &Scenario, is_live: bool) -> Option<String> {
    if scenario.experiment.gateway.is_some() && !is_live {
        return Some("another gateway is tested, and virtual time has none".to_owned());
    }
    let requires = &scenario.requires;
    let programs = requires.programs.iter().filter(|p| !is_on_path(p));
    let programs = programs.map(|p| format!("the program `{p}` is not on the path"));
    let variables = requires
        .env
        .iter()
        .filter(|name| env::variable(name).is_none());
    let variables = variables.map(|name| format!("the variable `{name}` is not set"));
    let all: Vec<String> = programs.chain(variables).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

fn is_on_path(program: &str) -> bool {
    let path = env::variable("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| is_program(&folder.join(program)))
}

fn is_program(path: &Path) -> bool {
    let meta = std::fs::metadata(path);
    meta.is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
