//! Workflow commands of GitHub Actions: annotations for what did not pass, and for what could not run.

use crate::config::diagnostic::{Diagnostic, Severity};
use crate::report::runs::{Runs, Tally};
use crate::report::{Report, junit};
use crate::verdict::result::Status;

/// An annotation for every gate that did not pass.
pub(super) fn gates(report: &Report) -> String {
    let gates = report.verdict.gates.iter();
    let open = gates.filter(|g| g.status != Status::Pass);
    open.map(|gate| {
        let level = match gate.status {
            Status::Fail | Status::Invalid => "error",
            Status::Inconclusive | Status::Pass => "warning",
        };
        let scenario = &report.meta.scenario;
        let title = format!("{scenario}: {} {}", gate.name, gate.status.name());
        let (title, message) = (property(&title), value(&junit::headline(gate)));
        format!("::{level} title={title}::{message}\n")
    })
    .collect()
}

/// An annotation for every gate that does not hold over repeated runs.
pub(super) fn repeated(runs: &Runs) -> String {
    let tallies = runs.tallies();
    let open = tallies
        .iter()
        .filter(|tally| tally.status(runs.max_red) != Status::Pass);
    open.map(|tally| {
        let status = tally.status(runs.max_red);
        let level = match status {
            Status::Fail | Status::Invalid => "error",
            Status::Inconclusive | Status::Pass => "warning",
        };
        let (scenario, gate) = (&runs.meta.scenario, &tally.name);
        let title = property(&format!("{scenario}: {gate} {}", status.name()));
        let counts = Tally::ORDER.map(|s| format!("{} {}", tally.count(s), s.name()));
        let message = value(&format!("of {} runs: {}", tally.total(), counts.join(", ")));
        format!("::{level} title={title}::{message}\n")
    })
    .collect()
}

/// An annotation for a scenario that could not be run.
pub(super) fn broken(name: &str, why: &str) -> String {
    let title = property(&format!("{name}: could not run"));
    format!("::error title={title}::{}\n", value(why))
}

/// An annotation for a scenario that cannot be run here.
pub(super) fn skipped(name: &str, why: &str) -> String {
    let title = property(&format!("{name}: skipped"));
    format!("::warning title={title}::{}\n", value(why))
}

/// An annotation for a mistake in a file, at its place.
pub(super) fn mistake(diagnostic: &Diagnostic) -> String {
    let level = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let place = diagnostic
        .place
        .map(|p| format!(",line={},col={}", p.line, p.column));
    let more = [
        diagnostic
            .expected
            .as_ref()
            .map(|e| format!("; expected {e}")),
        diagnostic.hint.as_ref().map(|h| format!("; {h}")),
    ];
    let more: String = more.into_iter().flatten().collect();
    let message = value(&format!("{}{more}", diagnostic.message));
    let file = property(&diagnostic.file);
    let place = place.unwrap_or_default();
    format!("::{level} file={file}{place}::{message}\n")
}

fn value(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn property(text: &str) -> String {
    value(text).replace(':', "%3A").replace(',', "%2C")
}
