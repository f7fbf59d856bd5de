//! Every exit code, for its reason, and their precedence.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::Stdio;

use crate::support::{
    FAILS, Folder, INCONCLUSIVE, PASSES, command, done, graygate, interrupted, scenario,
};

fn run(folder: &Folder, files: &[&str], more: &[&str]) -> crate::support::Done {
    let out = folder.path().join("reports").display().to_string();
    let mut args = vec!["run"];
    args.extend(files);
    args.extend(["--out", &out]);
    args.extend(more);
    graygate(&args)
}

#[test]
fn zero_when_all_gates_pass() {
    let folder = Folder::new();
    let file = folder.write("good.yaml", &scenario(PASSES));
    let done = run(&folder, &[&file], &[]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.out.starts_with("PASS"), "{}", done.out);
    assert_eq!(done.err, "");
}

#[test]
fn one_when_a_gate_fails_and_the_way_to_see_it_again() {
    let folder = Folder::new();
    let file = folder.write("bad.yaml", &scenario(FAILS));
    let done = run(&folder, &[&file], &[]);
    assert_eq!(done.code, Some(1));
    assert!(done.out.contains("count <= 3"), "{}", done.out);
    let line = done
        .out
        .lines()
        .find(|l| l.contains("reproduce:"))
        .expect("a command");
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[1..3], ["graygate", "run"]);
    // The command that is printed works as it stands.
    let out = folder.path().join("again").display().to_string();
    let mut args = words[2..].to_vec();
    args.extend(["--out", &out]);
    assert_eq!(graygate(&args).code, Some(1));
}

/// A full disk behind stdout loses what somebody wanted to read: the verdict alone must not look as if all were well.
#[test]
fn five_when_stdout_cannot_be_written() {
    let folder = Folder::new();
    let good = folder.write("good.yaml", &scenario(PASSES));
    let bad = folder.write("bad.yaml", &scenario(FAILS));
    let reports = folder.path().join("reports").display().to_string();
    let kept = run(&folder, &[&good], &[]);
    assert_eq!(kept.code, Some(0), "{}", kept.err);
    let made = format!("{reports}/good/virtual-seed3");
    let log = format!("{made}/attempts.csv");
    let router = "fixtures/routers/gray-30-fast.yaml";
    for args in [
        vec!["run", &good, "--out", &reports],
        vec!["run", &bad, "--out", &reports, "--format", "json"],
        vec!["run", &good, "--out", &reports, "--runs", "5"],
        vec![
            "replay",
            "fixtures/logs/azure.csv",
            "--router",
            router,
            "--out",
            &reports,
        ],
        vec!["audit", &log, "--router", router, "--out", &reports],
        vec!["compare", &made, &made],
        vec!["judge", &made, "--expect", &good],
        vec!["validate", &good],
        vec!["--help"],
    ] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        let full = full.expect("a device that is always full");
        let lost = done(command(&args).stdout(full).output().expect("it starts"));
        assert_eq!(lost.code, Some(5), "{args:?}: {}", lost.err);
        let words = "error: stdout: cannot be written: ";
        assert_eq!(lost.err.matches(words).count(), 1, "{args:?}: {}", lost.err);
    }
}

#[test]
fn two_for_wrong_usage_and_invalid_files() {
    let folder = Folder::new();
    let good = folder.write("good.yaml", &scenario(PASSES));
    let bad = folder.write("broken.yaml", "name: [");
    for args in [
        vec!["run"],
        vec!["run", &good, "--engine", "imaginary"],
        vec!["run", &good, "--no-such-flag"],
        vec!["run", "no/such/file.yaml"],
        vec!["run", &bad],
        vec!["run", &good, &bad],
        vec!["run", &good, "--filter", "nothing-is-called-that"],
        vec!["validate", &bad],
        vec![
            "replay",
            "no-such-log.csv",
            "--router",
            "fixtures/routers/gray-10.yaml",
        ],
        vec!["serve", "no-such-router.yaml"],
        vec!["mock", "--fault", "kind: imaginary"],
        vec!["imagine"],
    ] {
        let done = graygate(&args);
        assert_eq!(done.code, Some(2), "{args:?}: {}", done.err);
        assert!(!done.err.is_empty(), "{args:?} says why");
        assert!(!folder.path().join("reports").exists(), "nothing is run");
    }
}

