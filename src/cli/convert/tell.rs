//! What people are told of a conversion.

use std::path::Path;

use crate::cli::output::{error, say};
use crate::cli::writing::tell::{list, losses, records};
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
    let (read, written) = (converted.account.read, converted.written.records);
    say(format_args!(
        "{}, {written} written as {}",
        records(read),
        to.name
    ));
    let dropped = converted.account.not_replayed().into_iter();
    let unfit = converted.written.unfit.iter();
    let unfit = unfit.map(|(why, n)| (why.name(), *n));
    list("dropped", dropped.chain(unfit));
    losses(to, &converted.written);
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

/// Why it is not worth having.
pub(super) fn useless(converted: &Converted, out: Option<&Path>) {
    let out = out.map(|out| format!(": {} is not written", out.display()));
    let out = out.unwrap_or_default();
    match converted.written.records {
        0 => error(format_args!("nothing of the log can be written{out}")),
        _ => {
            let (lost, read) = (converted.lost(), records(converted.account.read));
            error(format_args!(
                "{lost} of {read} are lost, more than 1 %{out}"
            ));
        }
    }
}
