//! What the tests of readers have in common.

use crate::traffic::format::{BadRow, DropReason, Format, Head, Record, detect};

/// All records of a log, and the lines and reasons of what is none.
pub(crate) fn read_all(format: Format, text: &str) -> (Vec<Record>, Vec<(u64, DropReason)>) {
    let (mut rows, mut bad) = (Vec::new(), Vec::new());
    let mut sort = |row: Result<Record, BadRow>| match row {
        Ok(row) => rows.push(row),
        Err(b) => bad.push((b.line, b.reason)),
    };
    (format.read)(&mut text.as_bytes(), &mut sort).expect("a log");
    (rows, bad)
}

/// The format that a log is taken for.
pub(crate) fn taken_for(text: &str) -> Option<&'static str> {
    detect(&Head::new(text.as_bytes())).map(|(format, _)| format.name)
}
