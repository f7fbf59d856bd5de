//! `graygate run --runs N`: many seeds of one scenario.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::{FAILS, Folder, INCONCLUSIVE, PASSES, graygate, interrupted, scenario};

const ROLLED_BACK: &str = "scenarios/canary-401-falls-back-and-rolls-back.yaml";

/// Poisson arrivals of a hundred requests on average: about half of the seeds have more.
fn every_other() -> String {
    let expect = "  - requests: {success: \"100%\", count: \"<= 100\"}";
    scenario(expect).replace("constant", "poisson")
}

fn run(folder: &Folder, file: &str, more: &[&str]) -> crate::support::Done {
    let out = folder.path().join("reports").display().to_string();
    let mut args = vec!["run", file, "--out", &out];
    args.extend(more);
    graygate(&args)
}

fn files_of(folder: &Folder, run: &str) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(folder.path().join("reports").join(run)).expect(run);
    let paths = files.map(|file| file.unwrap().path());
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, std::fs::read(path).unwrap())
    };
    paths.map(read).collect()
}

fn rows(csv: &[u8]) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_reader(csv);
    reader.deserialize().map(Result::unwrap).collect()
}

#[test]
fn a_row_of_many_is_what_a_run_of_its_own_says() {
    let folder = Folder::new();
    let many = run(&folder, ROLLED_BACK, &["--runs", "4", "--seed", "30"]);
    assert_eq!(many.code, Some(0), "{}{}", many.out, many.err);
    let name = "canary-401-falls-back-and-rolls-back";
    let files = files_of(&folder, &format!("{name}/virtual-runs4-seed30"));
    let rows = rows(&files["runs.csv"]);
    assert_eq!(rows.len(), 4);
    for row in &rows {
        let one = run(
            &folder,
            ROLLED_BACK,
            &["--seed", &row["seed"], "--format", "json"],
        );
        let one: Value = serde_json::from_str(&one.out).unwrap();
        let one = &one[0];
        let check = |gate: &str, condition: &str| -> f64 {
            let gates = one["gates"].as_array().unwrap();
            let gate = gates.iter().find(|g| g["name"] == gate).unwrap();
            let mut checks = gate["checks"].as_array().unwrap().iter();
            let has = |c: &&Value| c["condition"].as_str().unwrap().starts_with(condition);
            let check = checks.find(has).expect(condition);
            check["evidence"]["estimate"].as_f64().unwrap()
        };
        let number = |column: &str| row[column].parse::<f64>().unwrap();
        assert_eq!(one["requests"]["sent"], number("requests") as u64);
        assert_eq!(
            check("rollback", "canary_requests"),
            number("exposed_requests")
        );
        let late = check("rollback", "within") - number("detection_s");
        assert!(late.abs() < 1e-6, "{late}");
        assert_eq!(number("user_errors"), 0.0);
        assert_eq!(
            (row["verdict"].as_str(), &one["status"]),
            ("pass", &"pass".into())
        );
        assert_eq!(row["gate:rollback"], "pass");
    }
}

#[test]
fn the_number_of_threads_changes_no_byte() {
    let folders = [Folder::new(), Folder::new()];
    let outputs = ["1", "5"].map(|jobs| {
        let folder = &folders[usize::from(jobs == "5")];
        let more = ["--runs", "12", "--jobs", jobs, "--format", "json"];
        let done = run(folder, ROLLED_BACK, &more);
        let name = "canary-401-falls-back-and-rolls-back/virtual-runs12-seed7";
        (done.out, files_of(folder, name))
    });
    assert_eq!(outputs[0], outputs[1]);
    let names: Vec<&str> = outputs[0].1.keys().map(String::as_str).collect();
    let expected = ["distribution.svg", "report.md", "runs.csv", "summary.json"];
    assert_eq!(names, expected);
    // The list on stdout holds what the file says.
    let listed: Value = serde_json::from_str(&outputs[0].0).unwrap();
    let summary: Value = serde_json::from_slice(&outputs[0].1["summary.json"]).unwrap();
    assert_eq!(listed[0], summary);
    assert_eq!(summary["format"], "graygate.runs/1");
}

