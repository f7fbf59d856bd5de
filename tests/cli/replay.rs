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
    let report = folder
        .path()
        .join("reports/replay-log/virtual-seed1/report.md");
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

#[test]
fn at_full_speed_the_answers_set_the_pace() {
    let folder = Folder::new();
    let log = folder.write("log.csv", &format!("{HEADER}{}", rows(1_000)));
    let done = replay(&folder, &log, &["--speed", "max"]);
    assert_eq!(done.code, Some(0), "{}", done.out);
    assert!(done.out.contains("1,000 requests"), "{}", done.out);
}
