//! The shipped scenarios with `graygate serve` as a process of its own, judged from outside like any other gateway.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::{alone, project};

/// How many of them run at once: they mostly wait.
const AT_ONCE: usize = 3;
/// How often a run is repeated that the machine made invalid.
const REPEATS: usize = 3;
/// Its exit code.
const INVALID: i32 = 4;

/// The scenarios of a folder whose names begin like this.
fn scenarios(folder: &str, beginning: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(project(folder)).expect("shipped scenarios");
    let paths = entries.map(|entry| entry.expect("a file").path());
    let is_wanted = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(beginning) && name.ends_with(".yaml"))
    };
    let mut paths: Vec<PathBuf> = paths.filter(is_wanted).collect();
    paths.sort();
    paths
}

fn run(path: &Path) -> Output {
    let out = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_graygate"));
    command.args(["run", "--quiet", "--out"]).arg(out.path());
    command.arg(path).output().expect("graygate runs")
}

/// What is wrong with it, if anything is.
fn trouble(path: &Path) -> Option<String> {
    let mut done = run(path);
    for _ in 0..REPEATS {
        if done.status.code() != Some(INVALID) {
            break;
        }
        done = run(path);
    }
    let told = String::from_utf8_lossy(&done.stdout);
    (!done.status.success()).then(|| format!("{}: {}\n{told}", path.display(), done.status))
}

/// All of them pass, a few at a time.
fn all_pass(scenarios: &[PathBuf]) {
    let _alone = alone();
    let mut troubles = Vec::new();
    for few in scenarios.chunks(AT_ONCE) {
        std::thread::scope(|scope| {
            let runs: Vec<_> = few.iter().map(|p| scope.spawn(|| trouble(p))).collect();
            let done = runs.into_iter().map(|run| run.join().expect("no panic"));
            troubles.extend(done.flatten());
        });
    }
    assert!(troubles.is_empty(), "{}", troubles.join("\n"));
}

#[test]
fn the_live_scenarios_pass() {
    let scenarios = scenarios("scenarios/live", "");
    assert!((1..=12).contains(&scenarios.len()), "{scenarios:?}");
    all_pass(&scenarios);
}

#[test]
fn the_scenarios_of_the_built_in_gateway_pass() {
    let scenarios = scenarios("scenarios/gateways", "builtin");
    assert_eq!(scenarios.len(), 3, "{scenarios:?}");
    all_pass(&scenarios);
}
