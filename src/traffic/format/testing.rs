//! What the tests of readers share.

use super::{BadRow, DropReason, Format, Head, LogError, Record, detect};

/// What a reader makes of a log: its records, and the lines that are dropped with their reasons.
pub(super) type Read = (Vec<Record>, Vec<(u64, DropReason)>);

pub(super) fn try_read(format: &Format, log: &[u8]) -> Result<Read, LogError> {
    let (mut records, mut bad) = (Vec::new(), Vec::new());
    let mut sort = |row: Result<Record, BadRow>| match row {
        Ok(record) => records.push(record),
        Err(row) => bad.push((row.line, row.reason)),
    };
    (format.read)(&mut &log[..], &mut sort)?;
    Ok((records, bad))
}

pub(super) fn read_all(format: &Format, log: &str) -> Read {
    try_read(format, log.as_bytes()).unwrap()
}

/// The one record of a log.
pub(super) fn one(format: &Format, log: &str) -> Record {
    let (mut records, bad) = read_all(format, log);
    assert_eq!((records.len(), bad), (1, Vec::new()), "{log}");
    records.remove(0)
}

/// The format that a log is taken for.
pub(super) fn detected(log: impl AsRef<[u8]>) -> Option<&'static str> {
    detect(&Head::new(log.as_ref())).map(|(format, _)| format.name)
}

/// All records of a fixture, which is detected as what it is.
pub(super) fn fixture(format: &Format, log: &str) -> Vec<Record> {
    assert_eq!(detected(log.as_bytes()), Some(format.name));
    let (records, bad) = read_all(format, log);
    assert_eq!(bad, [], "{}", format.name);
    records
}

/// Any bytes behind the beginning of a log, and alone.
pub(super) fn survives(format: &Format, beginning: &str, bytes: &[u8]) {
    let _ = try_read(format, bytes);
    let _ = try_read(format, &[beginning.as_bytes(), bytes].concat());
    let _ = (format.detect)(&Head::new(bytes));
}
