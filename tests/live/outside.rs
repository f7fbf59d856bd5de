//! The live scenarios: `graygate serve` as a process of its own, judged from outside like any other gateway.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::{alone, project};

/// How many of them run at once: they mostly wait.
const AT_ONCE: usize = 3;
/// How often a run is repeated that the machine made invalid.
const REPEATS: usize = 3;
/// Its exit code.
const INVALID: i32 = 4;

fn scenarios() -> Vec<PathBuf> {
    let folder = std::fs::read_dir(project("scenarios/live")).expect("the live scenarios");
    let mut paths: Vec<PathBuf> = folder.map(|entry| entry.expect("a file").path()).collect();
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

#[test]
fn the_live_scenarios_pass() {
    let _alone = alone();
    let scenarios = scenarios();
    assert!((1..=12).contains(&scenarios.len()), "{scenarios:?}");
    let mut troubles = Vec::new();
    for few in scenarios.chunks(AT_ONCE) {
        std::thread::scope(|scope| {
            let runs: Vec<_> = few.iter().map(|p| scope.spawn(|| trouble(p))).collect();
            troubles.extend(
                runs.into_iter()
                    .filter_map(|run| run.join().expect("no panic")),
            );
        });
    }
    assert!(troubles.is_empty(), "{}", troubles.join("\n"));
}
