//! The real traces beside the project, in virtual time. Where that folder is absent, these tests say
//! so and stop.

use graygate::observe::meta::LogMeta;
use graygate::traffic::replay::Speed;
use graygate::verdict::result::Status;

use crate::support::{assert_passes, project, replay, trace, virtual_run};

/// What is known of a trace (../shared/facts/trace-formats.md): rows, seconds, requests a second, the most in one second, how
/// the gaps vary, the longest one, and how many moments have a request.
struct Facts {
    rows: u64,
    span: f64,
    rate: f64,
    peak: u64,
    variation: Option<f64>,
    longest: Option<f64>,
    distinct: u64,
}

/// Is that what the report says, to the last digit that the facts have?
fn assert_facts(log: &LogMeta, facts: &Facts) {
    let spacing = &log.recorded;
    assert_eq!((log.read, log.replayed), (facts.rows, facts.rows));
    assert_eq!(spacing.distinct, facts.distinct);
    assert_eq!(spacing.peak_per_s, facts.peak);
    assert!((spacing.span_s - facts.span).abs() < 0.051, "{spacing:?}");
    let rate = spacing.rate_per_s.expect("a rate");
    assert!((rate - facts.rate).abs() < 0.005, "{rate}");
    let near = |found: Option<f64>, stated: Option<f64>, by: f64| {
        let differs = |stated: f64| (found.expect("a figure") - stated).abs() > by;
        assert!(!stated.is_some_and(differs), "{stated:?}: {spacing:?}");
    };
    near(spacing.gap_cv, facts.variation, 0.05);
    near(spacing.gap_max_s, facts.longest, 0.5);
}

#[test]
fn the_hour_of_code_requests_is_replayed_to_the_last_row() {
    let Some(path) = trace("azure-2023-code.csv") else {
        return;
    };
    let scenario = replay(path, Speed::Times(1.0));
    let log = scenario.log.clone().unwrap();
    assert!(log.dropped.is_empty() && log.inversions == 0);
    let facts = Facts {
        rows: 8_819,
        span: 3_435.9,
        rate: 2.57,
        peak: 67,
        variation: Some(13.2),
        longest: Some(217.0),
        distinct: 8_819,
    };
    assert_facts(&log, &facts);
    assert_eq!(log.recorded.quantum_s, None);
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
    let facts = Facts {
        rows: 19_366,
        span: 3_501.7,
        rate: 5.53,
        peak: 19,
        variation: Some(1.09),
        longest: None,
        distinct: 19_366,
    };
    assert_facts(&log, &facts);
    assert_eq!((log.recorded.ties, log.recorded.quantum_s), (0, None));
    let output = virtual_run(&scenario);
    assert_passes(&output);
    let report = graygate::report::markdown::render(&output.report);
    let said = [
        "19,366 rows over 3501.7 s",
        "rate, as recorded: 5.53/s; at most 19 in one second",
        "variation 1.09",
    ];
    for said in said {
        assert!(report.contains(said), "{said}: {report}");
    }
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
    assert_eq!(log.inversions, 0);
    let facts = Facts {
        rows: 12_031,
        span: 3_537.0,
        rate: 3.40,
        peak: 28,
        variation: None,
        longest: None,
        distinct: 1_180,
    };
    assert_facts(&log, &facts);
    let quantum = log.recorded.quantum_s.expect("a grain");
    assert!((quantum - 3.0).abs() < 0.1, "{quantum}");
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
