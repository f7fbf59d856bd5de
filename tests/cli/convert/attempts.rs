//! The attempts of a run in other forms: nothing that an audit counts by is lost on the way.

use std::collections::BTreeMap;
use std::time::Duration;

use graygate::protocol::outcome::Outcome;
use graygate::traffic::format::Record;

use crate::convert::{assert_converted, convert, read};
use crate::support::{Folder, graygate};

const CANARY: &str = "scenarios/canary-401-falls-back-and-rolls-back.yaml";
const STREAMS: &str = "scenarios/streams-break-and-stall.yaml";

/// What an audit sees of an attempt.
#[derive(Debug, PartialEq)]
struct Seen {
    /// Microseconds since the first attempt of the log.
    at: i64,
    latency: Option<Duration>,
    first_token: Option<Duration>,
    end: Option<Outcome>,
    tokens: (Option<u32>, Option<u32>),
    user: Option<String>,
    /// The version that was tried: of a failure a span only says what was asked.
    tried: Option<String>,
    /// Its request, counted from the first one.
    group: usize,
}

fn seen(records: &[Record]) -> Vec<Seen> {
    let first = records[0].at.unwrap();
    let mut groups: BTreeMap<&str, usize> = BTreeMap::new();
    let seen = records.iter().map(|record| {
        let number = groups.len();
        let group = *groups
            .entry(record.trace.as_deref().unwrap())
            .or_insert(number);
        Seen {
            at: (record.at.unwrap() - first) / 1_000,
            latency: record.latency,
            first_token: record.first_token,
            end: record.end,
            tokens: (record.input_tokens, record.output_tokens),
            user: record.user.clone(),
            tried: record
                .served_by
                .clone()
                .or_else(|| record.asked_model.clone()),
            group,
        }
    });
    seen.collect()
}

/// The attempts.csv of a run.
fn attempts(folder: &Folder, scenario: &str) -> String {
    let out = folder.path().join("run").display().to_string();
    let done = graygate(&["run", scenario, "--out", &out, "--records", "all", "-q"]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    let file = super::found("attempts.csv", out.as_ref());
    file.unwrap().display().to_string()
}

/// Through a format, and back to our own.
fn through(folder: &Folder, log: &str, to: &str) -> Vec<Record> {
    let there = folder.path().join(to).display().to_string();
    let done = convert(log, to, &["--salt", "pepper", "--out", &there]);
    assert_converted(&done, to);
    assert!(!done.err.contains("cannot carry"), "{to}: {}", done.err);
    // Pseudonyms of pseudonyms would be others.
    let back = convert(&there, "graygate", &["--contents"]);
    assert_converted(&back, to);
    read("graygate", &back.out)
}

/// No attempt ends after the next one of its request begins.
fn assert_in_order(records: &[Record], to: &str) {
    for pair in records.windows(2) {
        let [before, after] = pair else { continue };
        if before.trace == after.trace {
            let latency = before.latency.unwrap().as_nanos();
            let ended = before.at.unwrap() + i64::try_from(latency).unwrap();
            assert!(ended <= after.at.unwrap(), "{to}: {before:?} {after:?}");
        }
    }
}

/// The attempts of a run, which are the same in all three forms.
fn in_three_forms(scenario: &str) -> Vec<Record> {
    let folder = Folder::new();
    let log = attempts(&folder, scenario);
    let rows = std::fs::read_to_string(&log).unwrap().lines().count() - 1;
    let own = through(&folder, &log, "graygate");
    assert_in_order(&own, "graygate");
    let expected = seen(&own);
    assert_eq!(expected.len(), rows);
    let groups = expected.iter().map(|seen| seen.group + 1).max();
    assert!(
        groups.is_some_and(|groups| groups < rows),
        "nothing was tried again"
    );
    for to in ["litellm", "otel"] {
        let records = through(&folder, &log, to);
        assert_in_order(&records, to);
        let read = seen(&records);
        assert_eq!(read.len(), rows, "{to}");
        for (read, expected) in read.iter().zip(&expected) {
            assert_eq!(read, expected, "{to}");
        }
    }
    own
}

#[test]
fn attempts_of_a_run_are_the_same_in_three_forms() {
    let own = in_three_forms(CANARY);
    let at_canary = |record: &&Record| record.served_by.as_deref() == Some("v2");
    let failed = |record: &Record| record.end == Some(Outcome::Unauthorized);
    assert!(own.iter().filter(at_canary).any(failed));
    assert!(own.iter().all(|record| record.by_chance == Some(true)));
    assert!(own.iter().all(|record| record.is_stream == Some(false)));
}

#[test]
fn attempts_at_streams_keep_their_first_tokens_and_their_endings() {
    let own = in_three_forms(STREAMS);
    let count = |end| own.iter().filter(|r| r.end == Some(end)).count();
    assert!(count(Outcome::Truncated) > 0 || count(Outcome::StreamError) > 0);
    // Four requests in five ask for a stream, and not all of them get one.
    let streams: Vec<_> = own
        .iter()
        .filter(|record| record.is_stream == Some(true))
        .collect();
    assert!((own.len() / 4..own.len()).contains(&streams.len()));
    assert!(
        streams
            .iter()
            .all(|record| record.first_token <= record.latency)
    );
}

#[test]
fn a_rule_that_decided_is_lost_and_counted() {
    let folder = Folder::new();
    let log = "fixtures/logs/graygate-attempts.csv";
    let own = convert(log, "graygate", &[]);
    assert!(!own.err.contains("cannot carry"), "{}", own.err);
    for to in ["litellm", "otel"] {
        let out = folder.path().join(to).display().to_string();
        let done = convert(log, to, &["--out", &out]);
        assert_converted(&done, to);
        let said = format!("{to} cannot carry by_chance: 2 records\n");
        assert!(done.err.contains(&said), "{}", done.err);
    }
}
