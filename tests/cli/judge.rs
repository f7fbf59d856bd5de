//! `graygate judge`: a run's files say the same as the run did, and more when more is asked.

use std::path::Path;

use serde_json::Value;

use crate::support::{Done, FAILS, Folder, PASSES, graygate, scenario};

const ROLLED_BACK: &str = "scenarios/fallback-masks-dead-canary.yaml";
/// Gates that rows cannot tell of.
const REFUSED: [&str; 7] = [
    "notification",
    "attribution",
    "contract",
    "generator",
    "memory",
    "stickiness",
    "stream",
];

/// Runs a scenario, and gives the folder of the run.
fn run(folder: &Folder, file: &str, more: &[&str]) -> String {
    let out = folder.path().join("runs").display().to_string();
    let mut args = vec!["run", file, "--out", &out, "-q"];
    args.extend(more);
    let done = graygate(&args);
    assert!(
        matches!(done.code, Some(0 | 3 | 4)),
        "{}{}",
        done.out,
        done.err
    );
    let name = Path::new(file).file_stem().expect("a name");
    only(&Path::new(&out).join(name))
}

fn only(folder: &Path) -> String {
    let mut inside = std::fs::read_dir(folder).expect("a folder");
    let entry = inside.next().expect("something in it").expect("readable");
    assert!(inside.next().is_none(), "more than one run");
    entry.path().display().to_string()
}

fn judge(run: &str, expect: &str, more: &[&str]) -> Done {
    let mut args = vec!["judge", run, "--expect", expect];
    args.extend(more);
    graygate(&args)
}

fn summary(run: &str) -> Value {
    let text = std::fs::read_to_string(Path::new(run).join("summary.json")).expect("a summary");
    serde_json::from_str(&text).expect("JSON")
}

/// The gates of a scenario file that can be judged again, as a file of their own.
fn gates_of(folder: &Folder, file: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join(file)).expect("a scenario");
    let (_, list) = text.split_once("\nexpect:\n").expect("gates at its end");
    let is_kept = |item: &&str| !REFUSED.iter().any(|name| item.starts_with(name));
    let items = list.split("  - ").skip(1).filter(is_kept);
    let list: String = items.map(|item| format!("  - {item}")).collect();
    folder.write("gates.yaml", &list)
}

/// What gates say, as far as rows can tell: to the microsecond, and without the router's own word.
fn said(summary: &Value) -> Vec<(String, Value, Vec<Value>)> {
    let bare = |gate: &Value| {
        let name = gate["name"].as_str().expect("a name");
        name.split('#').next().unwrap_or(name).to_owned()
    };
    let gates = summary["gates"].as_array().expect("gates").iter();
    let is_own = |name: &str| !REFUSED.contains(&name) || name == "generator";
    gates
        .filter(|gate| is_own(&bare(gate)))
        .map(|gate| (bare(gate), gate["status"].clone(), checks(gate)))
        .collect()
}

fn checks(gate: &Value) -> Vec<Value> {
    let checks = gate["checks"].as_array().expect("checks").iter();
    let is_told = |check: &&Value| check["condition"] != "its record fits the run";
    checks
        .filter(is_told)
        .map(|check| {
            let evidence = &check["evidence"];
            let figure = evidence["estimate"].as_f64();
            let figure = figure.map(|figure| (figure * 1e6).floor() / 1e6);
            let is_carried = ["generator", "join", "sample", "policy"];
            match is_carried.iter().any(|name| gate["name"] == *name) {
                true => serde_json::json!([check["condition"], check["status"], check["seen"]]),
                false => serde_json::json!([
                    check["condition"],
                    check["status"],
                    check["offenders"],
                    evidence["n"],
                    evidence["interval"],
                    figure,
                ]),
            }
        })
        .collect()
}

