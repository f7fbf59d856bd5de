//! What may be held against what: files that belong together, and gates that ask for the same.

use std::path::Path;

use serde_json::Value;

use crate::compare::{FAST, LOGNORMAL, compare, edit, json, run};
use crate::support::Folder;

/// B passes because it is asked for less.
#[test]
fn a_gate_that_was_loosened_is_not_shown_to_hold() {
    let folder = Folder::new();
    let a = run(&folder, "a", LOGNORMAL, FAST, &[]);
    let loose = FAST.replace("150ms", "20s");
    let b = run(&folder, "b", LOGNORMAL, &loose, &[]);
    let (code, comparison) = json(&a, &b, &[]);
    assert_eq!(code, Some(3), "{comparison}");
    let text = compare(&a, &b, &[]).out;
    assert!(text.contains("its conditions are not the same"), "{text}");
}

/// As of a ramp that came to one more step as one of the two runs ended.
#[test]
fn one_scenario_expects_the_same_of_both_though_one_shows_more() {
    let folder = Folder::new();
    let a = run(&folder, "a", LOGNORMAL, FAST, &[]);
    let b = run(&folder, "b", LOGNORMAL, FAST, &["--seed", "4"]);
    let more = |summary: &mut Value| {
        let checks = &mut summary["gates"][0]["checks"];
        let mut more = checks[0].clone();
        more["condition"] = "one more".into();
        checks.as_array_mut().unwrap().push(more);
    };
    edit(&a, more);
    assert_eq!(json(&a, &b, &[]).0, Some(3), "no gate of steps");
    for run in [&a, &b] {
        edit(run, |summary| summary["gates"][0]["name"] = "ramp".into());
    }
    let (code, comparison) = json(&a, &b, &[]);
    assert_eq!(code, Some(0), "{comparison}");
    let shown = &comparison["gates"].as_array().unwrap()[0];
    assert_eq!(shown["same_conditions"], false, "{shown}");
    edit(&b, |summary| {
        summary["scenario_sha256"] = "0".repeat(64).into()
    });
    assert_eq!(json(&a, &b, &[]).0, Some(3));
}

#[test]
fn what_is_no_run_or_a_damaged_one_is_refused_with_its_place() {
    let folder = Folder::new();
    let a = run(&folder, "a", "5ms", FAST, &[]);
    let done = compare(&a, &folder.text(), &[]);
    assert_eq!((done.code, done.out.as_str()), (Some(2), ""));
    assert!(done.err.contains("summary.json"), "{}", done.err);
    let repeated = run(&folder, "r", "5ms", FAST, &["--seed", "3", "--runs", "2"]);
    let done = compare(&a, &repeated.replace("virtual-", "virtual-runs2-"), &[]);
    assert_eq!(done.code, Some(2));
    assert!(done.err.contains("`graygate.runs/1`"), "{}", done.err);
    let b = run(&folder, "b", "5ms", FAST, &[]);
    let path = Path::new(&b).join("requests.csv");
    let rows = std::fs::read_to_string(&path).expect("rows");
    let cut: Vec<&str> = rows.lines().take(10).collect();
    std::fs::write(&path, cut.join("\n")).expect("a file");
    let done = compare(&a, &b, &[]);
    assert_eq!((done.code, done.out.as_str()), (Some(2), ""));
    assert!(
        done.err
            .contains("it has 9 rows where summary.json tells of 20"),
        "{}",
        done.err
    );
    edit(&b, |summary| {
        summary["format"] = "graygate.summary/9".into()
    });
    let done = compare(&a, &b, &[]);
    assert!(
        done.err.contains("its format is `graygate.summary/9`"),
        "{}",
        done.err
    );
    let done = compare(&a, &a, &["--max-p99", "20"]);
    assert_eq!(done.code, Some(2));
    assert!(
        done.err.contains("it is written like +10% or +20ms"),
        "{}",
        done.err
    );
}

/// Two runs may have as many rows.
#[test]
fn the_rows_of_another_run_are_refused() {
    let folder = Folder::new();
    let failing = |share: &str| {
        format!(
            "faults:\n  - {{at: 5s, on: v1, kind: bad_request, share: {share}}}\nexpect:\n  - requests: {{success: \">= 1%\"}}"
        )
    };
    let a = run(&folder, "a", "5ms", FAST, &[]);
    let slow = run(&folder, "slow", "6ms", FAST, &[]);
    let worse = run(&folder, "worse", "5ms", &failing("20%"), &[]);
    for (other, said) in [
        (
            &slow,
            "its successes took 6.000 ms in the mean where summary.json tells of 5.000 ms",
        ),
        (&worse, "requests that ended as"),
    ] {
        let copy = run(&folder, "copy", "5ms", FAST, &[]);
        let from = Path::new(other).join("requests.csv");
        std::fs::copy(from, Path::new(&copy).join("requests.csv")).expect("a copy");
        let done = compare(&a, &copy, &[]);
        assert_eq!(
            (done.code, done.out.as_str()),
            (Some(2), ""),
            "{}",
            done.err
        );
        assert!(done.err.contains(said), "{}", done.err);
        std::fs::remove_dir_all(&copy).expect("a folder");
    }
}

/// The same conditions, of something else: another version, another stretch, fewer observations.
#[test]
fn a_gate_that_is_pinned_to_something_else_is_not_shown_to_hold() {
    let folder = Folder::new();
    let gate = |more: &str| format!("expect:\n  - requests: {{success: \"100%\"{more}}}");
    let a = run(&folder, "a", "5ms", &gate(", version: v2, min_n: 100"), &[]);
    let same = run(
        &folder,
        "a",
        "5ms",
        &gate(", version: v2, min_n: 100"),
        &["--seed", "4"],
    );
    assert_eq!(json(&a, &same, &[]).0, Some(0));
    let others = [
        ", version: v1, min_n: 100",
        ", version: v2",
        ", version: v2, min_n: 100, from: 5s",
        "",
    ];
    for (n, more) in others.into_iter().enumerate() {
        let b = run(&folder, &format!("b{n}"), "5ms", &gate(more), &[]);
        let (code, comparison) = json(&a, &b, &[]);
        assert_eq!(code, Some(3), "{more}: {comparison}");
        assert_eq!(comparison["gates"][0]["same_conditions"], false, "{more}");
        // An older graygate did not write it down.
        edit(&b, |summary| {
            summary["gates"][0]
                .as_object_mut()
                .expect("a gate")
                .remove("asks");
        });
        assert_eq!(json(&a, &b, &[]).0, Some(0), "{more}");
    }
}

/// A rollback counts from its trouble, whenever that begins, unless somebody says from when.
#[test]
fn a_fault_that_begins_later_is_no_other_gate() {
    let folder = Folder::new();
    let file = |at: &str, since: &str| {
        format!(
            "faults:\n  - {{at: {at}, on: v2, kind: unauthorized}}\nexpect:\n  - rollback: {{within: 15s{since}}}"
        )
    };
    let a = run(&folder, "a", "5ms", &file("2s", ""), &[]);
    let later = run(&folder, "later", "5ms", &file("3s", ""), &[]);
    let (code, comparison) = json(&a, &later, &[]);
    assert_eq!(code, Some(0), "{comparison}");
    let earlier = run(&folder, "earlier", "5ms", &file("2s", ", since: 1s"), &[]);
    assert_eq!(json(&a, &earlier, &[]).0, Some(3));
}
