//! `graygate tune`: policies compared on one scenario.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{Done, Folder, graygate, interrupted};

/// One in fifty answers of anybody fails, and one in five of the canary's from the 20th second on.
const NOISY: &str = "name: noisy
seed: 1
duration: 60s
router:
  versions:
    v1: {role: stable, model: a, api_key_env: A_KEY}
    v2: {role: canary, model: b, api_key_env: B_KEY}
  split: {weights: {v1: 80, v2: 20}}
  judge: {literal: {window: 10s, min_requests: 20, every: 10s, rollback: {error_rate: \"> 5%\"}}}
upstreams:
  v1: {mock: {latency: 20ms}}
  v2: {mock: {latency: 20ms}}
traffic:
  synthetic: {arrivals: {poisson: 20/s}}
faults:
  - {on: [v1, v2], kind: server_error, share: 2%}
  - {at: 20s, on: v2, kind: unauthorized, share: 20%}
expect:
  - rollback
  - after_rollback
";

fn tune(folder: &Folder, file: &str, more: &[&str]) -> Done {
    let out = folder.path().join("reports").display().to_string();
    graygate(&[&["tune", file, "--out", &out], more].concat())
}

/// The only folder of a scenario's reports.
fn files_of(folder: &Folder, scenario: &str) -> BTreeMap<String, Vec<u8>> {
    let mut runs = std::fs::read_dir(folder.path().join("reports").join(scenario)).unwrap();
    let run = runs.next().expect("a folder").unwrap().path();
    assert!(runs.next().is_none(), "one folder");
    let files = std::fs::read_dir(run).unwrap().map(|file| {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, std::fs::read(path).unwrap())
    });
    files.collect()
}

fn rows(csv: &[u8]) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_reader(csv);
    reader.deserialize().map(Result::unwrap).collect()
}

fn number(row: &BTreeMap<String, String>, column: &str) -> f64 {
    row[column]
        .parse()
        .unwrap_or_else(|_| panic!("{column}: {row:?}"))
}

#[test]
fn more_evidence_costs_exposure_and_saves_false_rollbacks() {
    let folder = Folder::new();
    let file = folder.write("noisy.yaml", NOISY);
    let sweep = [
        "--sweep",
        "judge: [literal, sequential]",
        "--sweep",
        "judge.min_requests: [10, 80], judge.literal.window: [10s, 40s], judge.every: [10s]",
        "--quiet",
    ];
    let done = tune(&folder, &file, &[&sweep[..], &["--runs", "60"]].concat());
    assert_eq!(
        (done.code, done.err.as_str()),
        (Some(0), ""),
        "{}",
        done.out
    );
    let files = files_of(&folder, "noisy");
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(names, ["summary.json", "tune.csv", "tune.svg"]);
    let rows = rows(&files["tune.csv"]);
    // The scenario's own, four literal ones, and one sequential: the others' keys are nothing to it.
    assert_eq!(rows.len(), 6, "{}", done.out);
    let of = |judge: &str, min: &str, window: &str| {
        let is = |r: &&BTreeMap<String, String>| {
            let window_is = r["judge.literal.window"] == window;
            r["judge"] == judge && r["judge.min_requests"] == min && window_is
        };
        rows.iter()
            .find(is)
            .unwrap_or_else(|| panic!("{judge} {min}"))
    };
    let hasty = of("literal", "10", "10s");
    let patient = of("literal", "80", "40s");
    let sequential = of("sequential", "", "");
    assert!(
        number(hasty, "false_rollbacks") >= 30.0,
        "a coin toss: {hasty:?}"
    );
    assert!(number(patient, "false_rollbacks") <= 20.0, "{patient:?}");
    assert!(number(patient, "exposed_p50") > number(hasty, "exposed_p50"));
    assert_eq!(number(sequential, "false_rollbacks"), 0.0);
    assert_eq!(number(sequential, "found"), 60.0);
    assert_eq!(sequential["pareto"], "true");
    assert!(number(sequential, "detection_p50_s") > 0.0);
    // Whoever is rolled back in the first seconds without a reason is not praised for its exposure.
    let early = number(hasty, "rolled_back_before_the_trouble");
    assert!(
        early > 0.0 && number(hasty, "found") <= 60.0 - early,
        "{hasty:?}"
    );
    // The same requests fail with and without the canary's own fault.
    assert!(early <= number(hasty, "false_rollbacks"), "{hasty:?}");
    let early = number(sequential, "rolled_back_before_the_trouble");
    assert_eq!(early, 0.0);
    // Nothing on the front is beaten by anything in the table.
    let costs = |r: &BTreeMap<String, String>| {
        (number(r, "false_rollback_share"), number(r, "exposed_p50"))
    };
    for best in rows.iter().filter(|r| r["pareto"] == "true") {
        let own = costs(best);
        let beats = |c: (f64, f64)| c.0 <= own.0 && c.1 <= own.1 && c != own;
        assert!(!rows.iter().any(|r| beats(costs(r))), "{best:?}");
    }
    let summary: Value = serde_json::from_slice(&files["summary.json"]).unwrap();
    assert_eq!(summary["format"], "graygate.tune/1");
    assert_eq!(summary["policies"].as_array().unwrap().len(), 6);
}

/// The same that `validate` says of it; of a judge without a formula, what the runs needed at least; of one that does not
/// always find the trouble, nothing.
#[test]
fn each_policy_is_told_what_its_rollback_needs() {
    let folder = Folder::new();
    let one_fault = NOISY.replace("  - {on: [v1, v2], kind: server_error, share: 2%}\n", "");
    let one_fault = one_fault.replace("min_requests: 20", "min_requests: 10");
    // One in five would leave the window before there are enough.
    let one_fault = one_fault.replace("unauthorized, share: 20%", "unauthorized");
    let gates = "within: 20s, canary_requests: \"<= 100\"";
    let text = one_fault.replace("  - rollback\n", &format!("  - rollback: {{{gates}}}\n"));
    let file = folder.write("plain.yaml", &text);
    let sweep = ["--sweep", "judge.min_requests: [10, 30, 400]", "--quiet"];
    let done = tune(&folder, &file, &[&sweep[..], &["--runs", "30"]].concat());
    assert_eq!(done.code, Some(0), "{}", done.err);
    let files = files_of(&folder, "plain");
    let rows = rows(&files["tune.csv"]);
    let said = graygate(&["validate", &file]).out;
    let suggestions: Vec<&str> = said
        .lines()
        .filter_map(|line| line.split("suggested: ").nth(1))
        .collect();
    let (by_formula, by_runs, never) = (&rows[0], &rows[1], &rows[2]);
    assert_eq!(by_formula["budget_basis"], "formula");
    let within = number(by_formula, "within_suggested_s");
    assert_eq!(suggestions[0], format!("{within} s"));
    assert_eq!(suggestions[1], by_formula["canary_requests_suggested"]);
    assert!(number(by_formula, "detection_p99_99_s") > number(by_formula, "detection_p50_s"));
    assert!(number(by_formula, "exposed_p99_99") > number(by_formula, "exposed_p50"));
    // Whether 30 requests are in its window of about 40 is chance.
    assert_eq!(by_runs["budget_basis"], "too_few_seeds");
    assert_eq!(by_runs["detection_p99_99_s"], "");
    let most = number(by_runs, "detection_max_s");
    assert!((most..most + 1.0).contains(&number(by_runs, "within_suggested_s")));
    assert!(number(by_runs, "canary_requests_suggested") >= number(by_runs, "exposed_max"));
    assert_eq!(never["found"], "0", "{never:?}");
    assert_eq!(never["within_suggested_s"], "");
    let summary: Value = serde_json::from_slice(&files["summary.json"]).unwrap();
    let budgets: Vec<&Value> = summary["policies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|policy| &policy["budget"])
        .collect();
    assert_eq!(budgets[0]["within_s"]["suggested"], within);
    assert_eq!(budgets[1]["canary_requests"]["p99_99"], Value::Null);
    assert_eq!(budgets[2], &Value::Null);
    // The formula knows no end, but the run has one.
    let short = text.replace("duration: 60s", "duration: 23s");
    let file = folder.write("short.yaml", &short);
    assert!(
        graygate(&["validate", &file])
            .out
            .contains("no formula tells"),
        "{short}"
    );
    let missed = "of 30 runs were not rolled back in their trouble";
    let own = NOISY.replace("share: 20%", "share: 1%");
    let file = folder.write("weak.yaml", &own.replace("share: 2%", "share: 0.1%"));
    let done = tune(
        &folder,
        &file,
        &["--runs", "30", "--sweep", "judge.every: [10s]"],
    );
    assert!(done.out.contains(missed), "{}", done.out);
}

/// The fault comes in the last second: nobody can find it in time, and no policy is the best at that.
#[test]
fn where_nothing_is_found_nothing_is_best() {
    let folder = Folder::new();
    let file = folder.write("late.yaml", &NOISY.replace("at: 20s", "at: 59s"));
    let more = ["--runs", "3", "--sweep", "judge.min_requests: [20, 50]"];
    let done = tune(&folder, &file, &more);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(
        done.err.contains("no policy found the trouble"),
        "{}",
        done.err
    );
    let files = files_of(&folder, "late");
    let rows = rows(&files["tune.csv"]);
    assert!(rows.iter().all(|row| row["pareto"] == "false"), "{rows:?}");
}

#[test]
fn the_number_of_threads_changes_no_byte() {
    let folders = [Folder::new(), Folder::new()];
    let outputs = ["1", "4"].map(|jobs| {
        let folder = &folders[usize::from(jobs == "4")];
        let file = folder.write("noisy.yaml", NOISY);
        let more = ["--runs", "6", "--jobs", jobs, "--format", "json"];
        let done = tune(folder, &file, &more);
        (done.out, files_of(folder, "noisy"))
    });
    assert_eq!(outputs[0], outputs[1]);
    let listed: Value = serde_json::from_str(&outputs[0].0).unwrap();
    // By default: windows and least numbers around its own, and the sequential judge.
    assert_eq!(listed["policies"].as_array().unwrap().len(), 10);
    let own = &listed["policies"][0];
    assert_eq!(own["own"], true);
    assert_eq!(own["settings"]["judge.min_requests"], "20");
}

#[test]
fn recorded_traffic_and_weights_are_tuned_as_well() {
    let folder = Folder::new();
    let fault = "kind: server_error, on: v2, share: 60%";
    let sweep = "weight: [10%, 50%], retry.max_retries: [0, 2]";
    let args = ["--fault", fault, "--sweep", sweep, "--runs", "4"];
    let done = tune(&folder, "scenarios/replay-azure-sample.yaml", &args);
    assert_eq!(
        (done.code, done.err.as_str()),
        (Some(0), ""),
        "{}",
        done.out
    );
    let rows = rows(&files_of(&folder, "replay-azure-sample")["tune.csv"]);
    assert_eq!(rows.len(), 5);
    let exposed = |weight: &str| {
        let those = rows.iter().filter(|r| r["weight"] == weight);
        those.map(|r| number(r, "exposed_max")).fold(0.0, f64::max)
    };
    assert!(exposed("10%") < exposed("50%"), "{}", done.out);
}

#[test]
fn what_cannot_be_swept_is_a_mistake_with_its_words() {
    let folder = Folder::new();
    let file = folder.write("noisy.yaml", NOISY);
    for (sweep, words) in [
        (
            "judge.min_requests: [0]",
            "judge.min_requests: 0: `0` is not",
        ),
        ("judge.min_requests: []", "a list of values"),
        (
            "judge.alpha: [1%]",
            "`judge.alpha` is no setting of this router",
        ),
        ("versions.v1.model: [x]", "cannot be swept"),
        ("ramp.initial.weight: [5%]", "is no setting of this router"),
        ("ramp.initial.weight: [5%]", "only a router with a `ramp`"),
        ("weight: [half]", "half"),
        ("judge.min_requests", "KEY: [VALUE"),
        ("fallback: [never]", "never"),
    ] {
        let done = tune(&folder, &file, &["--sweep", sweep, "--runs", "1"]);
        assert_eq!(done.code, Some(2), "{sweep}: {}", done.out);
        assert!(done.err.contains(words), "{sweep}: {}", done.err);
    }
    let twice = ["--sweep", "weight: 5%", "--sweep", "weight: 6%"];
    assert!(tune(&folder, &file, &twice).err.contains("swept twice"));
    let healthy = tune(&folder, "scenarios/healthy-canary.yaml", &[]);
    assert_eq!(healthy.code, Some(2));
    assert!(
        healthy.err.contains("there is nothing to find"),
        "{}",
        healthy.err
    );
    assert!(!folder.path().join("reports").exists(), "nothing is run");
}

#[test]
fn an_interrupt_leaves_what_was_run() {
    let folder = Folder::new();
    let file = folder.write("noisy.yaml", NOISY);
    let out = folder.path().join("reports").display().to_string();
    let done = interrupted(
        &["tune", &file, "--out", &out, "--runs", "1000000"],
        "of 20,000,000 runs",
    );
    assert_eq!(done.code, Some(130), "{}", done.err);
    assert!(done.out.contains("INTERRUPTED"), "{}", done.out);
    let files = files_of(&folder, "noisy");
    assert_eq!(rows(&files["tune.csv"]).len(), 10);
}