#[test]
fn a_run_judged_again_by_its_own_gates_says_the_same() {
    let all = [
        "scenarios/canary-401-falls-back-and-rolls-back.yaml",
        "scenarios/cost-of-a-failing-canary.yaml",
        "scenarios/ramp-breaks-at-minority.yaml",
        "scenarios/rate-limited-canary.yaml",
        "scenarios/impatient-callers-are-no-failures.yaml",
        "scenarios/s08-stream-cut.yaml",
        "scenarios/retry-storm-stays-in-budget.yaml",
        "scenarios/sticky-users-stay.yaml",
        "scenarios/canary-timeouts.yaml",
    ];
    for file in all {
        let folder = Folder::new();
        let run = run(&folder, file, &["--engine", "virtual"]);
        let gates = gates_of(&folder, file);
        let more = ["--scenario", file, "--format", "json"];
        let done = judge(&run, &gates, &more);
        assert_eq!(done.code, Some(0), "{file}: {}{}", done.out, done.err);
        let again: Value = serde_json::from_str(&done.out).expect("JSON");
        let (before, after) = (said(&summary(&run)), said(&again));
        assert!(after.len() > 5, "{file}: {after:?}");
        assert_eq!(before, after, "{file}");
    }
}

/// Gates of [`scenario`] in which the same is asked in another way.
fn gates(p99: &str) -> String {
    format!("{PASSES}\n  - requests: {{version: v2, p99: \"< {p99}\", count: \">= 10\", min_n: 1}}")
}

#[test]
fn other_gates_give_another_verdict_and_nothing_is_written() {
    let folder = Folder::new();
    let file = folder.write("short.yaml", &scenario(&gates("1s")));
    let run = run(&folder, &file, &["--engine", "virtual"]);
    let before = contents(&run);
    let same = judge(&run, &file, &[]);
    assert_eq!(
        same.code,
        Some(3),
        "thirty attempts show no p99: {}",
        same.out
    );
    let stricter = folder.write("stricter.yaml", &scenario(&gates("4ms")));
    let done = judge(&run, &stricter, &[]);
    assert_eq!(done.code, Some(1), "{}{}", done.out, done.err);
    assert!(done.out.starts_with("FAIL"), "{}", done.out);
    assert!(
        done.out
            .contains(&format!("graygate judge {run} --expect {stricter}")),
        "{}",
        done.out
    );
    assert_eq!(contents(&run), before);
}

/// As of a run: annotations, a JUnit file and a report, and the run's own folder is left alone.
#[test]
fn what_is_judged_again_is_written_where_it_is_asked_for() {
    let folder = Folder::new();
    let file = folder.write("short.yaml", &scenario(PASSES));
    let run = run(&folder, &file, &["--engine", "virtual"]);
    let before = contents(&run);
    let strict = folder.write("strict.yaml", &scenario(FAILS));
    let out = folder.path().join("runs").display().to_string();
    let junit = folder.path().join("new/junit.xml").display().to_string();
    let more = ["--out", &out, "--junit", &junit, "--format", "github"];
    let done = judge(&run, &strict, &more);
    assert_eq!(done.code, Some(1), "{}{}", done.out, done.err);
    assert!(
        done.out.contains("::error title=strict%3A requests fail::"),
        "{}",
        done.out
    );
    let judged = format!("{out}/strict/virtual-seed3-judged");
    assert!(done.out.contains(&judged), "{}", done.out);
    assert_eq!(contents(&run), before);
    let read = |path: String| std::fs::read_to_string(&path).expect(&path);
    assert!(read(junit).contains("failures=\"1\""));
    assert!(read(format!("{judged}/junit.xml")).contains("failures=\"1\""));
    assert!(read(format!("{judged}/report.md")).starts_with("# FAIL: short"));
    let json: Value = serde_json::from_str(&read(format!("{judged}/judge.json"))).expect("JSON");
    let said = judge(&run, &strict, &["--format", "json"]);
    assert_eq!(
        json,
        serde_json::from_str::<Value>(&said.out).expect("JSON")
    );
}

/// What was judged stands; that it could not be kept is another thing, and worse.
#[test]
fn what_cannot_be_written_is_said() {
    let folder = Folder::new();
    let file = folder.write("short.yaml", &scenario(PASSES));
    let run = run(&folder, &file, &["--engine", "virtual"]);
    for more in [["--out", &file], ["--junit", "/dev/full"]] {
        let done = judge(&run, &file, &more);
        assert_eq!(done.code, Some(5), "{more:?}: {}{}", done.out, done.err);
        assert!(done.out.starts_with("PASS"), "{}", done.out);
        assert!(done.err.contains("cannot write "), "{}", done.err);
    }
}

fn contents(run: &str) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let files = std::fs::read_dir(run).expect("a folder");
    let paths = files.map(|file| file.expect("a file").path());
    let mut all: Vec<_> = paths
        .map(|path| (path.clone(), std::fs::read(path).expect("a file")))
        .collect();
    all.sort();
    all
}

