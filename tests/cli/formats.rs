//! Every format of logs: found out by itself or named, all rows of its fixtures are replayed.

use crate::support::{Folder, graygate};

const ROUTER: &str = "fixtures/routers/gray-10.yaml";

/// A fixture, its format, and how many requests it holds.
type Row = (&'static str, &'static str, u32);

/// Logs of APIs, whose requests have times.
const API_LOGS: [Row; 11] = [
    ("litellm.jsonl", "litellm", 8),
    ("litellm-spend.jsonl", "litellm_spend", 5),
    ("litellm-spend.csv", "litellm_spend", 5),
    ("otel.json", "otel", 6),
    ("otel-spans.jsonl", "otel", 4),
    ("har.har", "har", 6),
    ("goreplay.gor", "gor", 5),
    ("langfuse.json", "langfuse", 5),
    ("langfuse.jsonl", "langfuse", 5),
    ("langfuse.csv", "langfuse", 5),
    ("helicone.jsonl", "helicone", 5),
];

/// Logs of APIs without times.
const API_LOGS_WITHOUT_TIMES: [Row; 3] = [
    ("openai-batch-input.jsonl", "openai_batch", 4),
    ("openai-batch-output.jsonl", "openai_batch", 4),
    ("sharegpt.json", "sharegpt", 5),
];

/// Replays a fixture as this format. Five requests prove no gate, so any verdict will do.
fn reads(folder: &Folder, (file, name, rows): Row, format: &str, speed: &str) {
    let log = format!("fixtures/logs/{file}");
    let out = folder.path().join("reports").display().to_string();
    let done = graygate(&[
        "replay", &log, "--router", ROUTER, "--format", format, "--speed", speed, "--out", &out,
    ]);
    let account = format!("{rows} rows read, {rows} replayed, 0 dropped");
    let said = format!("{file} as {format}: {}{}", done.out, done.err);
    assert!(done.out.contains(&account), "{said}");
    assert!(done.out.contains(&format!(" of {name} at ")), "{said}");
    assert_ne!(done.code, Some(2), "{said}");
}

#[test]
fn logs_of_apis_are_read() {
    let folder = Folder::new();
    for row in API_LOGS {
        reads(&folder, row, "auto", "1x");
        reads(&folder, row, row.1, "1x");
    }
}

#[test]
fn logs_without_times_are_read_at_full_speed() {
    let folder = Folder::new();
    for row in API_LOGS_WITHOUT_TIMES {
        reads(&folder, row, "auto", "max");
        reads(&folder, row, row.1, "max");
        let log = format!("fixtures/logs/{}", row.0);
        let done = graygate(&["replay", &log, "--router", ROUTER]);
        assert_eq!(done.code, Some(2), "{}", done.out);
        assert!(done.err.contains("rows have no time"), "{}", done.err);
    }
}

/// Most of what a browser does is no chat: that does not make its archive a damaged one.
#[test]
fn what_is_no_chat_is_dropped_by_name_and_is_no_damage() {
    let folder = Folder::new();
    let har = std::fs::read_to_string("fixtures/logs/har.har").expect("a fixture");
    let other = "\"entries\": [{\"request\": {\"method\": \"GET\", \"url\": \"https://h/\"}},";
    let log = folder.write("log.har", &har.replace("\"entries\": [", other));
    let out = folder.path().join("reports").display().to_string();
    let done = graygate(&["replay", &log, "--router", ROUTER, "--out", &out]);
    let account = "7 rows read, 6 replayed, 1 dropped (1 no_chat)";
    assert!(done.out.contains(account), "{}{}", done.out, done.err);
}
