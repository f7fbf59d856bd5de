//! What people are told of a conversion.

use std::path::Path;

use crate::cli::output::{error, say};
use crate::scenario::conversion::{Converted, Source};
use crate::scenario::recorded::bad_row;
use crate::traffic::format::write::Writer;

/// What the log is taken for.
pub(super) fn source(log: &Path, source: &Source) {
    let because = source.because();
    let because = because.map(|why| format!(": {why}")).unwrap_or_default();
    let (log, format) = (log.display(), source.format().name);
    say(format_args!("{log}: read as {format}{because}"));
}

/// What became of it.
pub(super) fn converted(log: &Path, to: &Writer, converted: &Converted, keeps_contents: bool) {
    bad_rows(log, converted, keeps_contents);
    let (read, written) = (converted.account.read, converted.written);
    say(format_args!(
        "{}, {written} written as {}",
        records(read),
        to.name
    ));
    let dropped = converted.account.not_replayed().into_iter();
    let unfit = converted.unfit.iter().map(|(why, n)| (why.name(), *n));
    list("dropped", dropped.chain(unfit));
    let losses = converted.losses.counts();
    let title = format!("{} cannot carry", to.name);
    list(&title, losses.map(|(field, n)| (field.name(), n)));
    if converted.is_moved {
        say("its clock is no calendar: times count from 2000-01-01T00:00:00Z");
    }
    if !keeps_contents {
        say("contents and names are replaced; --contents keeps them");
    }
}

/// The first places. What stands there may be what nobody is to see.
fn bad_rows(log: &Path, converted: &Converted, keeps_contents: bool) {
    let name = log.display().to_string();
    for bad in &converted.account.bad {
        let diagnostic = bad_row(&name, bad);
        match keeps_contents {
            true => say(diagnostic),
            false => say(diagnostic.without_line()),
        }
    }
}

fn list<'a>(title: &str, counts: impl Iterator<Item = (&'a str, u64)>) {
    let counts: Vec<String> = counts
        .map(|(name, n)| format!("{name}: {}", records(n)))
        .collect();
    if !counts.is_empty() {
        say(format_args!("{title} {}", counts.join(", ")));
    }
}

fn records(n: u64) -> String {
    match n {
        1 => "1 record".to_owned(),
        n => format!("{n} records"),
    }
}

/// Why it is not worth having.
pub(super) fn useless(converted: &Converted, out: Option<&Path>) {
    let out = out.map(|out| format!(": {} is not written", out.display()));
    let out = out.unwrap_or_default();
    match converted.written {
        0 => error(format_args!("nothing of the log can be written{out}")),
        _ => {
            let (lost, read) = (converted.lost(), records(converted.account.read));
            error(format_args!(
                "{lost} of {read} are lost, more than 1 %{out}"
            ));
        }
    }
}
