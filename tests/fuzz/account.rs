//! Every line of a log becomes a record, a row that is told with its place, a first line, or the reason to stop.

use proptest::prelude::*;
use proptest::sample::Index;

use crate::readers::{LOGS, Log, read};

/// Is every line of it one record, and in a table the first one the names of the columns?
fn is_by_lines(log: &Log) -> bool {
    let lines = log.bytes.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.trim_ascii().is_empty()).count();
    let done = read(log.format, &log.bytes);
    lines == done.rows() + usize::from(has_header(log))
}

/// Has it a first line that is no record?
fn has_header(log: &Log) -> bool {
    log.name.ends_with(".csv") || log.name == "graygate.jsonl"
}

/// What somebody's script left between the lines, none of which is a record; none of it goes on on the next line.
const STRAY: &[&[u8]] = &[
    b"nonsense",
    b"12",
    b"{}",
    b"{\"a\": 1}",
    b"\"text\"",
    b"# a comment",
    b"\xff\xfe",
    b"}",
    b"]",
    b",",
    b"null",
    b"{\"error\": {\"code\": 500}}",
    b"\x00\x00\x00",
    b"--------",
];

/// The lines of a log in another order, some of them more often, with strange ones between them.
fn shuffled() -> impl Strategy<Value = (&'static Log, Vec<Vec<u8>>)> {
    let picks = prop::collection::vec((any::<Index>(), any::<Option<Index>>()), 1..12);
    (any::<Index>(), picks).prop_map(|(log, picks)| {
        let logs: Vec<_> = LOGS.iter().filter(|log| is_by_lines(log)).collect();
        let log = logs[log.index(logs.len())];
        let mut own = log.bytes.split(|byte| *byte == b'\n');
        let header = own.next().filter(|_| has_header(log));
        let own: Vec<_> = own.filter(|line| !line.trim_ascii().is_empty()).collect();
        // What a log is, JSON or a table, shows at its beginning.
        let first = own.first().copied();
        let body = picks.iter().map(|(line, stray)| match stray {
            Some(stray) => *stray.get(STRAY),
            None => *line.get(&own),
        });
        let lines = header
            .into_iter()
            .chain(first)
            .chain(body)
            .map(<[u8]>::to_vec)
            .collect();
        (log, lines)
    })
}

/// Commas and ends of lists between JSON values count for nothing.
fn is_nothing(log: &Log, line: &[u8]) -> bool {
    line == b"," && log.name.ends_with(".jsonl")
}

proptest! {
    #[test]
    fn no_line_is_lost((log, lines) in shuffled()) {
        let bytes = lines.join(&b'\n');
        let done = read(log.format, &bytes);
        prop_assert_eq!(&done.error, &None, "{}", log.name);
        let counted = lines.iter().skip(usize::from(has_header(log)));
        let counted = counted.filter(|line| !is_nothing(log, line)).count();
        prop_assert!(done.rows() >= counted, "{}: {} of {counted}: {:?}", log.name, done.rows(), String::from_utf8_lossy(&bytes));
        for row in &done.bad {
            prop_assert!((1..=lines.len() as u64).contains(&row.line), "{}: {row:?}", log.name);
        }
        let places: Vec<_> = done.bad.iter().map(|row| row.line).collect();
        prop_assert!(places.is_sorted(), "{}: {places:?}", log.name);
    }
}

#[test]
fn most_logs_have_a_line_a_record() {
    let by_lines = LOGS.iter().filter(|log| is_by_lines(log));
    let names: Vec<_> = by_lines.map(|log| log.name.as_str()).collect();
    // Not: documents, conversations of several turns, pages of HTTP, texts with line ends.
    assert!(names.len() >= 18, "{names:?}");
}