#[test]
fn shares_intervals_and_the_first_red_seeds() {
    let folder = Folder::new();
    let file = folder.write("coin.yaml", &every_other());
    let done = run(&folder, &file, &["--runs", "40", "--seed", "1"]);
    assert_eq!(done.code, Some(1), "{}", done.out);
    let files = files_of(&folder, "coin/virtual-runs40-seed1");
    let rows = rows(&files["runs.csv"]);
    let red: Vec<_> = rows.iter().filter(|r| r["verdict"] == "fail").collect();
    let x = red.len() as u64;
    assert!((10..=30).contains(&x), "{x}");
    let summary: Value = serde_json::from_slice(&files["summary.json"]).unwrap();
    let gates = summary["gates"].as_array().unwrap();
    let gate = gates.iter().find(|g| g["name"] == "requests").unwrap();
    assert_eq!((&gate["fail"]["runs"], &gate["n"]), (&x.into(), &40.into()));
    assert_eq!(gate["status"], "fail");
    let share = x as f64 / 40.0;
    let interval: Vec<f64> = serde_json::from_value(gate["fail"]["interval"].clone()).unwrap();
    assert!(interval[0] < share && share < interval[1], "{interval:?}");
    let seeds: Vec<&str> = red.iter().take(5).map(|r| r["seed"].as_str()).collect();
    let first = summary["first"]["fail"].as_array().unwrap();
    let first: Vec<String> = first.iter().map(|f| f["seed"].to_string()).collect();
    assert_eq!(first, seeds);
    // The command that is printed for the first of them shows the failure again.
    let lines = done
        .out
        .lines()
        .skip_while(|line| !line.contains("first fail:"));
    let line = lines.clone().nth(1).expect("a command");
    let words: Vec<&str> = line.split_whitespace().skip(1).collect();
    assert_eq!(words.last(), seeds.first());
    let again = folder.path().join("again").display().to_string();
    let again = graygate(&[&words[..], &["--out", &again]].concat());
    assert_eq!(again.code, Some(1), "{}", again.out);
}

#[test]
fn how_many_runs_may_be_red_is_said() {
    let folder = Folder::new();
    let coin = folder.write("coin.yaml", &every_other());
    let bad = folder.write("bad.yaml", &scenario(FAILS));
    let thin = folder.write("thin.yaml", &scenario(INCONCLUSIVE));
    let good = folder.write("good.yaml", &scenario(PASSES));
    for (file, more, code) in [
        (&good, vec![], 0),
        (&bad, vec![], 1),
        (&bad, vec!["--max-red", "19"], 1),
        (&bad, vec!["--max-red", "20"], 2),
        (&coin, vec![], 1),
        (&coin, vec!["--max-red", "18"], 0),
        (&thin, vec![], 3),
    ] {
        let all = [&["--runs", "20"], &more[..]].concat();
        let done = run(&folder, file, &all);
        assert_eq!(done.code, Some(code), "{file} {more:?}: {}", done.out);
    }
}

/// What 0 of 20 shows, one-sided at 95 %: scipy 1.17.1, st.beta.ppf(.95, 1, 20)
#[test]
fn no_red_run_shows_no_more_than_it_does() {
    let folder = Folder::new();
    let file = folder.write("good.yaml", &scenario(PASSES));
    let done = run(&folder, &file, &["--runs", "20"]);
    let line = done.out.lines().find(|line| line.contains("all gates"));
    let line = line.expect("the table");
    assert!(line.trim_end().ends_with("14 %       0 %"), "{line}");
    let json = run(&folder, &file, &["--runs", "20", "--format", "json"]);
    let json: Value = serde_json::from_str(&json.out).unwrap();
    let most = json[0]["all_gates"]["flake_rate_at_most"].as_f64().unwrap();
    assert!((most - 0.139_108_340_668_266_03).abs() < 1e-12, "{most}");
    let annotated = run(&folder, &file, &["--runs", "2", "--format", "github"]);
    assert!(!annotated.out.contains("::error"), "{}", annotated.out);
}

