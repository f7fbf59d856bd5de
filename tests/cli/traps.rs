//! Traps of recorded formats that show only when a log is replayed as a whole: what stands in the wrong order, at one
//! moment or for a failure, and is told in the report.

use serde_json::Value;

use crate::support::{Folder, graygate};

/// What was replayed of a log: what the summary says of the log, and the requests in the order of their numbers, as their
/// times and the tokens of their prompts.
struct Replayed {
    log: Value,
    requests: Vec<(String, u32)>,
}

fn replay(folder: &Folder, log: &str) -> Replayed {
    let out = folder.path().join("reports");
    let text = out.display().to_string();
    let router = "fixtures/routers/gray-10.yaml";
    let args = ["replay", log, "--router", router, "--out", &text];
    let done = graygate(&[&args[..], &["--records", "all", "-q"]].concat());
    let run = crate::convert::found("summary.json", &out);
    let run = run.unwrap_or_else(|| panic!("{log}: {}", done.err));
    let summary = std::fs::read_to_string(&run).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let requests = requests(&run.with_file_name("requests.csv"));
    std::fs::remove_dir_all(&out).unwrap();
    let log = summary["log"].clone();
    Replayed { log, requests }
}

fn requests(file: &std::path::Path) -> Vec<(String, u32)> {
    let mut table = csv::Reader::from_path(file).unwrap();
    let names = table.headers().unwrap().clone();
    let place = |name| names.iter().position(|n| n == name).unwrap();
    let [key, at, tokens] = ["key", "scheduled_at_s", "input_tokens"].map(place);
    let rows = table.records().map(Result::unwrap);
    let rows = rows.map(|row| {
        let number = |place: usize| row[place].parse::<u32>().unwrap();
        (number(key), (row[at].to_owned(), number(tokens)))
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort();
    rows.into_iter().map(|(_, request)| request).collect()
}

/// Two rows of one moment, and one that stands before its time.
#[test]
fn rows_are_sorted_stably_and_what_stood_wrongly_is_counted() {
    let replayed = replay(&Folder::new(), "fixtures/logs/ragpulse.jsonl");
    assert_eq!(replayed.log["inversions"], 1);
    assert_eq!(replayed.log["recorded"]["ties"], 1);
    let middle: Vec<_> = replayed.requests[1..5]
        .iter()
        .map(|(at, tokens)| (at.as_str(), *tokens))
        .collect();
    let expected = [
        ("11.000000", 1_789),
        ("11.000000", 1_976),
        ("38.000000", 1_196),
        ("43.000000", 2_349),
    ];
    assert_eq!(middle, expected);
}

/// GoReplay writes requests as they end, or as its buffers are flushed.
#[test]
fn captures_are_sorted() {
    let record = |id: u32, at: u64| {
        let body = "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
        let head = "POST /v1/chat/completions HTTP/1.1\r\nContent-Type: application/json";
        let length = body.len();
        format!("1 {id:024x} {at} 0\n{head}\r\nContent-Length: {length}\r\n\r\n{body}\n🐵🙈🙉\n")
    };
    let second = 1_000_000_000;
    let start = 1_772_442_000 * second;
    let times = [2, 0, 3, 1].map(|s| start + s * second);
    let records = (1..).zip(times).map(|(id, at)| record(id, at));
    let folder = Folder::new();
    let log = folder.write("log.gor", &records.collect::<String>());
    let replayed = replay(&folder, &log);
    assert_eq!(replayed.log["format"], "gor");
    assert_eq!(replayed.log["inversions"], 2);
    let times: Vec<_> = replayed
        .requests
        .iter()
        .map(|(at, _)| at.as_str())
        .collect();
    assert_eq!(times, ["0.000000", "1.000000", "2.000000", "3.000000"]);
}

/// Rows without an answer are requests that failed: sent like all others, and told as the log's own.
#[test]
fn failures_of_a_log_are_sent_and_told() {
    for (log, rows) in [("burstgpt.csv", 14), ("burstgpt-3.csv", 12)] {
        let text = std::fs::read_to_string(format!("fixtures/logs/{log}")).unwrap();
        let mut table = csv::Reader::from_reader(text.as_bytes());
        let names = table.headers().unwrap().clone();
        let tokens = names.iter().position(|name| name == "Response tokens");
        let failed = table.records().map(Result::unwrap);
        let failed = failed.filter(|row| &row[tokens.unwrap()] == "0").count();
        let replayed = replay(&Folder::new(), &format!("fixtures/logs/{log}"));
        assert_eq!(replayed.log["replayed"], rows, "{log}");
        assert_eq!(replayed.requests.len(), rows, "{log}");
        assert!(failed > 0, "{log}");
        assert_eq!(replayed.log["failed"][0][0], "server_error", "{log}");
        assert_eq!(replayed.log["failed"][0][1], failed, "{log}");
        // A clock of whole seconds.
        assert_eq!(replayed.log["recorded"]["quantum_s"], 1.0, "{log}");
    }
}

/// Prompts are as long as the log says, however many hashes of blocks it has, of whatever length.
#[test]
fn prompts_are_as_long_as_the_log_says() {
    for log in ["mooncake.jsonl", "weka.jsonl", "ragpulse.jsonl"] {
        let path = format!("fixtures/logs/{log}");
        let text = std::fs::read_to_string(&path).unwrap();
        let lengths = text.lines().map(|line| {
            let row: Value = serde_json::from_str(line).unwrap();
            let length = row.get("input_length").or_else(|| row.get("in"));
            length.and_then(Value::as_u64).unwrap()
        });
        let mut lengths: Vec<_> = lengths.collect();
        assert!(text.contains("hash_ids"), "{log}");
        let replayed = replay(&Folder::new(), &path);
        let sent = replayed
            .requests
            .iter()
            .map(|(_, tokens)| u64::from(*tokens));
        let mut sent: Vec<_> = sent.collect();
        lengths.sort_unstable();
        sent.sort_unstable();
        assert_eq!(sent, lengths, "{log}");
    }
}