#[test]
fn three_when_the_evidence_is_too_thin() {
    let folder = Folder::new();
    let file = folder.write("thin.yaml", &scenario(INCONCLUSIVE));
    let done = run(&folder, &[&file], &[]);
    assert_eq!(done.code, Some(3));
    assert!(done.out.contains("more requests needed"), "{}", done.out);
    assert!(
        done.err.contains("will most likely be inconclusive"),
        "{}",
        done.err
    );
    // An empty folder shows nothing.
    let empty = Folder::new();
    let done = graygate(&["run", &empty.text()]);
    assert_eq!(done.code, Some(2));
}

#[test]
fn three_when_nothing_reached_the_canary() {
    let folder = Folder::new();
    let text = scenario(PASSES).replace(
        "router: FIXTURES/routers/gray-30-fast.yaml",
        "router:
  versions:
    v1: {role: stable, model: a}
    v2: {role: canary, model: b}
  split: {weights: {v1: 100, v2: 0}}",
    );
    let file = folder.write("no-canary.yaml", &text);
    let done = run(&folder, &[&file], &[]);
    assert_eq!(done.code, Some(3), "{}", done.out);
    assert!(
        done.out.contains("attempts at the canary > 0"),
        "{}",
        done.out
    );
}

#[test]
fn four_when_the_generator_was_late() {
    let folder = Folder::new();
    let gates = format!("{FAILS}\n  - generator: {{dispatch_delay_p99: \"<= 0s\"}}");
    let file = folder.write("late.yaml", &scenario(&gates));
    let done = run(&folder, &[&file], &["--engine", "live"]);
    assert_eq!(done.code, Some(4), "{}", done.out);
    assert!(
        done.out.starts_with("INVALID"),
        "an invalid run shows nothing: {}",
        done.out
    );
}

/// A file where a folder is needed.
fn occupied(folder: &Folder) -> String {
    folder.write("occupied", "a file stands here");
    folder.path().join("occupied").display().to_string()
}

#[test]
fn five_when_the_output_folder_cannot_be_written() {
    let folder = Folder::new();
    let file = folder.write("good.yaml", &scenario(PASSES));
    let out = occupied(&folder);
    let done = graygate(&["run", &file, "--out", &out]);
    assert_eq!(done.code, Some(5));
    assert!(done.err.contains("--out DIR"), "{}", done.err);
    let done = run(&folder, &[&file], &["--junit", "/dev/full"]);
    assert_eq!(done.code, Some(5));
    assert!(done.err.contains("/dev/full"), "{}", done.err);
    assert!(!done.err.contains("--out"), "{}", done.err);
}

/// A minute of traffic for a report that goes nowhere would be a waste.
#[test]
fn five_before_the_run_when_the_junit_file_cannot_be_written() {
    let folder = Folder::new();
    let file = folder.write("good.yaml", &scenario(PASSES));
    let junit = format!("{}/junit.xml", occupied(&folder));
    let done = run(&folder, &[&file], &["--junit", &junit]);
    assert_eq!(
        (done.code, done.out.as_str()),
        (Some(5), ""),
        "{}",
        done.err
    );
    assert!(done.err.contains("junit.xml"), "{}", done.err);
    assert!(!done.err.contains("--out"), "{}", done.err);
    assert!(!folder.path().join("reports").exists(), "nothing is run");
}

/// Nor hours of runs.
#[test]
fn five_before_many_runs_when_the_output_folder_cannot_be_written() {
    let folder = Folder::new();
    let file = folder.write("good.yaml", &scenario(PASSES));
    let out = occupied(&folder);
    // So many runs would take the better part of a day.
    let many = ["--out", &out, "--runs", "1000000"];
    let fault = ["--fault", "kind: server_error, on: v2, at: 1s"];
    let run = [&["run", file.as_str()][..], &many].concat();
    let tune = [&["tune", file.as_str()][..], &many, &fault].concat();
    for args in [run, tune] {
        let done = graygate(&args);
        assert_eq!((done.code, done.out.as_str()), (Some(5), ""), "{args:?}");
        assert!(done.err.contains("--out DIR"), "{}", done.err);
    }
}

