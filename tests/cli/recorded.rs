//! `graygate replay` with what a log tells beyond times and tokens: attempts, streams, answers; and more or less of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::replay::{HEADER, ROUTER, replay, rows, sent};
use crate::support::{Folder, graygate};

/// A log of graygate's own form, of these lines.
fn native(folder: &Folder, name: &str, lines: &[String]) -> String {
    let text = lines.join("\n");
    folder.write(
        name,
        &format!("{{\"format\":\"graygate.log/1\"}}\n{text}\n"),
    )
}

/// A file of the one run there is.
fn of_the_run(folder: &Folder, name: &str) -> String {
    let inside = |path: PathBuf| {
        let mut entries = std::fs::read_dir(path).unwrap();
        entries.next().unwrap().unwrap().path()
    };
    let run = inside(inside(folder.path().join("reports")));
    std::fs::read_to_string(run.join(name)).unwrap()
}

fn summary(folder: &Folder) -> Value {
    serde_json::from_str(&of_the_run(folder, "summary.json")).unwrap()
}

/// These columns of `requests.csv`.
fn columns(folder: &Folder, names: &[&str]) -> Vec<Vec<String>> {
    let text = of_the_run(folder, "requests.csv");
    let mut rows = text.lines().map(|row| row.split(',').collect::<Vec<_>>());
    let header = rows.next().unwrap();
    let place = |name: &&str| header.iter().position(|h| h == name).expect("a column");
    let places: Vec<usize> = names.iter().map(place).collect();
    rows.map(|row| places.iter().map(|p| row[*p].to_owned()).collect())
        .collect()
}

/// Forty requests that were tried again once each, and eighty that were not: a hundred and twenty requests.
fn with_retries() -> Vec<String> {
    let line = |at: f64, trace: u32, outcome: &str, tokens: u32| {
        format!(
            "{{\"at_s\":{at},\"input_tokens\":{tokens},\"output_tokens\":20,\"trace\":\"t{trace}\",\
             \"outcome\":\"{outcome}\",\"latency_ms\":400}}"
        )
    };
    let lines = (0..40_u32).flat_map(|n| {
        let at = f64::from(n) * 2.0;
        [
            line(at, n, "rate_limited", 0),
            line(at + 0.5, n, "success", 100),
            line(at + 1.0, n, "success", 100),
            line(at + 1.5, n, "success", 100),
        ]
    });
    lines.collect()
}

/// A gateway writes a record an attempt. Callers made fewer requests, and so many are sent.
#[test]
fn attempts_are_sent_as_the_requests_that_callers_made() {
    let folder = Folder::new();
    let log = native(&folder, "log.jsonl", &with_retries());
    let done = replay(&folder, &log, &[]);
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    let account = "160 rows read, 120 replayed, 0 dropped, 40 merged as attempts";
    assert!(done.out.contains(account), "{}", done.out);
    let rows = columns(&folder, &["scheduled_at_s", "input_tokens"]);
    assert_eq!(rows.len(), 120);
    assert_eq!(rows[..2], [["0.000000", "100"], ["1.000000", "100"]]);
    let log = summary(&folder)["log"].clone();
    assert_eq!((&log["merged"], &log["cut_short"]), (&json!(40), &json!(0)));
    let report = of_the_run(&folder, "report.md");
    assert!(report.contains("40 rows are further attempts"), "{report}");
}

#[test]
fn requests_for_streams_are_sent_as_such() {
    let line = |n: u32| {
        let stream = [",\"stream\":true", ",\"stream\":false", ""][n as usize % 3];
        format!("{{\"at_s\":{n},\"input_tokens\":9,\"output_tokens\":5{stream}}}")
    };
    let lines: Vec<String> = (0..90).map(line).collect();
    let folder = Folder::new();
    let log = native(&folder, "log.jsonl", &lines);
    let done = replay(&folder, &log, &[]);
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    let all = summary(&folder);
    assert_eq!(all["log"]["streams"], 30);
    assert_eq!(all["requests"]["streams"]["whole"], 30);
    // Not one of those that are replayed asks for a stream, so nothing speaks of them.
    let folder = Folder::new();
    let log = native(&folder, "log.jsonl", &lines);
    let done = replay(&folder, &log, &["--from", "1s", "--to", "3s"]);
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    assert!(summary(&folder)["requests"].get("streams").is_none());
}

