//! A machine that did not keep up: what was measured then is neither red nor green.

use std::path::Path;

use serde_json::Value;

use crate::support::{Done, Folder, disturbed, stall};

/// Answers set the pace, so that nothing is ever sent late; and nothing else but the stall may be held against the
/// machine, whatever runs beside.
fn closed_loop(stall: &str) -> String {
    format!(
        "name: stalled
seed: 3
duration: 3s
router: FIXTURES/routers/gray-30-fast.yaml
upstreams:
  v1: {{mock: {{latency: 10ms}}}}
  v2: {{mock: {{latency: 10ms}}}}
traffic:
  synthetic: {{arrivals: {{closed: 2}}}}
expect:
  - requests: {{success: \"100%\"}}
  - generator: {{dispatch_delay_p99: \"<= 10s\", rate_error: \"<= 100%\", wake_delay_p99: \"<= 10s\"{stall}}}
"
    )
}

/// Runs it live, and takes its processors away for a second in its midst.
fn stalled(folder: &Folder, text: &str) -> Done {
    let file = folder.write("stalled.yaml", text);
    let out = folder.path().join("reports").display().to_string();
    let args = ["run", &file, "--engine", "live", "--out", &out];
    disturbed(&args, "stalled: ", stall)
}

/// A file of the only run.
fn left(folder: &Folder, name: &str) -> String {
    let runs = folder.path().join("reports/stalled");
    let run = std::fs::read_dir(runs).expect("runs").next();
    let run = run.expect("a run").expect("readable").path();
    std::fs::read_to_string(Path::new(&run).join(name)).expect(name)
}

#[test]
fn a_run_that_got_no_processor_is_invalid_and_says_why() {
    let folder = Folder::new();
    let done = stalled(&folder, &closed_loop(""));
    assert_eq!(done.code, Some(4), "{}{}", done.out, done.err);
    for words in ["no stall > 250 ms", "the machine was overloaded or stopped"] {
        assert!(done.out.contains(words), "{}", done.out);
    }
    let summary: Value = serde_json::from_str(&left(&folder, "summary.json")).expect("JSON");
    let machine = &summary["machine"];
    let longest = machine["longest_stall_ms"].as_f64();
    assert!(longest.is_some_and(|ms| ms >= 900.0), "{machine:#}");
    assert!(machine["moments"].as_u64().is_some_and(|n| n > 400));
    let report = left(&folder, "report.md");
    assert!(report.contains("**Machine**: over "), "{report}");
}

/// Whoever knows that a stall does no harm may say so.
#[test]
fn the_stall_that_is_borne_can_be_said() {
    let folder = Folder::new();
    let done = stalled(&folder, &closed_loop(", stall: \"<= 30s\""));
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
}