#[test]
fn five_when_the_port_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = Folder::new();
    let router = folder.write("router.yaml", &served_by(&address));
    let file = folder.path().join("written.jsonl");
    let path = file.display().to_string();
    for args in [
        vec![
            "serve",
            &router,
            "--state",
            "none",
            "--listen",
            &address,
            "--input-log",
            &path,
        ],
        vec!["mock", "--listen", &address, "--ledger", &path],
    ] {
        let done = graygate(&args);
        assert!(!file.exists(), "no empty file is left behind");
        assert_eq!(done.code, Some(5), "{}", done.err);
        assert!(
            done.err.contains("another program uses this port"),
            "{}",
            done.err
        );
    }
}

fn served_by(address: &str) -> String {
    format!(
        "versions:
  v1: {{role: stable, model: a, endpoint: 'http://{address}/v1'}}
  v2: {{role: canary, model: b, endpoint: 'http://{address}/v1'}}
split: {{weights: {{v1: 9, v2: 1}}}}"
    )
}

#[test]
fn five_when_the_upstream_is_not_there() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let folder = Folder::new();
    let router = folder.write("router.yaml", &served_by(&address));
    let done = graygate(&[
        "serve",
        &router,
        "--state",
        "none",
        "--listen",
        "127.0.0.1:0",
    ]);
    assert_eq!(done.code, Some(5), "{}", done.err);
    assert!(
        done.err.contains("cannot reach the upstream of `v1`"),
        "{}",
        done.err
    );
    assert!(done.err.contains("start it first"), "{}", done.err);
}

#[test]
fn the_worst_of_several_wins() {
    let folder = Folder::new();
    folder.write("a-good.yaml", &scenario(PASSES));
    folder.write("b-bad.yaml", &scenario(FAILS));
    folder.write("c-thin.yaml", &scenario(INCONCLUSIVE));
    let all = run(&folder, &[&folder.text()], &["-q"]);
    assert_eq!(all.code, Some(1));
    assert!(
        all.out
            .contains("3 scenarios: 1 passed, 1 failed, 1 inconclusive"),
        "{}",
        all.out
    );
    let filtered = run(&folder, &[&folder.text()], &["--filter", "c-"]);
    assert_eq!(filtered.code, Some(3));
    let first = run(&folder, &[&folder.text()], &["--fail-fast", "--jobs", "1"]);
    assert_eq!(first.code, Some(1));
    assert!(!first.out.contains("c-thin"), "{}", first.out);
}

/// Ctrl-C ends the run, writes the report of what was measured, and says so.
#[test]
fn a_hundred_and_thirty_when_interrupted() {
    for engine in ["virtual", "live"] {
        let folder = Folder::new();
        let endless = scenario(PASSES).replace("duration: 1s", "duration: 8760h");
        let file = folder.write("endless.yaml", &endless);
        let out = folder.path().join("reports").display().to_string();
        let args = ["run", &file, "--engine", engine, "--out", &out];
        let done = interrupted(&[&args[..], &["--records", "none"]].concat(), "endless: ");
        assert_eq!(done.code, Some(130), "{}", done.err);
        assert!(done.out.starts_with("INTERRUPTED"), "{}", done.out);
        let runs = std::fs::read_dir(folder.path().join("reports/endless")).unwrap();
        let run = runs.last().unwrap().unwrap().path();
        let summary = std::fs::read_to_string(run.join("summary.json")).unwrap();
        assert!(summary.contains("\"interrupted\": true"));
        // What was not seen to its end has not passed, and replaces nothing that was.
        let is = |status| summary.contains(&format!("\"status\": \"{status}\",\n  \"title\""));
        // A live run beside others may have been disturbed as well.
        assert!(
            is("inconclusive") || engine == "live" && is("invalid"),
            "{summary}"
        );
        let name = run.file_name().unwrap().to_string_lossy().into_owned();
        assert!(name.ends_with("-interrupted"), "{name}");
        let report = std::fs::read_to_string(run.join("report.md")).unwrap();
        assert!(report.contains("**Interrupted**"));
    }
}

