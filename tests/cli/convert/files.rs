//! Where a conversion reads and writes, what it leaves behind, and how it ends.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use crate::convert::{OWN, assert_converted, assert_said, convert, fixture, read};
use crate::support::{Folder, command, done, interrupt};

#[test]
fn what_a_format_needs_and_a_log_lacks_is_said() {
    let folder = Folder::new();
    let out = folder.path().join("out.csv").display().to_string();
    let done = convert("fixtures/logs/sharegpt.json", "azure", &["--out", &out]);
    assert_eq!(done.code, Some(2), "{}", done.err);
    assert_said(&done, "dropped no_time: 5 records");
    assert_said(&done, "nothing of the log can be written");
    assert!(!Path::new(&out).exists());
    assert_eq!(folder.files(), Vec::<String>::new());
    let some = convert(OWN, "azure", &[]);
    assert_eq!(some.code, Some(2), "{}", some.err);
    assert_said(&some, "3 of 8 records are lost, more than 1 %");
}

#[test]
fn bad_rows_are_told_by_place_and_stop_it_past_one_in_a_hundred() {
    let folder = Folder::new();
    let head = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
    let good = "2026-03-02 09:00:00.0,1,2\n";
    let few = folder.write("few.csv", &format!("{head}soon,1,2\n{}", good.repeat(99)));
    let done = convert(&few, "mooncake", &[]);
    assert_converted(&done, "few");
    assert_said(&done, "few.csv:2:1");
    assert_said(&done, "dropped bad_timestamp: 1 record");
    let many = folder.write("many.csv", &format!("{head}soon,1,2\n{}", good.repeat(98)));
    let out = folder.path().join("out").display().to_string();
    let done = convert(&many, "mooncake", &["--out", &out]);
    assert_eq!(done.code, Some(2), "{}", done.err);
    assert_said(&done, "out is not written");
    assert_eq!(folder.files(), ["few.csv", "many.csv"]);
}

#[test]
fn wrong_usage_is_told() {
    let folder = Folder::new();
    let unknown = convert(OWN, "sharegpt", &[]);
    assert_eq!(unknown.code, Some(2));
    let list = "graygate, litellm, otel, azure, burstgpt, mooncake";
    assert_said(&unknown, list);
    let missing = convert("no/such.log", "azure", &[]);
    assert_eq!(missing.code, Some(2));
    assert_said(&missing, "no/such.log");
    assert!(!missing.err.contains("error: error"), "{}", missing.err);
    let nowhere = folder.path().join("no/out").display().to_string();
    for out in [&nowhere, &folder.text()] {
        let done = convert(OWN, "graygate", &["--out", out]);
        assert_eq!(done.code, Some(5), "{}", done.err);
        assert_said(&done, "cannot be written");
    }
    let both = convert(OWN, "graygate", &["--contents", "--salt", "a"]);
    assert_eq!(both.code, Some(2));
    let nothing = folder.write("nothing.txt", "hello\n");
    let done = convert(&nothing, "graygate", &[]);
    assert_eq!(done.code, Some(2));
    assert_said(&done, "unknown log format");
}

#[test]
fn a_log_is_not_written_onto_itself() {
    let folder = Folder::new();
    let log = folder.write("log.jsonl", &fixture(OWN));
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&log, &link).unwrap();
    for out in [&log, &link.display().to_string()] {
        let done = convert(&log, "graygate", &["--out", out]);
        assert_eq!(done.code, Some(2), "{}", done.err);
        assert_said(&done, "onto itself");
    }
    // Nor by the shell: it would never come to an end.
    let append = std::fs::OpenOptions::new().append(true).open(&log).unwrap();
    let status = command(&["convert", &log, "--to", "graygate"])
        .stdout(append)
        .stderr(Stdio::null())
        .status();
    assert_eq!(status.unwrap().code(), Some(2));
    assert_eq!(std::fs::read_to_string(&log).unwrap(), fixture(OWN));
}

#[test]
fn a_file_is_replaced_whole_and_links_stay() {
    let folder = Folder::new();
    let old = folder.write("old", "something else");
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&old, &link).unwrap();
    let done = convert(
        OWN,
        "graygate",
        &["--contents", "--out", &link.display().to_string()],
    );
    assert_converted(&done, "link");
    assert!(link.is_symlink());
    let text = std::fs::read_to_string(&old).unwrap();
    assert_eq!(read("graygate", &text), read("graygate", &fixture(OWN)));
    let device = convert(OWN, "graygate", &["--out", "/dev/null"]);
    assert_converted(&device, "/dev/null");
    assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
    assert_eq!(folder.files(), ["link", "old"]);
}

#[test]
fn packed_logs_and_pipes_are_read() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(fixture(OWN).as_bytes()).unwrap();
    let mut child = command(&["convert", "-", "--to", "graygate", "--contents"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(&packed.finish().unwrap()).unwrap();
    drop(pipe);
    let done = done(child.wait_with_output().unwrap());
    assert_converted(&done, "-");
    assert_eq!(read("graygate", &done.out), read("graygate", &fixture(OWN)));
}

/// `| head`: no error, and no end of the log is waited for.
#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let mut child = command(&["convert", "-", "--to", "azure"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut pipe = child.stdin.take().unwrap();
    let row = "2026-03-02 09:00:00.0,1,2\n".repeat(10_000);
    let mut text = "TIMESTAMP,ContextTokens,GeneratedTokens\n".to_owned() + &row;
    // Until it is gone, too.
    while pipe.write_all(text.as_bytes()).is_ok() {
        text.clone_from(&row);
    }
    let done = done(child.wait_with_output().unwrap());
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(!done.err.contains("error"), "{}", done.err);
}

/// Even while nothing comes from the pipe that is read.
#[test]
fn an_interrupted_conversion_leaves_nothing() {
    let folder = Folder::new();
    let out = folder.path().join("out").display().to_string();
    let mut child = command(&["convert", "-", "--to", "azure", "--out", &out])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(b"TIMESTAMP,ContextTokens,GeneratedTokens\n2026-03-02 09:00:00.0,1,2\n")
        .unwrap();
    while folder.files().is_empty() {
        std::thread::yield_now();
    }
    interrupt(&child);
    let done = done(child.wait_with_output().unwrap());
    assert_eq!(done.code, Some(130), "{}", done.err);
    assert_eq!(folder.files(), Vec::<String>::new());
    drop(pipe);
}
