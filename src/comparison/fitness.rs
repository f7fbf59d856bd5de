//! May two runs be compared at all, and are they alike but for what is under test?

use crate::comparison::folder::Run;
use crate::report::read::summary::Summary;
use crate::verdict::result::Status;

/// Why no figure of the two may be shown. An invalid run is neither red nor green: what it measured is not the system.
pub fn refusals(a: &Run, b: &Run) -> Vec<String> {
    let both = [("A", &a.summary), ("B", &b.summary)];
    both.into_iter().filter_map(refusal).collect()
}

fn refusal((name, summary): (&str, &Summary)) -> Option<String> {
    if summary.interrupted {
        return Some(format!(
            "{name} was interrupted: what came after is unknown. Run it to its end."
        ));
    }
    if !summary.valid || summary.status == Status::Invalid {
        let causes: Vec<String> = summary.gates.iter().filter_map(cause).collect();
        let causes = match causes.is_empty() {
            true => String::new(),
            false => format!(" ({})", causes.join("; ")),
        };
        return Some(format!(
            "{name} is invalid{causes}: its measurement cannot be trusted. Run it again."
        ));
    }
    None
}

/// The condition that made a run invalid: all its gates are, but only some of their checks.
fn cause(gate: &crate::report::read::summary::Gate) -> Option<String> {
    let check = gate.checks.iter().find(|c| c.status == Status::Invalid)?;
    Some(format!(
        "{}: {}: {}",
        gate.name, check.condition, check.seen
    ))
}

/// What differs between the two besides what was measured.
pub fn notes(a: &Run, b: &Run) -> Vec<String> {
    let (one, other) = (&a.summary, &b.summary);
    let mut notes = Vec::new();
    let mut differs = |what: &str, one: &str, other: &str, words: &str| {
        if one != other {
            notes.push(format!("another {what} ({one} and {other}): {words}"));
        }
    };
    let short = |sha256: &str| sha256.chars().take(12).collect::<String>();
    differs(
        "scenario",
        &format!("{} {}", one.scenario, short(&one.scenario_sha256)),
        &format!("{} {}", other.scenario, short(&other.scenario_sha256)),
        "not the same was asked of them, so a difference may come of that",
    );
    differs(
        "router",
        &short(&one.router_sha256),
        &short(&other.router_sha256),
        "a difference may come of its configuration",
    );
    let is_one_of_a_log = one.is_audit() != other.is_audit();
    let words = match is_one_of_a_log {
        true => {
            "a log tells less than a run, and policy, generator and log are asked of one of them only"
        }
        false => "virtual and measured times are not the same thing",
    };
    differs("engine", &one.engine, &other.engine, words);
    differs(
        "canary",
        &one.canary,
        &other.canary,
        "versions are compared by name",
    );
    differs(
        "graygate",
        &one.graygate,
        &other.graygate,
        "a difference may come of the tool",
    );
    for (name, summary) in [("A", one), ("B", other)] {
        if !summary.has_all_records() {
            let kept = &summary.records.kept;
            notes.push(format!(
                "rows of {name} were not all kept ({kept}): times are not compared. \
                 Run it with --records all."
            ));
        }
    }
    notes
}
