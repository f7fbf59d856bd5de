//! `graygate audit`: a log that says who served is judged as the run was that it comes from.

use std::path::Path;

use serde_json::Value;

use crate::support::{Done, Folder, graygate};

pub(crate) const ROUTER: &str = "fixtures/routers/gray-10.yaml";

/// Runs a scenario and gives the folder of the run.
fn run(folder: &Folder, scenario: &str) -> String {
    let out = folder.path().join("runs");
    let out = out.display().to_string();
    let done = graygate(&["run", scenario, "--out", &out, "-q", "--engine", "virtual"]);
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    only(&only(&out))
}

/// The only thing in a folder.
fn only(folder: &str) -> String {
    let mut inside = std::fs::read_dir(folder).expect("a folder");
    let entry = inside.next().expect("something in it").expect("readable");
    assert!(inside.next().is_none(), "more than one thing in {folder}");
    entry.path().display().to_string()
}

pub(crate) fn audit(folder: &Folder, log: &str, more: &[&str]) -> Done {
    let out = folder.path().join("audits").display().to_string();
    let mut args = vec!["audit", log, "--out", &out];
    args.extend(more);
    graygate(&args)
}

/// The summary of the only audit in a folder, which is removed.
pub(crate) fn summary(folder: &Folder) -> Value {
    let out = folder.path().join("audits").display().to_string();
    let summary = read_summary(&only(&only(&out)));
    std::fs::remove_dir_all(&out).expect("a folder");
    summary
}

fn plot(folder: &Folder, name: &str) -> String {
    let out = folder.path().join("audits").display().to_string();
    std::fs::read_to_string(Path::new(&only(&only(&out))).join(name)).expect("a plot")
}

fn read_summary(run: &str) -> Value {
    let text = std::fs::read_to_string(Path::new(run).join("summary.json")).expect("a summary");
    serde_json::from_str(&text).expect("JSON")
}

/// What a gate says, without its position in the list.
fn gate<'a>(summary: &'a Value, name: &str) -> &'a Value {
    let gates = summary["gates"].as_array().expect("gates");
    let gate = gates.iter().find(|gate| gate["name"] == name);
    &gate.unwrap_or_else(|| panic!("no gate {name}"))["checks"]
}

/// Conditions of a gate, what was seen, and the figures: all that a reader compares.
fn said(summary: &Value, name: &str) -> Vec<Value> {
    let checks = gate(summary, name).as_array().expect("checks");
    let is_own = |check: &&Value| check["condition"] != "its record fits the run";
    checks.iter().filter(is_own).map(to_micros).collect()
}

/// Logs know microseconds.
fn to_micros(check: &Value) -> Value {
    let mut check = check.clone();
    let estimate = &mut check["evidence"]["estimate"];
    if let Some(figure) = estimate.as_f64() {
        *estimate = Value::from((figure * 1e6).floor() / 1e6);
    }
    check
}