#[test]
fn a_live_run_is_judged_by_what_was_measured_and_an_invalid_one_stays_invalid() {
    let folder = Folder::new();
    let late = format!("{PASSES}\n  - generator: {{dispatch_delay_p99: \"<= 0s\"}}");
    let file = folder.write("late.yaml", &scenario(&late));
    let run = run(&folder, &file, &["--engine", "live"]);
    let list = folder.write(
        "gates.yaml",
        "- requests: {success: \"100%\", p50: \"< 1ms\"}\n",
    );
    let more = ["--scenario", &file, "--format", "json"];
    let done = judge(&run, &list, &more);
    assert_eq!(done.code, Some(4), "{}{}", done.out, done.err);
    let again: Value = serde_json::from_str(&done.out).expect("JSON");
    let gates = again["gates"].as_array().expect("gates");
    assert!(
        gates.iter().all(|gate| gate["status"] == "invalid"),
        "{again:#}"
    );
    let checks = &gates[0]["checks"];
    assert_eq!(
        checks[0]["evidence"]["n"],
        summary(&run)["requests"]["answered"]
    );
    assert_eq!(
        checks[1]["status"], "fail",
        "upstreams took 5 ms: {checks:#}"
    );
}

/// Whoever changed one file of a run, nobody knows which to believe.
#[test]
fn files_that_contradict_each_other_are_refused() {
    let folder = Folder::new();
    let run = run(&folder, ROLLED_BACK, &["--records", "all"]);
    let expect = folder.write("gates.yaml", "[no_rollback]");
    let more = ["--scenario", ROLLED_BACK];
    let events = Path::new(&run).join("events.jsonl");
    let told = std::fs::read_to_string(&events).unwrap();
    let kept = told
        .lines()
        .filter(|line| !line.contains("\"rolled_back\""));
    std::fs::write(
        &events,
        kept.map(|line| format!("{line}\n")).collect::<String>(),
    )
    .unwrap();
    let done = judge(&run, &expect, &more);
    assert_ne!(done.code, Some(0), "{}", done.out);
    assert!(done.err.contains("tells of 0 rollbacks"), "{}", done.err);
    std::fs::write(&events, told).unwrap();
    let requests = Path::new(&run).join("requests.csv");
    let rows = std::fs::read_to_string(&requests).unwrap();
    std::fs::write(&requests, rows.replacen(",success,", ",timeout,", 1)).unwrap();
    let done = judge(&run, &expect, &more);
    assert_ne!(done.code, Some(0), "{}", done.out);
    assert!(done.err.contains("requests that ended as"), "{}", done.err);
    std::fs::write(&requests, rows).unwrap();
    let attempts = Path::new(&run).join("attempts.csv");
    let rows = std::fs::read_to_string(&attempts).unwrap();
    let changed = rows.replacen(",overloaded,v2,", ",success,v2,", 1);
    let longer = format!("{rows}{}\n", rows.lines().last().unwrap());
    for (text, said) in [
        (changed, "attempts at v2 that ended as"),
        (longer, "more rows than requests.csv tells of"),
    ] {
        std::fs::write(&attempts, text).unwrap();
        let done = judge(&run, &expect, &more);
        assert_eq!(done.code, Some(2), "{}", done.out);
        assert!(done.err.contains(said), "{}", done.err);
    }
}