#[test]
fn only_virtual_time_is_repeated() {
    let folder = Folder::new();
    let text = format!("engine: live\n{}", scenario(PASSES));
    let file = folder.write("live.yaml", &text);
    let done = run(&folder, &file, &["--runs", "2"]);
    assert_eq!(done.code, Some(2), "{}", done.out);
    assert!(done.err.contains("repeats in virtual time"), "{}", done.err);
    let outside = run(&folder, "scenarios/gateways/builtin.yaml", &["--runs", "2"]);
    assert_eq!(outside.code, Some(2), "{}", outside.out);
    assert!(
        outside.err.contains("leave this one out"),
        "{}",
        outside.err
    );
    assert!(!folder.path().join("reports").exists(), "nothing is run");
    let asked = run(&folder, &file, &["--runs", "2", "--engine", "virtual"]);
    assert_eq!(asked.code, Some(0), "{}", asked.err);
    for more in [
        &["--runs", "0"][..],
        &["--max-red", "1"],
        &["--runs", "2", "--records", "all"],
        &["--runs", "2", "--junit", "junit.xml"],
    ] {
        assert_eq!(run(&folder, &file, more).code, Some(2), "{more:?}");
    }
}

#[test]
fn an_interrupt_leaves_what_was_run() {
    let folder = Folder::new();
    let file = folder.write("many.yaml", &scenario(PASSES));
    let out = folder.path().join("reports").display().to_string();
    let done = interrupted(
        &["run", &file, "--out", &out, "--runs", "1000000"],
        "of 1,000,000 runs",
    );
    assert_eq!(done.code, Some(130), "{}", done.err);
    assert!(done.out.starts_with("INTERRUPTED"), "{}", done.out);
    let files = files_of(&folder, "many/virtual-runs1000000-seed3-interrupted");
    let rows = rows(&files["runs.csv"]);
    let summary: Value = serde_json::from_slice(&files["summary.json"]).unwrap();
    assert!(!rows.is_empty());
    assert_eq!(summary["runs"], rows.len());
    assert_eq!(summary["interrupted"], true);
    // What was not run may have failed.
    assert_eq!(summary["status"], "inconclusive");
    assert_eq!(summary["all_gates"]["status"], "inconclusive");
}

/// Both versions fail now and then; what a rollback is for begins later, on the canary alone.
#[test]
fn a_rollback_for_what_hits_stable_as_well_is_a_false_one() {
    let folder = Folder::new();
    let text = "name: noisy
duration: 4m
router:
  versions:
    v1: {role: stable, model: a, api_key_env: A_KEY}
    v2: {role: canary, model: b, api_key_env: B_KEY}
  split: {weights: {v1: 80, v2: 20}}
  retry: {max_retries: 0}
  judge: {literal: {window: 20s, min_requests: 20, every: 5s, rollback: {error_rate: \"> 5%\"}}}
traffic: {synthetic: {arrivals: {poisson: 20/s}}}
faults:
  - {on: [v1, v2], kind: server_error, share: 2%}
  - {at: 2m, for: 60s, on: v2, kind: server_error, share: 15%}
expect: [{rollback: {within: 60s}}]
";
    let file = folder.write("noisy.yaml", text);
    let early = run(&folder, &file, &["--seed", "5"]);
    assert_eq!(early.code, Some(1));
    let wrong = "rolled back 115.1 s before anything was wrong";
    assert!(early.out.contains(wrong), "{}", early.out);
    let wrong = "decided 115.1 s before the trouble began";
    assert!(early.out.contains(wrong), "{}", early.out);
}
