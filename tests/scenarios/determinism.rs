//! The same seed gives the same bytes, whatever the folder, the order and the number of threads.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use graygate::id::Seed;
use graygate::observe::meta::Engine;
use graygate::router::config::JudgeConfig;
use graygate::runner::{self, Records, RunOptions};
use graygate::scenario::Scenario;

use crate::support::{SHIPPED, Stories, shipped};

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).expect("the run's folder");
    entries
        .map(|e| e.expect("a file").path())
        .map(|p| {
            let name = p.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(&p).expect("its content"))
        })
        .collect()
}

fn run_into(scenario: &Scenario, out: &Path, records: Records) -> BTreeMap<String, Vec<u8>> {
    let options = RunOptions {
        out: Some(out.to_owned()),
        records: Some(records),
        ..RunOptions::new(Engine::Virtual)
    };
    let cancel = Arc::new(AtomicBool::new(false));
    let output = runner::run(scenario, &options, &mut Stories::default(), &cancel).unwrap();
    let folder = output.folder.expect("a folder");
    assert!(folder.ends_with(format!(
        "{}/virtual-seed{}",
        scenario.name, scenario.experiment.seed
    )));
    files(&folder)
}

#[test]
fn two_runs_of_a_seed_are_byte_identical() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for name in SHIPPED {
        let scenario = shipped(name);
        let first = run_into(&scenario, one.path(), Records::All);
        // The other way round, and while other runs keep the machine busy.
        let busy = std::thread::spawn(|| {
            let scenario = shipped("healthy-canary").with_seed(Seed(99));
            crate::support::virtual_run(&scenario)
        });
        let second = run_into(&scenario, two.path(), Records::All);
        busy.join().unwrap();
        assert_eq!(
            first.keys().collect::<Vec<_>>(),
            second.keys().collect::<Vec<_>>()
        );
        for (file, content) in &first {
            assert!(
                content == &second[file],
                "{name}: {file} differs between two runs"
            );
        }
        let mut expected = vec![
            "attempts.csv",
            "errors.svg",
            "events.jsonl",
            "evidence.svg",
            "junit.xml",
            "latency.svg",
            "report.md",
            "requests.csv",
            "split.svg",
            "summary.json",
            "timeline.csv",
        ];
        if scenario.experiment.traffic.has_streams() {
            expected.push("streams.svg");
            expected.sort_unstable();
        }
        // They end before the judge looks for the first time, or nobody judges.
        let is_short = ["healthy-canary", "stress-test-20-requests"].contains(&name);
        if is_short || scenario.experiment.router.judge == JudgeConfig::Off {
            expected.retain(|file| *file != "evidence.svg");
        }
        if ["cost-of-a-failing-canary", "s16-accounting-of-a-failover"].contains(&name) {
            expected.insert(1, "cost.svg");
        }
        assert_eq!(
            first.keys().map(String::as_str).collect::<Vec<_>>(),
            expected,
            "{name}"
        );
    }
}

#[test]
fn another_seed_is_another_run() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = shipped("healthy-canary");
    let one = run_into(&scenario, folder.path(), Records::All);
    let two = run_into(&scenario.with_seed(Seed(2)), folder.path(), Records::All);
    assert_ne!(one["requests.csv"], two["requests.csv"]);
}

#[test]
fn a_rerun_replaces_its_own_folder() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = shipped("stress-test-20-requests");
    run_into(&scenario, folder.path(), Records::All);
    let place = folder.path().join("stress-test-20-requests/virtual-seed4");
    std::fs::write(place.join("stale"), "left over").unwrap();
    let files = run_into(&scenario, folder.path(), Records::All);
    assert!(!files.contains_key("stale"));
    let siblings = std::fs::read_dir(folder.path().join("stress-test-20-requests")).unwrap();
    assert_eq!(siblings.count(), 1, "nothing is left aside");
}

#[test]
fn records_can_be_limited() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = shipped("server-errors-above-threshold");
    let lines = |files: &BTreeMap<String, Vec<u8>>, name: &str| {
        String::from_utf8_lossy(&files[name]).lines().count()
    };
    let all = run_into(&scenario, folder.path(), Records::All);
    assert_eq!(lines(&all, "requests.csv"), 1 + 1_600);
    assert!(lines(&all, "attempts.csv") > 1 + 1_600);
    let failures = run_into(&scenario, folder.path(), Records::Failures);
    let kept = lines(&failures, "requests.csv");
    assert!((2..200).contains(&kept), "{kept}");
    let none = run_into(&scenario, folder.path(), Records::None);
    assert_eq!(lines(&none, "requests.csv"), 1);
    assert_eq!(all["timeline.csv"], none["timeline.csv"]);
    let totals = |files: &BTreeMap<String, Vec<u8>>| {
        let mut summary: serde_json::Value =
            serde_json::from_slice(&files["summary.json"]).unwrap();
        let kept = summary["records"].take();
        (summary, kept["kept"].as_str().map(str::to_owned))
    };
    let (of_all, of_none) = (totals(&all), totals(&none));
    assert_eq!(of_all.0, of_none.0);
    assert_eq!(of_all.1.as_deref(), Some("all"));
    assert_eq!(of_none.1.as_deref(), Some("none"));
}

/// reports/example is what the program writes today. To renew it, see CONTRIBUTING.md.
#[test]
fn the_example_report_is_current() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = shipped("canary-401-falls-back-and-rolls-back");
    let fresh = run_into(&scenario, folder.path(), Records::Failures);
    let example = files(&crate::support::project("reports/example"));
    for (file, content) in &fresh {
        assert!(
            Some(content) == example.get(file),
            "reports/example/{file} is out of date"
        );
    }
    assert_eq!(fresh.len(), example.len());
}
