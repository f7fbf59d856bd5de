//! Every shipped scenario passes in virtual time.

use std::collections::BTreeSet;

use graygate::fault::kind::FaultKind;
use graygate::observe::meta::Engine;
use graygate::protocol::outcome::{Fallback, Outcome};
use graygate::verdict::result::Status;
use rayon::prelude::*;

use crate::support::{SHIPPED, assert_passes, gate, project, shipped, virtual_run, with_seed};

#[test]
fn the_list_of_shipped_scenarios_is_the_folder() {
    let files = std::fs::read_dir(project("scenarios")).unwrap();
    let names: BTreeSet<String> = files
        .map(|f| f.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "yaml"))
        .map(|p| p.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let listed: BTreeSet<String> = SHIPPED.iter().map(|n| (*n).to_owned()).collect();
    assert_eq!(names, listed);
}

#[test]
fn all_pass_in_virtual_time() {
    for name in SHIPPED {
        let output = virtual_run(&shipped(name));
        assert_eq!(output.report.meta.engine, Some(Engine::Virtual));
        assert_passes(&output);
    }
}

/// The shipped scenarios hold for any seed, not just for theirs. (The bounds were chosen from 1,000
/// seeds; here a few watch over them.)
#[test]
fn they_do_not_hang_on_their_seed() {
    for name in SHIPPED
        .into_iter()
        .filter(|n| *n != "split-proven-at-scale")
    {
        let red: Vec<u64> = (100..120_u64)
            .into_par_iter()
            .filter(|seed| {
                let output = virtual_run(&with_seed(name, *seed));
                !is_fine(name, output.report.verdict.status)
            })
            .collect();
        assert!(red.is_empty(), "{name} does not pass with seeds {red:?}");
    }
}

/// Twenty requests may all miss a canary of 30 %, or all of its faults: that is inconclusive. Every
/// other scenario is sized to pass.
fn is_fine(name: &str, status: Status) -> bool {
    let may_miss = name == "stress-test-20-requests" && status == Status::Inconclusive;
    status == Status::Pass || may_miss
}

/// The table of kinds in docs/scenario.md is whole, and says what the router does with each outcome.
#[test]
fn every_kind_of_fault_is_documented_as_it_is() {
    let text = std::fs::read_to_string(project("docs/scenario.md")).unwrap();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    for name in FaultKind::NAMES {
        let quoted = format!("`{name}`");
        let is_it = |row: &&Vec<&str>| row.len() == 9 && row[1] == quoted;
        let row = rows.iter().find(is_it);
        let row = row.unwrap_or_else(|| panic!("{name} has no row"));
        let outcome = row[4].split('`').nth(1).and_then(Outcome::from_name);
        let outcome = outcome.unwrap_or_else(|| panic!("{name} has no outcome"));
        if outcome.is_success() {
            continue;
        }
        let tried_again = if outcome.is_retryable() { "yes" } else { "no" };
        let falls_back = match outcome.fallback() {
            Fallback::Always => "yes",
            Fallback::WithOtherCredentials => "keys",
            Fallback::Never => "no",
        };
        assert_eq!((row[5], row[6]), (tried_again, falls_back), "{name}");
        assert!(row[7].starts_with('F'), "{name}");
    }
}

/// 1 % errors: no rollback with any of 1,000 seeds, and none of them inconclusive.
#[test]
fn one_error_in_a_hundred_never_rolls_back() {
    let scenario = shipped("server-errors-below-threshold");
    let red: Vec<u64> = (0..1_000_u64)
        .into_par_iter()
        .filter(|seed| {
            let output = virtual_run(&scenario.clone().with_seed(graygate::id::Seed(*seed)));
            gate(&output, "no_rollback").status != Status::Pass
        })
        .collect();
    assert!(red.is_empty(), "rolled back with seeds {red:?}");
}