#[test]
fn what_rows_do_not_tell_is_refused_by_name() {
    let folder = Folder::new();
    let file = folder.write("short.yaml", &scenario(PASSES));
    let kept = run(&folder, &file, &["--engine", "virtual"]);
    let asks = "- attribution\n- contract\n- requests: {inter_token_p99: \"< 1s\"}\n- requests: {success: \"100%\"}\n";
    let list = folder.write("asks.yaml", asks);
    let done = judge(&kept, &list, &["--scenario", &file]);
    assert_eq!(
        (done.code, done.out.as_str()),
        (Some(2), ""),
        "{}",
        done.err
    );
    for name in ["`attribution`", "`contract`", "`requests`"] {
        let words = format!("{name} cannot be judged again: a run's files do not tell");
        assert!(done.err.contains(&words), "{name}: {}", done.err);
    }
    let router = scenario(PASSES).replace("gray-30-fast", "gray-10");
    let other = folder.write("other.yaml", &router);
    let done = judge(&kept, &other, &[]);
    assert_eq!(done.code, Some(2));
    assert!(
        done.err.contains("the run had another router"),
        "{}",
        done.err
    );
    let fault = "faults:\n  - {at: 0s, on: v2, kind: unauthorized}\nexpect:";
    let faulty = folder.write("faulty.yaml", &scenario(PASSES).replace("expect:", fault));
    let done = judge(&kept, &faulty, &[]);
    assert!(
        done.err.contains("the run had other faults"),
        "{}",
        done.err
    );
    let elsewhere = Folder::new();
    let few = run(&elsewhere, &file, &["--records", "failures"]);
    let done = judge(&few, &file, &[]);
    assert_eq!(done.code, Some(2));
    assert!(
        done.err.contains("its rows were not all kept (failures)"),
        "{}",
        done.err
    );
    let rows = Path::new(&kept).join("attempts.csv");
    let text = std::fs::read_to_string(&rows).expect("rows");
    let half: Vec<&str> = text.lines().take(50).collect();
    std::fs::write(&rows, half.join("\n")).expect("a file");
    let done = judge(&kept, &file, &[]);
    assert_eq!(done.code, Some(2));
    assert!(
        done.err.contains("attempts.csv: it has too few rows"),
        "{}",
        done.err
    );
}

/// Another seed's rollback is another one, and so are its events.
#[test]
fn the_events_of_another_run_are_refused() {
    let folder = Folder::new();
    let own = run(&folder, ROLLED_BACK, &["--records", "all"]);
    let elsewhere = Folder::new();
    let other = run(
        &elsewhere,
        ROLLED_BACK,
        &["--records", "all", "--seed", "99"],
    );
    let expect = folder.write("gates.yaml", "[no_rollback]");
    let events = |run: &str| Path::new(run).join("events.jsonl");
    let read = |run: &str| std::fs::read_to_string(events(run)).expect("events");
    let (was, foreign) = (read(&own), read(&other));
    let (head, rest) = (
        was.lines().next().expect("a line"),
        foreign.split_once('\n'),
    );
    let (foreign_head, foreign_rest) = rest.expect("lines");
    let elsewhere = head.replace("\"scenario_sha256\":\"", "\"scenario_sha256\":\"0");
    for (text, said) in [
        (
            &foreign,
            "it tells of seed 99 where summary.json tells of seed",
        ),
        (
            &was.replacen(head, &elsewhere, 1),
            "it tells of another scenario",
        ),
        (
            &format!("{head}\n{foreign_rest}"),
            "events.jsonl tells of the rollback rb-",
        ),
        (&format!("{foreign_head}\n"), "it tells of seed 99"),
    ] {
        std::fs::write(events(&own), text).expect("a file");
        let done = judge(&own, &expect, &["--scenario", ROLLED_BACK]);
        assert_eq!(done.code, Some(2), "{said}: {}{}", done.out, done.err);
        assert!(done.err.contains(said), "{said}: {}", done.err);
    }
}

/// A fault is not its kind and start alone: half of it, or a shorter one, is another one.
#[test]
fn a_run_with_a_fault_of_another_share_or_end_is_refused() {
    let folder = Folder::new();
    let file = |name: &str, fault: &str| {
        let text = scenario(PASSES).replace("expect:", &format!("faults:\n  - {fault}\nexpect:"));
        folder.write(name, &text)
    };
    let own = file(
        "short.yaml",
        "{at: 0s, for: 1s, on: v2, kind: unauthorized, share: 50%}",
    );
    let kept = run(&folder, &own, &["--engine", "virtual"]);
    assert_ne!(judge(&kept, &own, &[]).code, Some(2));
    for fault in [
        "{at: 0s, for: 1s, on: v2, kind: unauthorized, share: 20%}",
        "{at: 0s, for: 2s, on: v2, kind: unauthorized, share: 50%}",
        "{at: 0s, on: v2, kind: unauthorized, share: 50%}",
    ] {
        let done = judge(&kept, &file("other.yaml", fault), &[]);
        assert_eq!(done.code, Some(2), "{fault}: {}", done.out);
        assert!(
            done.err.contains("the run had other faults"),
            "{}",
            done.err
        );
    }
}
