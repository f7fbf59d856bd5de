//! The real traces beside the project, in virtual time. Where that folder is absent, these tests say
//! so and stop.

use graygate::traffic::replay::Speed;

use crate::support::{assert_passes, replay, trace, virtual_run};

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