/// Several runs at once write lines, each with its name: a line that is written over has one writer.
#[test]
fn runs_at_once_show_their_progress_in_lines() {
    let folder = Folder::new();
    let endless = scenario(PASSES).replace("duration: 1s", "duration: 8760h");
    folder.write("one.yaml", &endless);
    folder.write("two.yaml", &endless);
    let out = folder.path().join("reports").display().to_string();
    let args = ["run", &folder.text(), "--out", &out, "--records", "none"];
    let mut child = command(&args)
        .args(["--jobs", "2"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut lines = String::new();
    while !(lines.contains("one: ") && lines.contains("two: ")) {
        let read = stderr.read_line(&mut lines).unwrap();
        assert!(read > 0, "both are under way: {lines}");
    }
    assert!(!lines.contains(['\r', '\u{1b}']), "{lines:?}");
    let pid = child.id().to_string();
    let kill = std::process::Command::new("kill")
        .args(["-INT", &pid])
        .status();
    assert!(kill.unwrap().success());
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest}");
}

#[test]
fn help_and_version_are_no_mistakes() {
    for args in [["--help"], ["--version"]] {
        let done = graygate(&args);
        assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    }
    assert!(graygate(&["--help"]).out.contains("130, 2, 5, 1, 4, 3, 0"));
}

/// `graygate run … | head -1` must not end in a panic.
#[test]
fn a_reader_that_goes_away_does_no_harm() {
    let folder = Folder::new();
    let file = folder.write("good.yaml", &scenario(PASSES));
    let out = folder.path().join("reports").display().to_string();
    let mut child = command(&["run", &file, "--out", &out])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let done = done(child.wait_with_output().unwrap());
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
}

/// Whoever closed stderr or stdout wants to hear nothing; the run goes on, and its verdict counts.
#[test]
fn closed_outputs_do_no_harm() {
    let folder = Folder::new();
    let pass = folder.write("good.yaml", &scenario(PASSES));
    let fail = folder.write("bad.yaml", &scenario(FAILS));
    let thin = folder.write("thin.yaml", &scenario(INCONCLUSIVE));
    let wrong = folder.write("wrong.yaml", "name: [");
    let out = folder.path().join("reports").display().to_string();
    for (closed, file, code) in [
        ("2>&-", &pass, 0),
        ("2>&-", &thin, 3),
        ("2>&-", &wrong, 2),
        (">&-", &fail, 1),
        (">&- 2>&-", &fail, 1),
        ("2>/dev/full", &thin, 3),
        (">/dev/full 2>/dev/full", &wrong, 2),
    ] {
        let program = env!("CARGO_BIN_EXE_graygate");
        let line = format!("exec {program} run {file} --out {out} {closed}");
        let output = std::process::Command::new("sh")
            .args(["-c", &line])
            .output();
        assert_eq!(output.unwrap().status.code(), Some(code), "{line}");
    }
    let summary = folder
        .path()
        .join("reports/good/virtual-seed3/summary.json");
    assert!(summary.exists());
}

#[test]
fn stages_need_no_duration() {
    let folder = Folder::new();
    let stages = "{stages: [{constant: 100/s, for: 1s}, {constant: 50/s, for: 1s}]}";
    let text = scenario(PASSES).replace("duration: 1s\n", "");
    let staged = folder.write("staged.yaml", &text.replace("{constant: 100/s}", stages));
    let done = run(&folder, &[&staged], &[]);
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    assert!(done.out.contains("150 requests"), "{}", done.out);
    let endless = folder.write("endless.yaml", &text);
    let done = run(&folder, &[&endless], &[]);
    assert_eq!(done.code, Some(2), "{}{}", done.out, done.err);
    assert!(done.err.contains("stages"), "{}", done.err);
}

/// The first command of the README, as far as no time has to pass.
#[test]
fn the_folder_of_shipped_scenarios_can_be_run_as_a_whole() {
    let folder = Folder::new();
    let done = run(
        &folder,
        &["scenarios/"],
        &["--engine", "virtual", "--records", "none", "--quiet"],
    );
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
}
