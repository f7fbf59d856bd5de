//! What people are told of a log that was written.

use crate::cli::output::say;
use crate::scenario::conversion::lines::Written;
use crate::traffic::format::write::Writer;

/// What its format could not carry.
pub(in crate::cli) fn losses(to: &Writer, written: &Written) {
    let losses = written.losses.counts();
    let title = format!("{} cannot carry", to.name);
    list(&title, losses.map(|(field, n)| (field.name(), n)));
    if written.is_moved {
        say("its clock is no calendar: times count from 2000-01-01T00:00:00Z");
    }
}

/// Names and counts, if there are any.
pub(in crate::cli) fn list<'a>(title: &str, counts: impl Iterator<Item = (&'a str, u64)>) {
    let counts: Vec<String> = counts
        .map(|(name, n)| format!("{name}: {}", records(n)))
        .collect();
    if !counts.is_empty() {
        say(format_args!("{title} {}", counts.join(", ")));
    }
}

/// So many records, in words.
pub(in crate::cli) fn records(n: u64) -> String {
    match n {
        1 => "1 record".to_owned(),
        n => format!("{n} records"),
    }
}
