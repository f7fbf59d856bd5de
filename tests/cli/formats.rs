//! Every format of logs, through the program: a fixture of each is read to its last row, and known without being named.

use crate::support::{Folder, PASSES, graygate, scenario};

/// A fixture in `fixtures/logs/`, its format, and how many rows are replayed at this speed.
pub(crate) type Case = (&'static str, &'static str, u32, &'static str);

const TRACES: &[Case] = &[
    ("azure.csv", "azure", 12, "1x"),
    ("azure-2025.csv", "azure", 8, "1x"),
    ("burstgpt.csv", "burstgpt", 14, "1x"),
    ("burstgpt-3.csv", "burstgpt", 12, "1x"),
    ("mooncake.jsonl", "mooncake", 12, "1x"),
    ("ragpulse.jsonl", "ragpulse", 8, "1x"),
    ("aiperf.jsonl", "aiperf", 9, "1x"),
    // Later turns have no time of their own.
    ("aiperf-turns.jsonl", "aiperf", 6, "max"),
    ("weka.jsonl", "weka", 8, "1x"),
    ("weka.csv", "weka", 10, "1x"),
    ("weka-trace.json", "weka", 5, "1x"),
    ("graygate.jsonl", "graygate", 8, "1x"),
    ("graygate-requests.csv", "graygate", 9, "1x"),
    ("graygate-attempts.csv", "graygate_attempts", 6, "1x"),
];

/// Two formats look like this one, with another unit: `auto` does not choose.
const NEVER_FOUND: &[Case] = &[
    ("guidellm.jsonl", "guidellm", 10, "1x"),
    ("guidellm.csv", "guidellm", 10, "1x"),
];

/// Logs of APIs, whose requests have times.
const API_LOGS: &[Case] = &[
    ("litellm.jsonl", "litellm", 8, "1x"),
    ("litellm-spend.jsonl", "litellm_spend", 5, "1x"),
    ("litellm-spend.csv", "litellm_spend", 5, "1x"),
    ("otel.json", "otel", 6, "1x"),
    ("otel-spans.jsonl", "otel", 4, "1x"),
    ("har.har", "har", 6, "1x"),
    ("goreplay.gor", "gor", 5, "1x"),
    ("langfuse.json", "langfuse", 5, "1x"),
    ("langfuse.jsonl", "langfuse", 5, "1x"),
    ("langfuse.csv", "langfuse", 5, "1x"),
    ("helicone.jsonl", "helicone", 5, "1x"),
];

/// Logs of APIs without times.
const UNTIMED: &[Case] = &[
    ("openai-batch-input.jsonl", "openai_batch", 4, "max"),
    ("openai-batch-output.jsonl", "openai_batch", 4, "max"),
    ("sharegpt.json", "sharegpt", 5, "max"),
];

/// All that there are.
pub(crate) const ALL: &[&[Case]] = &[TRACES, NEVER_FOUND, API_LOGS, UNTIMED];

fn replay(folder: &Folder, log: &str, format: &str, speed: &str) -> crate::support::Done {
    let out = folder.path().join("reports").display().to_string();
    let log = format!("fixtures/logs/{log}");
    let router = "fixtures/routers/gray-10.yaml";
    let args = ["replay", &log, "--router", router, "--out", &out];
    let more = ["--format", format, "--speed", speed];
    graygate(&[&args[..], &more].concat())
}

/// How many of its rows are further attempts of a request.
pub(crate) fn attempts_merged(log: &str) -> u32 {
    u32::from(log.starts_with("litellm") || log == "graygate-attempts.csv")
}

fn assert_read(folder: &Folder, &(log, _, rows, speed): &Case, format: &str) {
    let done = replay(folder, log, format, speed);
    let sent = rows - attempts_merged(log);
    let account = format!("{rows} rows read, {sent} replayed, 0 dropped");
    assert!(
        done.out.contains(&account),
        "{log} as {format}: {}{}",
        done.out,
        done.err
    );
}

#[test]
fn every_log_is_read_by_name_and_by_itself() {
    let folder = Folder::new();
    for case in [TRACES, API_LOGS, UNTIMED].into_iter().flatten() {
        assert_read(&folder, case, case.1);
        assert_read(&folder, case, "auto");
    }
}

#[test]
fn what_could_be_two_formats_is_named_by_whoever_knows() {
    let folder = Folder::new();
    for case in NEVER_FOUND {
        assert_read(&folder, case, case.1);
        let done = replay(&folder, case.0, "auto", case.3);
        assert_eq!(done.code, Some(2), "{}", done.out);
        for word in ["mooncake", "milliseconds", "guidellm", "seconds"] {
            assert!(done.err.contains(word), "{}", done.err);
        }
    }
}

#[test]
fn every_fixture_is_in_a_table() {
    let folder = format!("{}/fixtures/logs", env!("CARGO_MANIFEST_DIR"));
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap().file_name();
        let is_known = ALL.iter().copied().flatten().any(|case| file == case.0);
        assert!(is_known, "{}", file.display());
    }
}

/// What a run wrote is sent again.
#[test]
fn the_requests_of_a_run_are_replayed() {
    let folder = Folder::new();
    let file = folder.write("short.yaml", &scenario(PASSES));
    let out = folder.path().join("first").display().to_string();
    let done = graygate(&["run", &file, "--out", &out]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    let log = folder.path().join("first/short/virtual-seed3/requests.csv");
    let log = log.display().to_string();
    let router = "fixtures/routers/gray-30-fast.yaml";
    let out = folder.path().join("again").display().to_string();
    let done = graygate(&["replay", &log, "--router", router, "--out", &out]);
    let account = "100 rows read, 100 replayed, 0 dropped";
    assert!(done.out.contains(account), "{}{}", done.out, done.err);
    assert!(done.out.contains("of graygate at 1x"), "{}", done.out);
}

/// What `auto` takes each fixture for is what it is.
#[test]
fn every_log_is_found_as_itself() {
    use graygate::traffic::format::{Head, detect};
    for (log, format, ..) in [TRACES, API_LOGS, UNTIMED].into_iter().flatten() {
        let path = format!("{}/fixtures/logs/{log}", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(path).unwrap();
        let found = detect(&Head::new(&bytes)).map(|(format, _)| format.name);
        assert_eq!(found, Some(*format), "{log}");
    }
}

#[test]
fn logs_without_times_are_sent_at_full_speed_or_not_at_all() {
    let folder = Folder::new();
    for (log, format, ..) in UNTIMED {
        let done = replay(&folder, log, format, "1x");
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
    let done = graygate(&[
        "replay",
        &log,
        "--router",
        "fixtures/routers/gray-10.yaml",
        "--out",
        &out,
    ]);
    let account = "7 rows read, 6 replayed, 1 dropped (1 no_chat)";
    assert!(done.out.contains(account), "{}{}", done.out, done.err);
}