const EXPECTED: &str = "
- split: {v2: 10%, tolerance: 3pp, until: 2m, confidence: 99.9%}
- fallback: {succeeds: \"100%\"}
- rollback: {reason: error_rate, within: 25s, since: 2m, canary_requests: \"<= 150\", user_errors: \"0\"}
- after_rollback: {canary_requests: \"0\"}
- requests: {success: \">= 99.9%\", p99: \"< 500ms\"}
";

#[test]
fn a_run_is_audited_in_three_forms_and_says_the_same() {
    let folder = Folder::new();
    let run = run(
        &folder,
        "scenarios/canary-401-falls-back-and-rolls-back.yaml",
    );
    let of_run = read_summary(&run);
    let attempts = format!("{run}/attempts.csv");
    let gates = folder.write("gates.yaml", EXPECTED);
    let mut logs = vec![attempts.clone()];
    for format in ["litellm", "otel", "graygate"] {
        let log = folder.path().join(format!("{format}.jsonl"));
        let log = log.display().to_string();
        let done = graygate(&["convert", &attempts, "--to", format, "--out", &log]);
        assert_eq!(done.code, Some(0), "{}", done.err);
        logs.push(log);
    }
    for log in logs {
        let done = audit(&folder, &log, &["--router", ROUTER, "--expect", &gates]);
        assert_eq!(done.code, Some(0), "{log}: {}{}", done.out, done.err);
        let audited = summary(&folder);
        for name in ["split", "fallback", "rollback", "after_rollback"] {
            assert_eq!(said(&of_run, name), said(&audited, name), "{log}: {name}");
        }
        // A success is known by its share; its latency begins at the attempt.
        assert_eq!(said(&of_run, "requests")[0], said(&audited, "requests")[0]);
        let (theirs, ours) = (&of_run["rollbacks"][0], &audited["rollbacks"][0]);
        for field in ["from", "to", "cause", "reason", "affected_requests"] {
            assert_eq!(theirs[field], ours[field], "{log}: {field}");
        }
        // Logs know microseconds.
        let at = |record: &Value| record["decided_at_s"].as_f64().expect("a time");
        assert!((at(theirs) - at(ours)).abs() < 2e-6, "{log}");
        let again = &audited["audit"]["tried_again"];
        assert_eq!(
            (&again["requests"], &again["fallbacks"]),
            (&15.into(), &15.into())
        );
        for version in ["v1", "v2"] {
            for field in ["outcomes", "served", "rescued", "randomised"] {
                let of = |summary: &Value| summary["versions"][version][field].clone();
                assert_eq!(of(&of_run), of(&audited), "{log}: {version} {field}");
            }
        }
    }
}

/// A run under the sequential judge, with prices.
const SEQUENTIAL: &str = "
name: sequential
seed: 5
duration: 3m
router: router.yaml
traffic:
  synthetic: {arrivals: {poisson: 50/s}, prompts: FIXTURES/prompts.jsonl}
faults:
  - {at: 1m, on: v2, kind: server_error, share: 20%}
expect:
  - rollback: {reason: error, within: 60s}
  - cost: {total: \"<= $1000\"}
";
const SEQUENTIAL_ROUTER: &str = "
versions:
  v1: {role: stable, model: a, price: {input: $2.00, output: $8.00}, api_key_env: A}
  v2: {role: canary, model: b, price: {input: $1.00, output: $4.00}, api_key_env: B}
split: {weights: {v1: 80, v2: 20}}
judge: sequential
";

#[test]
fn the_sequential_judge_decides_by_the_log_what_it_decided_in_the_run() {
    let folder = Folder::new();
    let router = folder.write("router.yaml", SEQUENTIAL_ROUTER);
    let run = run(&folder, &folder.write("sequential.yaml", SEQUENTIAL));
    let gates = "
- rollback: {reason: error, within: 60s, since: 1m}
- cost: {total: \"<= $1000\"}
";
    let gates = folder.write("gates.yaml", gates);
    let log = format!("{run}/attempts.csv");
    let done = audit(&folder, &log, &["--router", &router, "--expect", &gates]);
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    let (of_run, audited) = (read_summary(&run), summary(&folder));
    for name in ["rollback", "cost"] {
        assert_eq!(said(&of_run, name), said(&audited, name));
    }
    for version in ["v1", "v2"] {
        let of = |summary: &Value| summary["cost"]["versions"][version]["served"].clone();
        assert_eq!(of(&of_run), of(&audited));
    }
    let judges = audited["audit"]["judges"].as_array().expect("judges");
    let decides: Vec<&Value> = judges.iter().map(|judge| &judge["decides"]).collect();
    assert_eq!(decides, [false, true]);
    let names: Vec<&Value> = judges.iter().map(|judge| &judge["judge"]).collect();
    assert_eq!(names, ["literal", "sequential"]);
    assert_eq!(
        judges[0]["rolled_back_at_s"],
        Value::Null,
        "too few failed for it"
    );
    let at = judges[1]["rolled_back_at_s"].as_f64().expect("a time");
    assert!((60.0..70.0).contains(&at), "{at}");
}

/// A log of one attempt each: the canary's fail from the middle on, and it is never closed.
fn plain_log(n: u64, closed_after: Option<u64>) -> String {
    let lines = (0..n).map(|i| {
        let is_open = closed_after.is_none_or(|last| i < last);
        let canary = i.is_multiple_of(5) && is_open;
        let outcome = match canary && i >= n / 2 {
            true => "server_error",
            false => "success",
        };
        format!(
            "{{\"at_s\":{}.{:02},\"latency_ms\":20,\"outcome\":\"{outcome}\",\"served_by\":\"{}\",\"cost_usd\":0.001}}\n",
            1_700_000_000 + i / 20,
            i % 20 * 5,
            if canary { "new" } else { "old" }
        )
    });
    let lines: String = lines.collect();
    format!("{{\"format\":\"graygate.log/1\"}}\n{lines}")
}

const NAMES: [&str; 6] = ["--stable", "old", "--canary", "new", "--share", "20%"];

#[test]
fn without_a_router_file_names_and_a_share_are_enough() {
    let folder = Folder::new();
    let log = folder.write("log.jsonl", &plain_log(8_000, None));
    let done = audit(&folder, &log, &NAMES);
    assert_eq!(
        done.code,
        Some(1),
        "a broken canary fails: {}{}",
        done.out,
        done.err
    );
    assert!(done.out.contains("✓ split"), "{}", done.out);
    assert!(done.out.contains("✗ no_rollback"), "{}", done.out);
    let costs = plot(&folder, "cost.svg");
    let found = summary(&folder);
    let judges = found["audit"]["judges"].as_array().expect("judges");
    for judge in judges {
        let at = judge["rolled_back_at_s"].as_f64().expect("a time");
        assert!((200.0..230.0).contains(&at), "{judge}");
        // Whoever met it before, and those that a rollback would have spared.
        let met = |side: &str| judge[side]["canary_requests"].as_u64().expect("a number");
        assert_eq!(met("until") + met("after"), 1_600);
        let failed = |side: &str| judge[side]["user_errors"].as_u64().expect("a number");
        assert_eq!(failed("until") + failed("after"), 800);
        assert!(failed("after") > 700, "{judge}");
    }
    // What each version cost, by the log's own word: no price is known.
    assert_eq!(
        found["cost"]["versions"]["canary"]["total_nano_usd"],
        1_600_000_000_u64
    );
    assert_eq!(found["audit"]["closed_in_log"], Value::Null);
    assert!(costs.contains("canary: $1.60"), "{costs}");
    // It would have; the log's gateway did not.
    assert!(costs.contains("would roll back at"), "{costs}");
}

#[test]
fn a_canary_that_stays_open_after_it_should_have_been_closed_is_found() {
    let folder = Folder::new();
    let log = folder.write("log.jsonl", &plain_log(8_000, None));
    let gates = folder.write(
        "gates.yaml",
        "[rollback: {within: 60s, since: 200s}, after_rollback]",
    );
    let mut args = NAMES.to_vec();
    args.extend(["--expect", &gates]);
    let done = audit(&folder, &log, &args);
    assert_eq!(done.code, Some(1), "{}", done.err);
    assert!(done.out.contains("✓ rollback"), "{}", done.out);
    assert!(done.out.contains("✗ after_rollback"), "{}", done.out);
}

/// Whoever closed it, it was closed: by another rule, or by hand.
#[test]
fn a_canary_that_got_nothing_more_was_closed() {
    let folder = Folder::new();
    let log = folder.write("log.jsonl", &plain_log(4_000, Some(1_000)));
    let gates = folder.write(
        "gates.yaml",
        "[rollback: {canary_requests: \"<= 200\"}, after_rollback]",
    );
    let mut args = NAMES.to_vec();
    args.extend(["--expect", &gates]);
    let done = audit(&folder, &log, &args);
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    let found = summary(&folder);
    assert_eq!(found["rollbacks"][0]["cause"], "closed_in_log");
    assert_eq!(found["audit"]["closed_in_log"]["last_canary_at_s"], 49.75);
}

#[test]
fn mistakes_are_told_with_what_would_be_right() {
    let folder = Folder::new();
    let log = folder.write("log.jsonl", &plain_log(100, None));
    let told = |args: &[&str], words: &[&str]| {
        let done = audit(&folder, &log, args);
        assert_eq!(done.code, Some(2), "{args:?}: {}{}", done.out, done.err);
        for word in words {
            assert!(done.err.contains(word), "{args:?}: {word}: {}", done.err);
        }
    };
    told(
        &[],
        &["--router FILE", "--stable NAME --canary NAME --share 10%"],
    );
    told(&["--stable", "old", "--canary", "new"], &["--share 10%"]);
    told(
        &["--stable", "a", "--canary", "b", "--share", "20%"],
        &[
            "nobody in the log has any of these names",
            "old (80), new (20)",
        ],
    );
    told(
        &["--stable", "old", "--canary", "old", "--share", "20%"],
        &["`old` is the name of both stable and canary"],
    );
    told(
        &["--router", "nowhere.yaml"],
        &["nowhere.yaml", "cannot read"],
    );
    let more = |more: &[&'static str]| [&NAMES[..], more].concat();
    told(&more(&["--from", "1h"]), &["outside --from and --to"]);
    told(&more(&["--step", "1h:15%"]), &["1h=15%"]);
    let gates = folder.write("gates.yaml", "[attribution]");
    let done = audit(&folder, &log, &[&NAMES[..], &["--expect", &gates]].concat());
    assert_eq!(done.code, Some(2));
    assert!(
        done.err
            .contains("`attribution` cannot be judged from a log alone"),
        "{}",
        done.err
    );
    let done = audit(&folder, "/dev/null", &NAMES);
    assert_eq!(done.code, Some(2));
    assert!(done.err.contains("no pipe allows"), "{}", done.err);
    let empty = folder.write("empty.jsonl", "");
    let done = audit(&folder, &empty, &NAMES);
    assert_eq!(done.code, Some(2));
    assert!(done.err.contains("empty"), "{}", done.err);
}

/// A run that kept its failures alone has no split to show.
#[test]
fn a_run_without_all_its_records_is_refused() {
    let folder = Folder::new();
    let out = folder.path().join("runs").display().to_string();
    let scenario = "scenarios/stress-test-20-requests.yaml";
    graygate(&[
        "run",
        scenario,
        "--out",
        &out,
        "-q",
        "--records",
        "failures",
    ]);
    let log = format!("{}/attempts.csv", only(&only(&out)));
    let done = audit(&folder, &log, &["--router", ROUTER]);
    assert_eq!(done.code, Some(2), "{}{}", done.out, done.err);
    assert!(done.err.contains("--records all"), "{}", done.err);
}

/// What says too little spoils the measurement, not the gateway.
#[test]
fn a_log_that_says_too_little_is_invalid() {
    let folder = Folder::new();
    let silent = "{\"at_s\":1700000000,\"latency_ms\":20,\"served_by\":\"old\"}\n".repeat(100);
    let log = folder.write("log.jsonl", &(plain_log(8_000, None) + &silent));
    let done = audit(&folder, &log, &NAMES);
    assert_eq!(done.code, Some(4), "{}{}", done.out, done.err);
    assert!(done.out.contains("100 no_outcome"), "{}", done.out);
    // Others' models are nobody's fault.
    let others = silent.replace("\"old\"", "\"else\",\"outcome\":\"success\"");
    let log = folder.write("log2.jsonl", &(plain_log(8_000, None) + &others));
    let done = audit(&folder, &log, &NAMES);
    assert_eq!(done.code, Some(1), "{}{}", done.out, done.err);
    assert!(done.out.contains("100 another_version"), "{}", done.out);
}

#[test]
fn weights_that_changed_are_said_and_each_is_judged_in_its_time() {
    let folder = Folder::new();
    // One in five, then one in two.
    let line = |i: u64| {
        let canary = if i < 4_000 {
            i.is_multiple_of(5)
        } else {
            i.is_multiple_of(2)
        };
        format!(
            "{{\"at_s\":{}.{:02},\"latency_ms\":20,\"outcome\":\"success\",\"served_by\":\"{}\"}}\n",
            1_700_000_000 + i / 20,
            i % 20 * 5,
            if canary { "new" } else { "old" }
        )
    };
    let lines: String = (0..8_000).map(line).collect();
    let log = folder.write(
        "log.jsonl",
        &format!("{{\"format\":\"graygate.log/1\"}}\n{lines}"),
    );
    let gates =
        "[split: {canary: 20%, until: 200s}, split: {canary: 50%, from: 200s}, no_rollback]";
    let gates = folder.write("gates.yaml", gates);
    let steps = ["--step", "200s=50%", "--expect", &gates];
    let done = audit(&folder, &log, &[&NAMES[..], &steps].concat());
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    let done = audit(&folder, &log, &NAMES);
    assert_eq!(done.code, Some(1), "nobody said so: {}", done.out);
}

#[test]
fn an_audit_is_the_same_every_time() {
    let folder = Folder::new();
    let log = folder.write("log.jsonl", &plain_log(2_000, None));
    let bytes = || {
        audit(&folder, &log, &NAMES);
        let out = folder.path().join("audits").display().to_string();
        let run = only(&only(&out));
        let mut files: Vec<_> = std::fs::read_dir(&run)
            .expect("a folder")
            .map(|entry| entry.expect("a file").path())
            .collect();
        files.sort();
        let read = |path| std::fs::read(path).expect("a file");
        files.iter().map(read).collect::<Vec<_>>()
    };
    assert_eq!(bytes(), bytes());
}
