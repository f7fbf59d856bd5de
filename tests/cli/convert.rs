//! `graygate convert`: from every format of logs to those that can be written, without what was said.

mod attempts;
mod files;
mod redaction;

use std::path::{Path, PathBuf};

use graygate::traffic::format::{BadRow, Format, Record, named};

use crate::formats::{ALL, attempts_merged};
use crate::support::{Done, Folder, graygate};

const OWN: &str = "fixtures/logs/graygate.jsonl";
const LITELLM: &str = "fixtures/logs/litellm.jsonl";

fn convert(log: &str, to: &str, more: &[&str]) -> Done {
    graygate(&[&["convert", log, "--to", to], more].concat())
}

fn assert_converted(done: &Done, log: &str) {
    assert_eq!(done.code, Some(0), "{log}: {}", done.err);
}

fn assert_said(done: &Done, text: &str) {
    assert!(done.err.contains(text), "{}", done.err);
}

/// When requests were scheduled, and how long they and their answers were.
fn scheduled(folder: &Folder, log: &str, format: &str, speed: &str) -> Vec<[String; 3]> {
    let out = folder.path().join("reports").display().to_string();
    let router = "fixtures/routers/gray-10.yaml";
    let args = ["replay", log, "--router", router, "--out", &out];
    let more = [
        "--format",
        format,
        "--speed",
        speed,
        "--records",
        "all",
        "-q",
    ];
    let done = graygate(&[&args[..], &more].concat());
    let requests = found("requests.csv", out.as_ref());
    let requests = requests.unwrap_or_else(|| panic!("{log}: {}", done.err));
    let mut table = csv::Reader::from_path(requests).unwrap();
    let names = ["scheduled_at_s", "input_tokens", "output_tokens"];
    let headers = table.headers().unwrap().clone();
    let places = names.map(|name| headers.iter().position(|h| h == name).unwrap());
    let rows = table.records().map(|row| {
        let row = row.unwrap();
        places.map(|place| row[place].to_owned())
    });
    let mut rows: Vec<_> = rows.collect();
    if speed == "max" {
        // When the next one is sent hangs on the answers.
        rows.iter_mut().for_each(|row| row[0].clear());
    }
    rows.sort();
    std::fs::remove_dir_all(&out).unwrap();
    rows
}

/// A file of this name, somewhere in a folder.
pub(crate) fn found(name: &str, folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    let mut paths = entries.map(|entry| entry.unwrap().path());
    paths.find_map(|path| match path.is_dir() {
        true => found(name, &path),
        false => (path.file_name()? == name).then_some(path),
    })
}

#[test]
fn every_log_becomes_our_own_and_is_replayed_like_itself() {
    let folder = Folder::new();
    for (log, format, rows, speed) in ALL.iter().copied().flatten().copied() {
        let path = format!("fixtures/logs/{log}");
        let own = folder.path().join("converted.jsonl").display().to_string();
        let done = convert(&path, "graygate", &["--format", format, "--out", &own]);
        assert_converted(&done, log);
        assert_eq!(done.out, "");
        let said = format!("{rows} written as graygate");
        assert!(done.err.contains(&said), "{log}: {}", done.err);
        let original = scheduled(&folder, &path, format, speed);
        let sent = rows - attempts_merged(log);
        assert_eq!(original.len(), sent as usize, "{log}");
        assert_eq!(scheduled(&folder, &own, "auto", speed), original, "{log}");
    }
}

fn read(format: &str, text: &str) -> Vec<Record> {
    let format: &Format = named(format).unwrap();
    let mut records = Vec::new();
    let mut each = |record: Result<Record, BadRow>| records.push(record.unwrap());
    (format.read)(&mut text.as_bytes(), &mut each).unwrap();
    records
}

fn fixture(log: &str) -> String {
    std::fs::read_to_string(format!("{}/{log}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// To a format and back to our own: the fields that both have.
fn there_and_back(log: &str, to: &str) -> (Vec<Record>, Vec<Record>) {
    let folder = Folder::new();
    let there = folder.path().join("there").display().to_string();
    let done = convert(log, to, &["--contents", "--out", &there]);
    assert_converted(&done, to);
    let back = convert(&there, "graygate", &["--contents"]);
    assert_converted(&back, to);
    let direct = convert(log, "graygate", &["--contents"]);
    (read("graygate", &direct.out), read("graygate", &back.out))
}

#[test]
fn what_two_formats_carry_survives_there_and_back() {
    for to in ["graygate", "litellm", "otel"] {
        let (direct, back) = there_and_back(LITELLM, to);
        assert_eq!(direct.len(), 8);
        for (direct, back) in direct.iter().zip(&back) {
            // Of dollars and tenants spans know nothing, and a trace has another name there.
            assert_eq!(back.trace.is_some(), direct.trace.is_some(), "{to}");
            let expected = match to {
                "otel" => Record {
                    cost: None,
                    tenant: None,
                    trace: back.trace.clone(),
                    ..direct.clone()
                },
                _ => direct.clone(),
            };
            assert_eq!(*back, expected, "{to}");
        }
    }
}

/// Microseconds since the first record, lengths, and the session.
type Bare = (i64, Option<u32>, Option<u32>, Option<String>);

fn bare(records: &[Record]) -> Vec<Bare> {
    let first = records[0].at.unwrap();
    let bare = |r: &Record| {
        let at = (r.at.unwrap() - first) / 1_000;
        (at, r.input_tokens, r.output_tokens, r.session.clone())
    };
    records.iter().map(bare).collect()
}

#[test]
fn times_and_lengths_survive_in_all_that_have_them() {
    for (log, to) in [
        ("fixtures/logs/azure.csv", "azure"),
        ("fixtures/logs/azure.csv", "mooncake"),
        ("fixtures/logs/azure.csv", "burstgpt"),
        ("fixtures/logs/mooncake.jsonl", "azure"),
        ("fixtures/logs/burstgpt-3.csv", "burstgpt"),
        ("fixtures/logs/weka.jsonl", "litellm"),
        ("fixtures/logs/weka.jsonl", "otel"),
    ] {
        let (direct, back) = there_and_back(log, to);
        assert_eq!(bare(&direct), bare(&back), "{log} {to}");
    }
}

/// Written to stdout, so that it looks the same in every release.
#[test]
fn one_log_in_every_format() {
    for to in [
        "graygate", "litellm", "otel", "azure", "burstgpt", "mooncake",
    ] {
        let done = convert(OWN, to, &["--salt", "pepper"]);
        insta::assert_snapshot!(format!("as_{to}"), format!("{}---\n{}", done.out, done.err));
    }
}
