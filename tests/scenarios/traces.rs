//! The real traces beside the project, in virtual time. Where that folder is absent, these tests say
//! so and stop.

use graygate::traffic::replay::Speed;
use graygate::verdict::result::Status;

use crate::support::{assert_passes, project, replay, trace, virtual_run};

#[test]
fn the_hour_of_code_requests_is_replayed_to_the_last_row() {
    let Some(path) = trace("azure-2023-code.csv") else {
        return;
    };
    let scenario = replay(path, Speed::Times(1.0));
    let log = scenario.log.clone().unwrap();
    assert_eq!((log.read, log.replayed, log.inversions), (8_819, 8_819, 0));
    assert!(log.dropped.is_empty());
    assert!(
        (log.recorded.span_s - 3_435.9).abs() < 0.1,
        "{}",
        log.recorded.span_s
    );
    let output = virtual_run(&scenario);
    assert_passes(&output);
    assert_eq!(output.report.summary.answers.total(), 8_819);
}

#[test]
fn the_hour_of_conversations_is_replayed_to_the_last_row() {
    let Some(path) = trace("azure-2023-conv.csv") else {
        return;
    };
    let scenario = replay(path, Speed::Times(1.0));
    let log = scenario.log.clone().unwrap();
    assert_eq!((log.read, log.replayed), (19_366, 19_366));
    assert!(
        (log.recorded.span_s - 3_501.7).abs() < 0.1,
        "{}",
        log.recorded.span_s
    );
    assert_passes(&virtual_run(&scenario));
}

/// Its times are whole steps of three seconds: most requests share theirs with others.
#[test]
fn the_hour_of_mooncake_is_replayed_to_the_last_row() {
    let Some(path) = trace("mooncake-conversation.jsonl") else {
        return;
    };
    let scenario = replay(path, Speed::Times(1.0));
    let log = scenario.log.clone().unwrap();
    assert_eq!(log.format, "mooncake");
    assert_eq!(
        (log.read, log.replayed, log.inversions),
        (12_031, 12_031, 0)
    );
    let distinct = log.replayed - log.recorded.ties;
    assert_eq!(distinct, 1_180);
    let quantum = log.recorded.quantum_s.expect("a grain");
    assert!((quantum - 3.0).abs() < 0.1, "{quantum}");
    assert!(
        (log.recorded.span_s - 3_537.0).abs() < 1.0,
        "{}",
        log.recorded.span_s
    );
    let output = virtual_run(&scenario);
    assert_eq!(output.report.summary.answers.total(), 12_031);
}

/// What is judged is what was looked through. A log that is written anew, with as many rows, is another one.
#[test]
fn a_log_that_changes_makes_its_replay_invalid() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.csv");
    let text = std::fs::read_to_string(project("fixtures/azure-sample.csv")).unwrap();
    std::fs::write(&path, &text).unwrap();
    let scenario = replay(path.clone(), Speed::Times(1.0));
    let status = |scenario| virtual_run(scenario).report.verdict.status;
    assert_eq!(status(&scenario), Status::Pass);
    std::fs::write(&path, text.replace('1', "2")).unwrap();
    assert_eq!(status(&scenario), Status::Invalid);
}
