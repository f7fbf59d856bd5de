//! `graygate replay`: every row accounted for.

use crate::support::{Folder, graygate};

const HEADER: &str = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n";
const ROUTER: &str = "fixtures/routers/gray-30-fast.yaml";

fn rows(n: u32) -> String {
    (0..n)
        .map(|i| {
            format!(
                "2026-03-02 09:{:02}:{:02}.{:07},100,20\r\n",
                i / 600,
                i / 10 % 60,
                i % 10 * 1_000_000
            )
        })
        .collect()
}

fn replay(folder: &Folder, log: &str, more: &[&str]) -> crate::support::Done {
    let out = folder.path().join("reports").display().to_string();
    let mut args = vec!["replay", log, "--router", ROUTER, "--out", &out];
    args.extend(more);
    graygate(&args)
}

#[test]
fn a_log_is_replayed_and_accounted_for() {
    let folder = Folder::new();
    let done = replay(
        &folder,
        "fixtures/azure-sample.csv",
        &["--speed", "10x", "--seed", "4"],
    );
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    assert!(
        done.out.contains("200 rows read, 200 replayed, 0 dropped"),
        "{}",
        done.out
    );
}

/// One wrong year would make a run of decades.
#[test]
fn rows_of_another_age_are_refused() {
    let folder = Folder::new();
    let text = format!("{HEADER}{}2053-03-02 10:00:00.0,1,2\r\n", rows(400));
    let log = folder.write("log.csv", &text);
    let done = replay(&folder, &log, &[]);
    assert_eq!(done.code, Some(2), "{}", done.out);
    assert!(done.err.contains("its rows span 27 years"), "{}", done.err);
}

/// Even when nobody says what to expect, callers must be served.
#[test]
fn a_replay_that_serves_nobody_fails() {
    let folder = Folder::new();
    let log = folder.write("log.csv", &format!("{HEADER}{}", rows(400)));
    let outage = ["--fault", "kind: server_error, on: [v1, v2], share: 99%"];
    let done = replay(&folder, &log, &outage);
    assert_eq!(done.code, Some(1), "{}", done.out);
    assert!(done.out.contains("success >= 95%"), "{}", done.out);
}

#[test]
fn rows_beyond_the_duration_are_left_out_by_name() {
    let folder = Folder::new();
    let log = folder.write("log.csv", &format!("{HEADER}{}", rows(400)));
    let done = replay(&folder, &log, &["--duration", "30s"]);
    let account = "400 rows read, 300 replayed, 100 dropped (100 after_duration)";
    assert!(done.out.contains(account), "{}", done.out);
}

