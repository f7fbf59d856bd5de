//! `graygate replay`: every row accounted for.

use crate::support::{Folder, graygate};

pub(crate) const HEADER: &str = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n";
pub(crate) const ROUTER: &str = "fixtures/routers/gray-30-fast.yaml";

pub(crate) fn rows(n: u32) -> String {
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

pub(crate) fn replay(folder: &Folder, log: &str, more: &[&str]) -> crate::support::Done {
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

/// The rows of `requests.csv` of the one run there is, without what hangs on the router.
pub(crate) fn sent(folder: &Folder) -> Vec<String> {
    let runs = std::fs::read_dir(folder.path().join("reports")).unwrap();
    let scenario = runs.map(|entry| entry.unwrap().path()).next().unwrap();
    let run = std::fs::read_dir(scenario).unwrap().next().unwrap();
    let rows = std::fs::read_to_string(run.unwrap().path().join("requests.csv")).unwrap();
    let times = rows.lines().skip(1).map(|row| {
        let fields: Vec<&str> = row.split(',').collect();
        format!("{} {}", fields[1], fields[13])
    });
    let mut times: Vec<String> = times.collect();
    times.sort();
    times
}

fn sent_of(log: impl FnOnce(&Folder) -> String, more: &[&str]) -> Vec<String> {
    let folder = Folder::new();
    let path = log(&folder);
    let done = replay(&folder, &path, more);
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    sent(&folder)
}

/// Packed or not, in order or not, from a file or a pipe: the same requests are sent at the same times.
#[test]
fn a_log_is_the_same_however_it_comes() {
    let text = || format!("{HEADER}{}", rows(400));
    let plain = sent_of(|folder| folder.write("log.csv", &text()), &[]);
    assert_eq!(plain.len(), 400);
    let packed = |folder: &Folder, bytes: Vec<u8>| {
        let path = folder.path().join("log.csv");
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let gzip = sent_of(
        |folder| {
            use std::io::Write;
            let level = flate2::Compression::fast();
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(text().as_bytes()).unwrap();
            packed(folder, encoder.finish().unwrap())
        },
        &[],
    );
    assert_eq!(plain, gzip);
    let zstd = sent_of(
        |folder| {
            let level = ruzstd::encoding::CompressionLevel::Fastest;
            packed(
                folder,
                ruzstd::encoding::compress_to_vec(text().as_bytes(), level),
            )
        },
        &[],
    );
    assert_eq!(plain, zstd);
    let backwards = sent_of(
        |folder| {
            let all = rows(400);
            let lines: Vec<&str> = all.lines().rev().collect();
            folder.write("log.csv", &format!("{HEADER}{}\r\n", lines.join("\r\n")))
        },
        &[],
    );
    assert_eq!(plain, backwards);
}

#[test]
#[cfg(unix)]
fn a_log_can_come_from_a_pipe() {
    use std::io::Write;
    use std::process::Stdio;
    let folder = Folder::new();
    let out = folder.path().join("reports").display().to_string();
    let args = ["replay", "/dev/stdin", "--router", ROUTER, "--out", &out];
    let mut child = crate::support::command(&args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(format!("{HEADER}{}", rows(400)).as_bytes())
        .unwrap();
    drop(pipe);
    let done = crate::support::done(child.wait_with_output().unwrap());
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    assert!(
        done.out.contains("400 rows read, 400 replayed"),
        "{}",
        done.out
    );
}

#[test]
fn a_stretch_and_a_sample_of_a_log_are_replayed_and_the_rest_is_counted() {
    let folder = Folder::new();
    let log = folder.write("log.csv", &format!("{HEADER}{}", rows(400)));
    let done = replay(&folder, &log, &["--from", "10s", "--to", "30s"]);
    let account = "400 rows read, 200 replayed, 200 dropped (100 before_from, 100 after_to)";
    assert!(done.out.contains(account), "{}", done.out);
    let first = sent(&folder).into_iter().next();
    assert_eq!(first.as_deref(), Some("0.000000 100"));
    let folder = Folder::new();
    let log = folder.write("log.csv", &format!("{HEADER}{}", rows(400)));
    let done = replay(&folder, &log, &["--sample", "25%", "--seed", "5"]);
    assert!(done.out.contains("not_sampled"), "{}", done.out);
    assert_eq!(done.code, Some(0), "{}", done.out);
    let n = sent(&folder).len();
    // Five standard deviations of Binomial(400, 0.25).
    assert!((57..=143).contains(&n), "{n}");
    let nothing = replay(&folder, &log, &["--from", "1h"]);
    assert_eq!(nothing.code, Some(2));
    assert!(
        nothing.err.contains("nothing of the log is left"),
        "{}",
        nothing.err
    );
    for (flag, wrong) in [("--sample", "0%"), ("--sample", "101%"), ("--spread", "0s")] {
        assert_eq!(
            replay(&folder, &log, &[flag, wrong]).code,
            Some(2),
            "{flag} {wrong}"
        );
    }
}

/// Ten rows share each second: their clock was too coarse. Moved within it, they come one by one, and the report
/// says so.
#[test]
fn rows_are_spread_within_the_grain_of_the_logs_clock_and_that_is_told() {
    let coarse: String = (0..400)
        .map(|i| format!("2026-03-02 09:00:{:02},100,20\r\n", i / 10))
        .collect();
    let text = format!("{HEADER}{coarse}");
    let report = |more: &[&str]| {
        let folder = Folder::new();
        let log = folder.write("log.csv", &text);
        let done = replay(&folder, &log, more);
        assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
        let place = done.out.lines().find_map(|l| l.split_once("report:"));
        let report = format!("{}/report.md", place.expect("a folder").1.trim());
        (std::fs::read_to_string(report).unwrap(), sent(&folder))
    };
    let (said, literal) = report(&[]);
    assert!(said.contains("a grain of 1.000 s"), "{said}");
    let (said, spread) = report(&["--spread", "auto"]);
    assert!(
        said.contains("**rows were moved** by up to 1.000 s"),
        "{said}"
    );
    assert!(said.contains("differ from those recorded by 0.9"), "{said}");
    let moments = |times: &[String]| {
        let mut times: Vec<&String> = times.iter().collect();
        times.dedup();
        times.len()
    };
    assert_eq!((moments(&literal), moments(&spread)), (40, 400));
    let (_, again) = report(&["--spread", "auto"]);
    assert_eq!(spread, again);
    let folder = Folder::new();
    let fine = folder.write("log.csv", &format!("{HEADER}{}", rows(400)));
    let done = replay(&folder, &fine, &["--spread", "auto"]);
    assert!(done.err.contains("shows no grain"), "{}", done.err);
}

/// Exports come in pages, one array behind the other; and a file that is cut off is no whole log.
#[test]
fn arrays_behind_each_other_are_one_log_and_a_cut_one_is_none() {
    let folder = Folder::new();
    let page = |from: u32| {
        let rows = (from..from + 100).map(|n| {
            format!("{{\"timestamp\": {}, \"input_length\": 9, \"output_length\": 9, \"hash_ids\": [1]}}", n * 10)
        });
        format!("[{}]", rows.collect::<Vec<_>>().join(",\n"))
    };
    let log = folder.write("pages.json", &format!("{}\n{}\n", page(0), page(100)));
    let done = replay(&folder, &log, &[]);
    assert!(
        done.out.contains("200 rows read, 200 replayed"),
        "{}{}",
        done.out,
        done.err
    );
    let whole = page(0);
    let log = folder.write("cut.json", &whole[..whole.len() - 1]);
    let done = replay(&folder, &log, &[]);
    assert_eq!(done.code, Some(2), "{}", done.out);
    assert!(done.err.contains("the file is cut off"), "{}", done.err);
}

#[test]
fn rows_are_not_spread_so_far_that_too_many_would_change_places() {
    let folder = Folder::new();
    let dense: String = (0..200_000)
        .map(|i| {
            format!(
                "2026-03-02 09:00:{:02}.{:04},1,1\r\n",
                i / 10_000,
                i % 10_000
            )
        })
        .collect();
    let log = folder.write("log.csv", &format!("{HEADER}{dense}"));
    let done = replay(&folder, &log, &["--spread", "15s"]);
    assert_eq!(done.code, Some(2), "{}", done.out);
    assert!(done.err.contains("cannot be spread so far"), "{}", done.err);
}