const ALL_STABLE: &str = "\
name: all-stable
versions:
  v1: {role: stable, model: a, endpoint: \"http://127.0.0.1:1/v1\", api_key_env: A}
  v2: {role: canary, model: b, endpoint: \"http://127.0.0.1:2/v1\", api_key_env: B}
split: {weights: {v1: 100, v2: 0}}
judge: off
";

/// The latency and the end of every request are those of the log, at whatever pace it is sent.
#[test]
fn stable_answers_as_the_log_says() {
    let outcome = |n: usize| ["success", "bad_request"][usize::from(n % 50 == 7)];
    let told = |n: usize| {
        format!(
            "{{\"at_s\":{n},\"input_tokens\":9,\"output_tokens\":{},\"outcome\":\"{}\",\"latency_ms\":{}}}",
            n + 1,
            outcome(n),
            100 + n
        )
    };
    // Nobody knows how long these would have taken: one was given up, and of the other the log says nothing.
    let untold = [
        "{\"at_s\":300,\"output_tokens\":1,\"outcome\":\"client_gone\",\"latency_ms\":99}",
        "{\"at_s\":301,\"output_tokens\":1}",
    ];
    let lines: Vec<String> = (0..200)
        .map(told)
        .chain(untold.map(str::to_owned))
        .collect();
    let folder = Folder::new();
    let log = native(&folder, "log.jsonl", &lines);
    let router = folder.write("router.yaml", ALL_STABLE);
    let expect = folder.write("expect.yaml", "- requests: {count: \"202\"}\n");
    let out = folder.path().join("reports").display().to_string();
    let done = graygate(&[
        "replay",
        &log,
        "--router",
        &router,
        "--out",
        &out,
        "--expect",
        &expect,
        "--upstream",
        "recorded",
        "--profile",
        "latency: 2s",
        "--speed",
        "10x",
    ]);
    // Inconclusive: nobody met the canary.
    assert_eq!(done.code, Some(3), "{}{}", done.out, done.err);
    let rows = columns(&folder, &["scheduled_at_s", "outcome", "latency_ms"]);
    assert_eq!(rows.len(), 202);
    for row in &rows {
        // The pace is tenfold; answers take as long as they did.
        let at: f64 = row[0].parse().unwrap();
        let n = (at * 10.0).round() as usize;
        let expected = match n < 200 {
            true => (outcome(n), format!("{}.000", 100 + n)),
            false => ("success", "2000.000".to_owned()),
        };
        assert_eq!((row[1].as_str(), row[2].clone()), expected, "{row:?}");
    }
    let all = summary(&folder);
    assert_eq!(
        all["recorded_answers"],
        json!({"from_log": 200, "from_profile": 2})
    );
    assert!(
        all["reproduce"]
            .as_str()
            .unwrap()
            .contains("--upstream recorded")
    );
    let report = of_the_run(&folder, "report.md");
    assert!(
        report.contains("recorded answers: 99.01 % (200 of 202)"),
        "{report}"
    );
}

/// The second try at stable is answered like the second attempt of the log, and those after the last one like it.
#[test]
fn tries_are_answered_like_the_attempts_of_the_log() {
    let folder = Folder::new();
    let log = native(&folder, "log.jsonl", &with_retries());
    let router = folder.write(
        "router.yaml",
        &format!("{ALL_STABLE}retry: {{max_retries: 2, base: 100ms}}\n"),
    );
    let out = folder.path().join("reports").display().to_string();
    let done = graygate(&[
        "replay",
        &log,
        "--router",
        &router,
        "--out",
        &out,
        "--upstream",
        "recorded",
    ]);
    // Inconclusive: nobody met the canary.
    assert_eq!(done.code, Some(3), "{}{}", done.out, done.err);
    let rows = columns(&folder, &["outcome", "attempts"]);
    let tried_again = rows.iter().filter(|row| row[1] == "2").count();
    assert_eq!((rows.len(), tried_again), (120, 40));
    assert!(rows.iter().all(|row| row[0] == "success"));
    assert_eq!(summary(&folder)["recorded_answers"]["from_log"], 160);
}

/// Its answers are drawn from another log, each with its own latency and tokens.
#[test]
fn the_canary_answers_like_another_log() {
    let folder = Folder::new();
    let line = |n: u32, tokens: u32, ms: u32| {
        format!(
            "{{\"at_s\":{n},\"input_tokens\":9,\"output_tokens\":{tokens},\"latency_ms\":{ms}}}"
        )
    };
    let lines: Vec<String> = (0..300).map(|n| line(n, 50, 10)).collect();
    let log = native(&folder, "log.jsonl", &lines);
    let others = [line(1, 10, 100), line(2, 20, 200), line(3, 40, 400)];
    let canary = native(&folder, "canary.jsonl", &others);
    let done = replay(
        &folder,
        &log,
        &["--upstream", "recorded", "--canary-upstream", &canary],
    );
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    let rows = columns(&folder, &["served_by", "latency_ms"]);
    let kinds: BTreeSet<String> = rows.into_iter().map(|row| row.join(" ")).collect();
    let kinds: Vec<String> = kinds.into_iter().collect();
    assert_eq!(
        kinds,
        ["v1 10.000", "v2 100.000", "v2 200.000", "v2 400.000"]
    );
    assert_eq!(
        summary(&folder)["recorded_answers"],
        json!({"from_log": 300, "from_profile": 0})
    );
    let silent = folder.write("silent.csv", &format!("{HEADER}{}", rows_of_azure()));
    let done = replay(&folder, &log, &["--canary-upstream", &silent]);
    assert_eq!(done.code, Some(2), "{}", done.out);
    let said = "does not say of any request how it was answered";
    assert!(done.err.contains(said), "{}", done.err);
}

fn rows_of_azure() -> String {
    rows(20)
}

/// A replay of 400 rows, ten a second: the summary, what was sent when, and the output.
fn azure(more: &[&str]) -> (Value, Vec<String>, String) {
    let folder = Folder::new();
    let log = folder.write("log.csv", &format!("{HEADER}{}", rows(400)));
    let done = replay(&folder, &log, more);
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    (summary(&folder)["log"].clone(), sent(&folder), done.out)
}

#[test]
fn a_log_is_scaled_by_conversation_and_that_is_told() {
    let (log, times, out) = azure(&["--scale-rate", "2.5", "--seed", "3"]);
    let (replayed, copies) = (
        log["replayed"].as_u64().unwrap(),
        log["copies"].as_u64().unwrap(),
    );
    assert_eq!((replayed, times.len() as u64), (400 + copies, replayed));
    // Five standard deviations of Binomial(400, 0.5).
    assert!((950..=1_050).contains(&replayed), "{replayed}");
    assert!(out.contains(&format!("{copies} copies")), "{out}");
    let mut distinct = times;
    distinct.dedup();
    assert!(distinct.len() as u64 > replayed - 10, "copies are no pairs");
    assert_eq!(azure(&["--scale-rate", "2.5", "--seed", "3"]).0, log);
    assert_ne!(azure(&["--scale-rate", "2.5", "--seed", "4"]).0, log);
    let (thin, ..) = azure(&["--scale-rate", "0.25"]);
    let left = thin["replayed"].as_u64().unwrap();
    // Five standard deviations of Binomial(400, 0.25).
    assert!((57..=143).contains(&left), "{left}");
    assert_eq!(thin["dropped"], json!([["thinned", 400 - left]]));
}

#[test]
fn a_log_is_sent_again_without_a_break_and_that_is_told() {
    let (log, times, out) = azure(&["--loop", "3", "--from", "10s", "--to", "20s"]);
    let shown = "400 rows read, 300 replayed, 300 dropped (100 before_from, 200 after_to), 200 in later rounds";
    assert!(out.contains(shown), "{out}");
    assert_eq!((&log["rounds"], &log["repeated"]), (&json!(3), &json!(200)));
    // Ten a second from first to last: a round begins a mean gap after the one before it.
    let mut expected: Vec<String> = (0..300)
        .map(|n| format!("{}.{}00000 100", n / 10, n % 10))
        .collect();
    expected.sort();
    assert_eq!(times, expected);
}

/// What is asked for is in the line that does it again; what is no such thing is refused.
#[test]
fn options_of_a_replay_are_told_and_checked() {
    let folder = Folder::new();
    let log = native(&folder, "log.jsonl", &with_retries());
    let expect = folder.write("expect.yaml", "- requests: {count: \"<= 3\"}\n");
    let done = replay(
        &folder,
        &log,
        &[
            "--expect",
            &expect,
            "--scale-rate",
            "1.5",
            "--loop",
            "2",
            "--upstream",
            "recorded",
            "--canary-upstream",
            &log,
            "--canary-format",
            "graygate",
        ],
    );
    assert_eq!(done.code, Some(1), "{}", done.err);
    let line = done.out.lines().find(|l| l.contains("reproduce:")).unwrap();
    for said in [
        "--scale-rate 1.5 --loop 2",
        "--upstream recorded",
        "--canary-format graygate",
        "--canary-upstream ",
    ] {
        assert!(line.contains(said), "{said}: {line}");
    }
    for (flag, wrong, hint) in [
        ("--scale-rate", "0", "above 0 and at most 1000"),
        ("--scale-rate", "1e9", "above 0 and at most 1000"),
        ("--scale-rate", "NaN", "above 0 and at most 1000"),
        ("--loop", "1", "from 2 to 10000"),
        ("--loop", "10001", "from 2 to 10000"),
        ("--upstream", "mine", "recorded"),
        ("--canary-upstream", "nowhere.jsonl", "nowhere.jsonl"),
    ] {
        let done = replay(&folder, &log, &[flag, wrong]);
        assert_eq!(done.code, Some(2), "{flag} {wrong}");
        assert!(done.err.contains(hint), "{flag} {wrong}: {}", done.err);
    }
}

/// A scenario with these upstreams and this traffic, beside a log.
fn scenario(upstreams: &str, traffic: &str) -> (crate::support::Done, Option<Value>) {
    let folder = Folder::new();
    native(&folder, "log.jsonl", &with_retries());
    let router = Path::new(env!("CARGO_MANIFEST_DIR")).join(ROUTER);
    let text = format!(
        "name: recorded\nrouter: {}\nupstreams: {upstreams}\ntraffic: {traffic}\n\
         expect:\n  - requests: {{count: \">= 1\"}}\n",
        router.display()
    );
    let path = folder.write("recorded.yaml", &text);
    let out = folder.path().join("reports").display().to_string();
    let done = graygate(&["run", &path, "--out", &out]);
    let all = (done.code == Some(0)).then(|| summary(&folder));
    (done, all)
}

const MADE_UP: &str = "{synthetic: {arrivals: {constant: 5/s}, requests: 50}}";

#[test]
fn a_scenario_says_the_same_in_its_own_words() {
    let log = "{replay: {log: log.jsonl, scale_rate: 2, loop: 2}}";
    let like = "{v1: recorded, v2: {mock: {like: v1, latency_factor: 2}}}";
    let (done, all) = scenario(like, log);
    let all = all.unwrap_or_else(|| panic!("{}{}", done.out, done.err));
    assert_eq!(all["log"]["replayed"], 480);
    assert_eq!(all["recorded_answers"]["from_profile"], 0);
    let p50 = |n: usize| {
        all["versions"][["v1", "v2"][n]]["latency"]["p50_ms"]
            .as_f64()
            .unwrap()
    };
    assert!(
        (p50(1) / p50(0) - 2.0).abs() < 0.1,
        "{} and {}",
        p50(0),
        p50(1)
    );
    let otherwise = "{v1: {recorded: {otherwise: {latency: 1s}}}, v2: {recorded: {log: log.jsonl, format: graygate}}}";
    let (done, all) = scenario(otherwise, "{replay: {log: log.jsonl}}");
    assert!(all.is_some(), "{}{}", done.out, done.err);
    let drawn = "{v1: {mock: {latency: 1ms}}, v2: {recorded: {log: log.jsonl}}}";
    let (done, all) = scenario(drawn, MADE_UP);
    assert!(all.is_some(), "{}{}", done.out, done.err);
}

#[test]
fn a_scenario_that_cannot_be_is_refused() {
    let both = "{v1: recorded, v2: recorded}";
    let log = "{replay: {log: log.jsonl}}";
    for (upstreams, traffic, wrong) in [
        (
            both,
            MADE_UP,
            "only answer as the log says where a log is replayed",
        ),
        (
            "{v1: recorded, v2: {mock: {like: v1, server: wiremock}}}",
            log,
            "wiremock cannot play recorded answers",
        ),
        (
            "{v1: recorded, v2: {recorded: {format: azure}}}",
            log,
            "that of another log",
        ),
        (
            "{v1: recorded, v2: {recorded: {log: none.jsonl}}}",
            log,
            "none.jsonl",
        ),
        ("{v1: recorded, v2: remembered}", log, "`recorded`"),
        (
            both,
            "{replay: {log: log.jsonl, loop: 1}}",
            "from 2 to 10000",
        ),
        (both, "{replay: {log: log.jsonl, scale_rate: 0}}", "above 0"),
    ] {
        let (done, _) = scenario(upstreams, traffic);
        assert_eq!(done.code, Some(2), "{wrong}: {}", done.out);
        assert!(done.err.contains(wrong), "{wrong}: {}", done.err);
    }
}