#[test]
fn a_few_unusable_rows_are_dropped_by_name() {
    let folder = Folder::new();
    let text = format!(
        "{HEADER}{}yesterday,1,2\r\n2026-03-02 10:00:00.0,1,many\r\n",
        rows(400)
    );
    let log = folder.write("log.csv", &text);
    let done = replay(&folder, &log, &[]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(
        done.out.contains("402 rows read, 400 replayed, 2 dropped"),
        "{}",
        done.out
    );
    assert!(
        done.out.contains("1 bad_timestamp, 1 bad_tokens"),
        "{}",
        done.out
    );
    let place = done.out.lines().find_map(|l| l.split_once("report:"));
    let report = format!("{}/report.md", place.expect("a folder").1.trim());
    let report = std::fs::read_to_string(report).unwrap();
    assert!(
        report.contains("dropped, bad_timestamp: 1 rows"),
        "{report}"
    );
}

#[test]
fn a_damaged_log_is_refused_with_its_places() {
    let folder = Folder::new();
    let text = format!(
        "{HEADER}{}yesterday,1,2\r\n2026-03-02 10:00:00.0,-1,2\r\n",
        rows(20)
    );
    let log = folder.write("log.csv", &text);
    let done = replay(&folder, &log, &[]);
    assert_eq!(done.code, Some(2));
    insta::assert_snapshot!(folder.anonymous(&done.err));
}

#[test]
fn what_is_no_log_is_refused() {
    let folder = Folder::new();
    for (name, text) in [
        ("empty.csv", String::new()),
        ("header-only.csv", HEADER.to_owned()),
        ("other.jsonl", "{\"timestamp\": 0}\n".to_owned()),
    ] {
        let log = folder.write(name, &text);
        let done = replay(&folder, &log, &[]);
        assert_eq!(done.code, Some(2), "{name}: {}", done.err);
        assert!(done.err.contains(name), "{}", done.err);
    }
    let done = replay(&folder, "fixtures", &[]);
    assert_eq!(done.code, Some(2));
    assert!(done.err.contains("this is a folder"), "{}", done.err);
}

#[test]
fn faults_profiles_and_gates_come_from_the_command_line() {
    let folder = Folder::new();
    let expect = folder.write(
        "expect.yaml",
        "- rollback: {reason: error_rate}\n- after_rollback: {canary_requests: \"0\"}\n",
    );
    let log = folder.write("log.csv", &format!("{HEADER}{}", rows(3_000)));
    let faulty = [
        "--fault",
        "kind: server_error, on: v2, share: 60%, at: 1m",
        "--canary-profile",
        "latency: {lognormal: {median: 10ms, p99: 30ms}}",
        "--expect",
        &expect,
        "--speed",
        "5x",
    ];
    let done = replay(&folder, &log, &faulty);
    // Five minutes of log take one: the fault at 1m comes too late to show anything.
    assert_eq!(done.code, Some(3), "{}", done.out);
    assert!(done.out.contains("no rollback"), "{}", done.out);
    let early = faulty.map(|arg| arg.strip_suffix(", at: 1m").unwrap_or(arg));
    let done = replay(&folder, &log, &early);
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    let done = replay(&folder, &log, &["--fault", "kind: server_error, share: 60"]);
    assert_eq!(done.code, Some(2));
    insta::assert_snapshot!(done.err);
}

/// Two replays of one log keep their reports apart, and say how to run each of them again.
#[test]
fn other_options_are_another_run() {
    let folder = Folder::new();
    let log = folder.write("log.csv", &format!("{HEADER}{}", rows(1_000)));
    let expect = folder.write("expect.yaml", "- requests: {count: \"<= 3\"}\n");
    let slow = "latency: 1s";
    let mut lines = Vec::new();
    for options in [
        vec!["--expect", &expect],
        vec!["--expect", &expect, "--duration", "1m 5s"],
        vec!["--expect", &expect, "--speed", "2x", "--format", "azure"],
        vec!["--expect", &expect, "--canary-profile", slow],
    ] {
        let done = replay(&folder, &log, &options);
        assert_eq!(done.code, Some(1), "{}", done.err);
        let line = done.out.lines().find(|l| l.contains("reproduce:")).unwrap();
        lines.push(line.trim().to_owned());
    }
    assert!(lines[1].contains("--duration 1m5s"), "{}", lines[1]);
    assert!(
        lines[2].contains("--format azure --speed 2x"),
        "{}",
        lines[2]
    );
    assert!(
        lines[3].contains("--canary-profile 'latency: 1s'"),
        "{}",
        lines[3]
    );
    let runs = || {
        let runs = std::fs::read_dir(folder.path().join("reports/replay-log")).unwrap();
        let mut names: Vec<String> = runs
            .map(|run| run.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    let first = runs();
    assert_eq!(first.len(), 4, "{first:?}");
    assert!(
        first.iter().all(|n| n.starts_with("virtual-seed1-")),
        "{first:?}"
    );
    // The printed line does the same again, so it replaces one of them.
    let words: Vec<&str> = lines[1].split_whitespace().skip(2).collect();
    let out = folder.path().join("reports").display().to_string();
    let mut again = words.clone();
    again.extend(["--out", &out]);
    assert_eq!(graygate(&again).code, Some(1));
    assert_eq!(runs(), first);
}

#[test]
fn at_full_speed_the_answers_set_the_pace() {
    let folder = Folder::new();
    let log = folder.write("log.csv", &format!("{HEADER}{}", rows(1_000)));
    let done = replay(&folder, &log, &["--speed", "max"]);
    assert_eq!(done.code, Some(0), "{}", done.out);
    assert!(done.out.contains("1,000 requests"), "{}", done.out);
}
