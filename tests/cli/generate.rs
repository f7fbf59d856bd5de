//! `graygate generate`: logs of made-up traffic, and what is left behind when they are not finished.

use std::io::Read;
use std::process::Stdio;

use crate::support::{Done, Folder, command, done, graygate, interrupt};

fn generate(args: &[&str]) -> Done {
    graygate(&[&["generate"], args].concat())
}

/// So much of one that it never ends.
const ENDLESS: &str = "18446744073709551615";

#[test]
fn a_log_hangs_on_its_seed_alone() {
    let log = |more: &[&str]| {
        let done = generate(&[&["--to", "azure"], more].concat());
        assert_eq!(done.code, Some(0), "{}", done.err);
        done.out
    };
    let long = log(&["--rows", "300"]);
    assert_eq!(long.lines().count(), 301);
    assert_eq!(log(&["--rows", "300"]), long);
    assert!(long.starts_with(&log(&["--rows", "20"])));
    assert_ne!(log(&["--rows", "300", "--seed", "2"]), long);
    insta::assert_snapshot!("generated", log(&["--rows", "5"]));
}

#[test]
fn every_format_is_written_and_replayed() {
    let folder = Folder::new();
    let out = folder.path().join("log").display().to_string();
    let reports = folder.path().join("reports").display().to_string();
    for to in [
        "graygate", "litellm", "otel", "azure", "burstgpt", "mooncake",
    ] {
        let done = generate(&[
            "--rows", "200", "--rate", "100/s", "--to", to, "--out", &out,
        ]);
        assert_eq!(
            (done.code, done.out.as_str()),
            (Some(0), ""),
            "{}",
            done.err
        );
        assert!(
            done.err.contains(&format!("200 records written as {to}")),
            "{}",
            done.err
        );
        assert!(!done.err.contains("cannot carry"), "{}", done.err);
        let router = "fixtures/routers/gray-10.yaml";
        let replayed = graygate(&["replay", &out, "--router", router, "--out", &reports]);
        let account = "200 rows read, 200 replayed, 0 dropped";
        assert!(
            replayed.out.contains(account),
            "{to}: {}{}",
            replayed.out,
            replayed.err
        );
    }
}

#[test]
fn arrivals_and_lengths_are_written_as_in_scenarios() {
    let done = generate(&[
        "--rows",
        "3",
        "--to",
        "graygate",
        "--arrivals",
        "constant: 4/s",
        "--input-tokens",
        "7",
        "--output-tokens",
        "constant: 9",
    ]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    let lines: Vec<_> = done.out.lines().skip(1).collect();
    let line = |at: &str| format!("{{\"at_s\":{at},\"input_tokens\":7,\"output_tokens\":9}}");
    assert_eq!(lines, ["0", "0.25", "0.5"].map(line));
}

#[test]
fn wrong_usage_is_told_with_its_place() {
    let usage = |more: &[&str], expected: &str| {
        let folder = Folder::new();
        let out = folder.path().join("log").display().to_string();
        let done = generate(&[&["--to", "azure", "--out", &out], more].concat());
        assert_eq!(done.code, Some(2), "{more:?}: {}", done.err);
        assert!(done.err.contains(expected), "{more:?}: {}", done.err);
        assert_eq!(folder.files(), Vec::<String>::new());
    };
    usage(&["--rows", "0"], "'--rows <N>'");
    usage(&["--rows", "1", "--rate", "soon"], "--> --rate:1");
    usage(
        &["--rows", "1", "--input-tokens", "0"],
        "--> --input-tokens:1:1",
    );
    for answered in ["closed: 3", "closed", "sessions: 3"] {
        let words = "waits for answers, and nobody answers while a log is made up";
        usage(&["--rows", "1", "--arrivals", answered], words);
    }
    // What is not to be had is not offered.
    let on_schedule = "`diurnal`, `stages`\n";
    usage(&["--rows", "1", "--arrivals", "bogus: 3"], on_schedule);
    for long in ["2000001", "lognormal: {median: 3000000, p99: 9000000}"] {
        let words = "more than the 2,000,000 tokens that are replayed";
        usage(&["--rows", "1", "--output-tokens", long], words);
        usage(&["--rows", "1", "--input-tokens", long], words);
    }
    let short = "stages: [{constant: 2/s, for: 1s}]";
    let message = "the arrivals end before there are 3 records";
    usage(&["--rows", "3", "--arrivals", short], message);
}

#[test]
fn what_cannot_be_written_is_told() {
    let full = generate(&["--rows", "100000", "--to", "azure", "--out", "/dev/full"]);
    assert_eq!(full.code, Some(5), "{}", full.err);
    assert!(
        full.err.contains("/dev/full: cannot be written"),
        "{}",
        full.err
    );
}

/// `| head`.
#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let mut child = command(&["generate", "--rows", ENDLESS, "--to", "azure"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdout.take().unwrap();
    pipe.read_exact(&mut [0; 100]).unwrap();
    drop(pipe);
    let done = done(child.wait_with_output().unwrap());
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
}

#[test]
fn an_interrupted_log_leaves_nothing() {
    let folder = Folder::new();
    let out = folder.path().join("log").display().to_string();
    let child = command(&[
        "generate", "--rows", ENDLESS, "--to", "azure", "--out", &out,
    ])
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    while folder.files().is_empty() {
        std::thread::yield_now();
    }
    interrupt(&child);
    let done = done(child.wait_with_output().unwrap());
    assert_eq!(done.code, Some(130), "{}", done.err);
    assert_eq!(folder.files(), Vec::<String>::new());
}
