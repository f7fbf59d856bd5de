//! `graygate convert`: from every format of logs to those that can be written, without what was said.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use graygate::traffic::format::{BadRow, Format, Record, named};

use crate::formats::ALL;
use crate::support::{Done, Folder, command, done, graygate};

const OWN: &str = "fixtures/logs/graygate.jsonl";
const LITELLM: &str = "fixtures/logs/litellm.jsonl";

fn convert(log: &str, to: &str, more: &[&str]) -> Done {
    graygate(&[&["convert", log, "--to", to], more].concat())
}

fn assert_converted(done: &Done, log: &str) {
    assert_eq!(done.code, Some(0), "{log}: {}", done.err);
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
fn found(name: &str, folder: &Path) -> Option<PathBuf> {
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
        assert_eq!(original.len(), rows as usize, "{log}");
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
            // Of dollars, tenants and traces spans know nothing.
            let expected = match to {
                "otel" => Record {
                    cost: None,
                    tenant: None,
                    trace: None,
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

/// Everything that somebody wrote, in texts, names and keys.
#[test]
fn nothing_that_was_said_is_in_the_output() {
    let folder = Folder::new();
    let key = "sk-Zq9wErtYuiOpAsDf";
    let secret = format!(
        "{{\"format\":\"graygate.log/1\"}}\n{{\"at_s\":1,\"session\":\"Wolpertinger\",\"user\":\"Xaver\",\"tenant\":\"Yggdrasil\",\
         \"trace\":\"Zwieback\",\"model\":\"chat\",\"served_by\":\"{key}\",\"outcome\":\"success\",\"answer\":\"Quetzalcoatl flies\",\
         \"body\":{{\"messages\":[{{\"role\":\"user\",\"name\":\"Kasimir\",\"content\":\"Rumpelstiltskin {key}\"}},\
         {{\"role\":\"Oberon\",\"content\":[{{\"type\":\"text\",\"text\":\"Methuselah\"}}],\
         \"tool_calls\":[{{\"function\":{{\"name\":\"Titania\",\"arguments\":\"{{Puck: 1}}\"}}}}]}}],\
         \"stop\":[\"Ariadne\"],\"user\":\"Xaver\",\"tools\":[{{\"function\":{{\"name\":\"Titania\"}}}}],\"Nibelung\":1}}}}\n\
         {{\"at_s\":\"Loreley\",\"user\":\"Loreley\"}}\n"
    );
    // So many that one in a hundred does not matter.
    let more = "{\"at_s\":2,\"input_tokens\":1,\"output_tokens\":1}\n".repeat(200);
    let log = folder.write("secret.jsonl", &format!("{secret}{more}"));
    let words = [
        "Wolpertinger",
        "Xaver",
        "Yggdrasil",
        "Zwieback",
        "Zq9wErtYuiOpAsDf",
        "Quetzalcoatl",
        "flies",
        "Kasimir",
        "Rumpelstiltskin",
        "Oberon",
        "Methuselah",
        "Titania",
        "Puck",
        "Ariadne",
        "Nibelung",
        "Loreley",
    ];
    for to in [
        "graygate", "litellm", "otel", "azure", "burstgpt", "mooncake",
    ] {
        let done = convert(&log, to, &[]);
        assert_converted(&done, to);
        for word in words {
            assert!(!done.out.contains(word), "{to}: {word}: {}", done.out);
            assert!(!done.err.contains(word), "{to}: {word}: {}", done.err);
        }
        assert!(done.err.contains("secret.jsonl:3"), "{}", done.err);
        let open = convert(&log, to, &["--contents"]);
        assert!(!open.out.contains("Zq9wErtYuiOpAsDf"), "{to}: {}", open.out);
        assert!(open.err.contains("Loreley"), "{}", open.err);
    }
    let open = convert(&log, "graygate", &["--contents"]).out;
    for word in words
        .iter()
        .filter(|word| **word != "Zq9wErtYuiOpAsDf" && **word != "Loreley")
    {
        assert!(open.contains(word), "{word}");
    }
}

#[test]
fn names_still_group_and_lengths_survive() {
    let salted = |salt: &str| {
        read(
            "graygate",
            &convert(LITELLM, "graygate", &["--salt", salt]).out,
        )
    };
    let (a, again, b) = (salted("a"), salted("a"), salted("b"));
    assert_eq!(a, again);
    let open = read(
        "graygate",
        &convert(LITELLM, "graygate", &["--contents"]).out,
    );
    assert_eq!(a[1].trace, a[2].trace);
    assert_ne!(a[0].trace, a[1].trace);
    assert_ne!(a[1].trace, b[1].trace);
    for (hidden, open) in a.iter().zip(&open) {
        assert_ne!(hidden.trace, open.trace);
        let words = |record: &Record| record.answer.as_ref().map(|a| a.split_whitespace().count());
        assert_eq!(words(hidden), words(open));
        assert_eq!(
            (hidden.at, hidden.end, hidden.cost),
            (open.at, open.end, open.cost)
        );
    }
    // Without a salt nobody can say whose pseudonyms they are.
    let fresh = || convert(LITELLM, "graygate", &[]).out;
    assert_ne!(fresh(), fresh());
}

#[test]
fn lengths_are_counted_where_nobody_stated_them() {
    let done = convert("fixtures/logs/sharegpt.json", "graygate", &[]);
    let records = read("graygate", &done.out);
    assert_eq!(records.len(), 5);
    let is_counted =
        |r: &Record| r.input_tokens.is_some() && r.output_tokens.is_some() == r.answer.is_some();
    assert!(records.iter().all(is_counted), "{}", done.out);
    assert!(done.out.contains("tok tok "), "{}", done.out);
}

#[test]
fn what_a_format_needs_and_a_log_lacks_is_said() {
    let folder = Folder::new();
    let out = folder.path().join("out.csv").display().to_string();
    let done = convert("fixtures/logs/sharegpt.json", "azure", &["--out", &out]);
    assert_eq!(done.code, Some(2), "{}", done.err);
    assert!(
        done.err.contains("dropped no_time: 5 records"),
        "{}",
        done.err
    );
    assert!(
        done.err.contains("nothing of the log can be written"),
        "{}",
        done.err
    );
    assert!(!Path::new(&out).exists());
    assert_eq!(left(&folder), Vec::<String>::new());
    let some = convert(OWN, "azure", &[]);
    assert_eq!(some.code, Some(2), "{}", some.err);
    assert!(
        some.err.contains("3 of 8 records are lost, more than 1 %"),
        "{}",
        some.err
    );
}

/// All files of a folder.
fn left(folder: &Folder) -> Vec<String> {
    let files = std::fs::read_dir(folder.path()).unwrap();
    let mut files: Vec<_> = files
        .map(|file| file.unwrap().file_name().display().to_string())
        .collect();
    files.sort();
    files
}

#[test]
fn bad_rows_are_told_by_place_and_stop_it_past_one_in_a_hundred() {
    let folder = Folder::new();
    let head = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
    let good = "2026-03-02 09:00:00.0,1,2\n";
    let few = folder.write("few.csv", &format!("{head}soon,1,2\n{}", good.repeat(99)));
    let done = convert(&few, "mooncake", &[]);
    assert_converted(&done, "few");
    assert!(done.err.contains("few.csv:2:1"), "{}", done.err);
    assert!(
        done.err.contains("dropped bad_timestamp: 1 record"),
        "{}",
        done.err
    );
    let many = folder.write("many.csv", &format!("{head}soon,1,2\n{}", good.repeat(98)));
    let out = folder.path().join("out").display().to_string();
    let done = convert(&many, "mooncake", &["--out", &out]);
    assert_eq!(done.code, Some(2), "{}", done.err);
    assert!(done.err.contains("out is not written"), "{}", done.err);
    assert_eq!(left(&folder), ["few.csv", "many.csv"]);
}

#[test]
fn wrong_usage_is_told() {
    let folder = Folder::new();
    let unknown = convert(OWN, "sharegpt", &[]);
    assert_eq!(unknown.code, Some(2));
    let list = "graygate, litellm, otel, azure, burstgpt, mooncake";
    assert!(unknown.err.contains(list), "{}", unknown.err);
    let missing = convert("no/such.log", "azure", &[]);
    assert_eq!(missing.code, Some(2));
    assert!(missing.err.contains("no/such.log"), "{}", missing.err);
    assert!(!missing.err.contains("error: error"), "{}", missing.err);
    let nowhere = folder.path().join("no/out").display().to_string();
    for out in [&nowhere, &folder.text()] {
        let done = convert(OWN, "graygate", &["--out", out]);
        assert_eq!(done.code, Some(5), "{}", done.err);
        assert!(done.err.contains("cannot be written"), "{}", done.err);
    }
    let both = convert(OWN, "graygate", &["--contents", "--salt", "a"]);
    assert_eq!(both.code, Some(2));
    let nothing = folder.write("nothing.txt", "hello\n");
    let done = convert(&nothing, "graygate", &[]);
    assert_eq!(done.code, Some(2));
    assert!(done.err.contains("unknown log format"), "{}", done.err);
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
        assert!(done.err.contains("onto itself"), "{}", done.err);
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
    assert_eq!(left(&folder), ["link", "old"]);
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
    while left(&folder).is_empty() {
        std::thread::yield_now();
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let done = done(child.wait_with_output().unwrap());
    assert_eq!(done.code, Some(130), "{}", done.err);
    assert_eq!(left(&folder), Vec::<String>::new());
    drop(pipe);
}
