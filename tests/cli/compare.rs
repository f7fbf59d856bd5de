//! `graygate compare`: what changed between two runs, and when nothing may be said.

use std::path::Path;

use serde_json::Value;

use crate::support::{Done, Folder, PASSES, graygate, scenario};

/// A run whose versions take so long, with this at the end of its file; gives its folder.
pub(crate) fn run(folder: &Folder, name: &str, latency: &str, rest: &str, more: &[&str]) -> String {
    let text = format!(
        "name: short
seed: 3
duration: 20s
router: FIXTURES/routers/gray-30-fast.yaml
upstreams:
  v1: {{mock: {{latency: {latency}}}}}
  v2: {{mock: {{like: v1}}}}
traffic:
  synthetic: {{arrivals: {{constant: 100/s}}}}
{rest}
"
    );
    std::fs::create_dir_all(folder.path().join(name)).expect("a folder");
    let file = folder.write(&format!("{name}/short.yaml"), &text);
    let out = folder.path().join(name).display().to_string();
    let mut args = vec!["run", &file, "--out", &out, "-q"];
    args.extend(more);
    let done = graygate(&args);
    assert!(done.code.is_some_and(|code| code != 2), "{}", done.err);
    let seed = match more {
        ["--seed", seed, ..] => seed,
        _ => "3",
    };
    format!("{out}/short/virtual-seed{seed}")
}

pub(crate) const LOGNORMAL: &str = "{lognormal: {median: 40ms, p99: 180ms}}";
pub(crate) const FAST: &str = "expect:\n  - requests: {success: \"100%\", p95: \"< 150ms\"}";

pub(crate) fn compare(a: &str, b: &str, more: &[&str]) -> Done {
    let mut args = vec!["compare", a, b];
    args.extend(more);
    graygate(&args)
}

pub(crate) fn json(a: &str, b: &str, more: &[&str]) -> (Option<i32>, Value) {
    let mut args = vec!["--format", "json"];
    args.extend(more);
    let done = compare(a, b, &args);
    let value = serde_json::from_str(&done.out);
    (
        done.code,
        value.unwrap_or_else(|e| panic!("{e}: {}", done.err)),
    )
}

fn figure<'v>(comparison: &'v Value, id: &str) -> &'v Value {
    let all = comparison["figures"].as_array().expect("figures");
    let found = all.iter().find(|figure| figure["id"] == id);
    found.unwrap_or_else(|| panic!("no figure {id}"))
}

/// Changes a run's summary.
pub(crate) fn edit(run: &str, change: impl FnOnce(&mut Value)) {
    let path = Path::new(run).join("summary.json");
    let text = std::fs::read_to_string(&path).expect("a summary");
    let mut summary = serde_json::from_str(&text).expect("JSON");
    change(&mut summary);
    std::fs::write(path, summary.to_string()).expect("a file");
}

#[test]
fn two_seeds_of_one_scenario_show_no_regression() {
    let folder = Folder::new();
    let a = run(&folder, "a", LOGNORMAL, FAST, &[]);
    let b = run(&folder, "a", LOGNORMAL, FAST, &["--seed", "4"]);
    let done = compare(&a, &b, &["--max-error-rate", "+1pp", "--max-p50", "+10%"]);
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    assert!(done.out.contains("pass in both"), "{}", done.out);
    assert!(done.out.contains("no difference shown"), "{}", done.out);
    assert!(done.out.ends_with("\nno regression\n"), "{}", done.out);
    assert!(!done.out.contains("note: another"), "{}", done.out);
    let again = compare(&a, &b, &["--max-error-rate", "+1pp", "--max-p50", "+10%"]);
    assert_eq!(again.out, done.out);
}

#[test]
fn a_gate_that_passed_and_fails_is_a_regression_and_comes_first() {
    let folder = Folder::new();
    let a = run(&folder, "a", LOGNORMAL, FAST, &[]);
    let b = run(
        &folder,
        "b",
        "{lognormal: {median: 60ms, p99: 270ms}}",
        FAST,
        &[],
    );
    let (code, comparison) = json(&a, &b, &[]);
    assert_eq!(code, Some(1), "{comparison:#}");
    assert_eq!(comparison["outcome"], "regression");
    let first = &comparison["gates"][0];
    assert_eq!(
        (&first["name"], &first["change"]),
        (&"requests".into(), &"regressed".into())
    );
    assert_eq!(first["same_conditions"], true);
    let checks = first["checks"].as_array().expect("checks");
    assert_eq!(
        checks.len(),
        1,
        "the success rate did not change: {checks:?}"
    );
    assert_eq!(checks[0]["condition"], "p95 < 150 ms");
    // The limits of the difference of medians hold the true one, 20 ms.
    let p50 = figure(&comparison, "latency.p50");
    assert_eq!(
        (&p50["shows"], &p50["method"]),
        (&"higher".into(), &"rank_limits".into())
    );
    let limit = |side: &str| p50["difference"][side].as_f64().expect("a limit");
    assert!((15.0..20.0).contains(&limit("low")), "{p50}");
    assert!((20.0..25.0).contains(&limit("high")), "{p50}");
    let notes = comparison["notes"].as_array().expect("notes");
    assert!(
        notes[0]
            .as_str()
            .expect("a text")
            .starts_with("another scenario"),
        "{notes:?}"
    );
    // The other way round it is better.
    let (code, comparison) = json(&b, &a, &[]);
    assert_eq!(
        (code, &comparison["gates"][0]["change"]),
        (Some(0), &"improved".into())
    );
}

#[test]
fn errors_are_compared_with_newcombes_interval() {
    let folder = Folder::new();
    let faults = "faults:\n  - {at: 5s, for: 10s, on: v1, kind: bad_request, share: 20%}";
    let gates = "expect:\n  - requests: {success: \">= 50%\"}";
    let a = run(&folder, "a", "5ms", gates, &[]);
    let b = run(&folder, "b", "5ms", &format!("{faults}\n{gates}"), &[]);
    let (code, comparison) = json(&a, &b, &["--max-error-rate", "+0.5pp"]);
    assert_eq!(code, Some(1), "{comparison:#}");
    assert_eq!(comparison["limits"][0]["status"], "fail");
    let errors = figure(&comparison, "request_errors");
    let count = |side: &str| errors[side]["x"].as_u64().expect("a count");
    assert!(count("a") == 0 && count("b") > 50, "{errors}");
    assert_eq!(
        (&errors["shows"], &errors["method"]),
        (&"higher".into(), &"newcombe".into())
    );
    // Newcombe's method 10, written out again: Wilson's limits of B, and those of 0 of n.
    let (x, n) = (
        count("b") as f64,
        errors["b"]["n"].as_f64().expect("a count"),
    );
    let z: f64 = 1.959_963_984_540_054;
    let p = x / n;
    let wilson_low = (p + z * z / (2.0 * n)
        - z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt())
        / (1.0 + z * z / n);
    let m = errors["a"]["n"].as_f64().expect("a count");
    let none_high = z * z / (m + z * z);
    let low = p - ((p - wilson_low).powi(2) + none_high.powi(2)).sqrt();
    let told = errors["difference"]["low"].as_f64().expect("a limit");
    assert!((told - low).abs() < 1e-9, "{told} and {low}");
    // More is allowed than was seen.
    let (code, _) = json(&a, &b, &["--max-error-rate", "+30pp"]);
    assert_eq!(code, Some(0));
}

#[test]
fn what_neither_breaks_nor_keeps_a_limit_is_too_little_evidence() {
    let folder = Folder::new();
    let a = run(&folder, "a", LOGNORMAL, FAST, &[]);
    let done = compare(&a, &a, &["--max-p99", "+0%"]);
    assert_eq!(done.code, Some(3), "{}", done.out);
    assert!(
        done.out.contains("inconclusive  max-p99 +0%"),
        "{}",
        done.out
    );
    // No streams, so no first tokens.
    let done = compare(&a, &a, &["--max-first-token-p95", "+10%"]);
    assert_eq!(done.code, Some(3), "{}", done.out);
    // A gate that passed, and that B does not show.
    let split = "expect:\n  - split: {v2: 30%, tolerance: 10pp}";
    let shown = run(&folder, "shown", "5ms", split, &[]);
    let narrow = split.replace("10pp", "1pp");
    let open = run(&folder, "open", "5ms", &narrow, &[]);
    let (code, comparison) = json(&shown, &open, &[]);
    assert_eq!(code, Some(3), "{comparison:#}");
    let gate = &comparison["gates"][0];
    assert_eq!(
        (&gate["change"], &gate["same_conditions"]),
        (&"unknown".into(), &false.into())
    );
}

/// A live run that is invalid: no generator is never late.
fn late_run(folder: &Folder) -> String {
    let gates = format!("{PASSES}\n  - generator: {{dispatch_delay_p99: \"<= 0s\"}}");
    let file = folder.write("late.yaml", &scenario(&gates));
    let out = folder.path().join("late").display().to_string();
    let done = graygate(&["run", &file, "--out", &out, "-q", "--engine", "live"]);
    assert_eq!(done.code, Some(4), "{}{}", done.out, done.err);
    let runs = std::fs::read_dir(format!("{out}/late")).expect("a folder");
    let run = runs.map(|run| run.expect("a folder").path()).next();
    run.expect("a run").display().to_string()
}

#[test]
fn an_invalid_or_interrupted_run_is_neither_red_nor_green() {
    let folder = Folder::new();
    let good = run(&folder, "a", "5ms", FAST, &[]);
    let bad = late_run(&folder);
    let fine = run(&folder, "b", "5ms", FAST, &[]);
    for (a, b, name) in [(&good, &bad, "B"), (&bad, &good, "A")] {
        let (code, comparison) = json(a, b, &["--max-p99", "+10%"]);
        assert_eq!((code, &comparison["outcome"]), (Some(4), &"refused".into()));
        for list in ["gates", "figures", "limits"] {
            assert_eq!(comparison[list], Value::Array(Vec::new()), "{list}");
        }
        let why = comparison["refused"][0].as_str().expect("a reason");
        assert!(
            why.starts_with(&format!("{name} is invalid (generator: dispatch delay")),
            "{why}"
        );
    }
    edit(&good, |summary| summary["interrupted"] = true.into());
    let done = compare(&fine, &good, &[]);
    assert_eq!(done.code, Some(4));
    assert!(done.out.contains("B was interrupted"), "{}", done.out);
    assert!(!done.out.contains("latency"), "{}", done.out);
}

#[test]
fn times_of_runs_that_kept_failures_alone_are_not_compared() {
    let folder = Folder::new();
    let a = run(&folder, "a", "5ms", FAST, &[]);
    let b = run(&folder, "b", "5ms", FAST, &["--records", "failures"]);
    let done = compare(&a, &b, &[]);
    assert_eq!(done.code, Some(0), "{}", done.out);
    assert!(
        done.out.contains("rows of B were not all kept (failures)"),
        "{}",
        done.out
    );
    assert!(
        done.out.contains("failed requests"),
        "counts are there: {}",
        done.out
    );
    assert!(!done.out.contains("latency"), "{}", done.out);
    let done = compare(&a, &b, &["--max-p99", "+10%"]);
    assert_eq!(done.code, Some(3), "{}", done.out);
}

#[test]
fn facts_of_rollbacks_and_money_are_compared_as_they_stand() {
    let folder = Folder::new();
    let fault = |from: &str| {
        format!(
            "faults:\n  - {{at: {from}, on: v2, kind: unauthorized}}\nexpect:\n  - rollback: {{within: 15s}}"
        )
    };
    let a = run(&folder, "a", "5ms", &fault("2s"), &[]);
    let b = run(&folder, "b", "5ms", &fault("6s"), &[]);
    let (code, comparison) = json(
        &a,
        &b,
        &["--max-exposure", "+10", "--max-rollback-time", "+10s"],
    );
    assert_eq!(code, Some(1), "{comparison:#}");
    let status = |at: usize| {
        comparison["limits"][at]["status"]
            .as_str()
            .expect("a status")
    };
    assert_eq!((status(0), status(1)), ("pass", "fail"), "time, exposure");
    let met = |run: &str| {
        let text = std::fs::read_to_string(format!("{run}/summary.json")).expect("a summary");
        let summary: Value = serde_json::from_str(&text).expect("JSON");
        summary["versions"]["v2"]["first_attempts"].as_f64()
    };
    let exposure = figure(&comparison, "exposure");
    assert_eq!(exposure["a"]["estimate"].as_f64(), met(&a));
    assert_eq!(exposure["b"]["estimate"].as_f64(), met(&b));
    assert_eq!(
        (&exposure["method"], &exposure["shows"]),
        (&"census".into(), &"counted".into())
    );
    // The split ended when the canary did: no interval may stand beside its share.
    assert_eq!(
        figure(&comparison, "split.v2")["difference"]["low"],
        Value::Null
    );
    let calm = run(&folder, "calm", "5ms", FAST, &[]);
    let (code, comparison) = json(&a, &calm, &["--max-rollback-time", "+10s"]);
    assert_eq!(
        code,
        Some(1),
        "a rollback that does not come is worse than a late one"
    );
    assert_eq!(
        comparison["limits"][0]["seen"],
        "A was rolled back, B was not"
    );
    let split = figure(&comparison, "split.v2");
    assert_eq!(split["shows"], "counted");
}

/// An audit of a run's own rows, with these gates; gives its folder.
fn audit(folder: &Folder, name: &str, run: &str, gates: &str) -> String {
    let expect = folder.write(&format!("{name}-gates.yaml"), gates);
    let out = folder.path().join(name).display().to_string();
    let log = format!("{run}/attempts.csv");
    let router = "fixtures/routers/gray-30-fast.yaml";
    let args = ["audit", &log, "--router", router, "--expect", &expect];
    let done = graygate(&[&args[..], &["--out", &out, "-q"]].concat());
    assert!(matches!(done.code, Some(0 | 1)), "{}{}", done.out, done.err);
    let mut inside = std::fs::read_dir(format!("{out}/audit-attempts")).expect("audits");
    let inside = inside.next().expect("an audit").expect("readable");
    inside.path().display().to_string()
}

const SUCCESS: &str = "- requests: {success: \"100%\"}\n";

#[test]
fn audits_are_compared_with_each_other_and_with_runs() {
    let folder = Folder::new();
    let asked = "expect:\n  - requests: {success: \"100%\"}";
    let run = run(&folder, "a", "5ms", asked, &[]);
    let first = audit(&folder, "first", &run, SUCCESS);
    let strict = "- requests: {success: \"100%\", p95: \"< 1ms\"}\n";
    let second = audit(&folder, "second", &run, strict);
    let done = compare(&first, &first, &[]);
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    assert!(
        done.out.contains("audit-attempts, audit: "),
        "no seed: {}",
        done.out
    );
    let (code, comparison) = json(&first, &second, &[]);
    assert_eq!(code, Some(1), "{comparison:#}");
    assert_eq!(comparison["gates"][0]["change"], "regressed");
    // The same requests, told by a run and by its log: what only one of them can be asked is no difference.
    for (a, b) in [(&run, &first), (&first, &run)] {
        let (code, comparison) = json(a, b, &["--max-error-rate", "+1pp"]);
        assert_eq!(code, Some(0), "{comparison:#}");
        let gates = comparison["gates"].as_array().expect("gates").iter();
        let names: Vec<_> = gates.filter_map(|gate| gate["name"].as_str()).collect();
        assert_eq!(names, ["requests", "join", "sample"]);
        let notes = comparison["notes"].as_array().expect("notes");
        let is_said = |note: &Value| {
            note.as_str()
                .is_some_and(|n| n.contains("a log tells less"))
        };
        assert!(notes.iter().any(is_said), "{notes:?}");
        let latency = figure(&comparison, "latency.p50");
        assert_eq!(latency["a"]["estimate"], latency["b"]["estimate"]);
    }
}

/// A run counts from its fault; an audit knows of none, and counts from its start.
#[test]
fn times_to_a_rollback_that_begin_elsewhere_have_no_difference() {
    let folder = Folder::new();
    let fault = "faults:\n  - {at: 6s, on: v2, kind: unauthorized}\nexpect:\n  - requests: {success: \"100%\"}";
    let run = run(&folder, "a", "5ms", fault, &[]);
    let log = audit(&folder, "log", &run, SUCCESS);
    let (code, comparison) = json(&run, &log, &["--max-rollback-time", "+1s"]);
    assert_eq!(code, Some(3), "{comparison:#}");
    assert_eq!(comparison["limits"][0]["status"], "inconclusive");
    let time = figure(&comparison, "rollback_time");
    let estimate = |side: &str| time[side]["estimate"].as_f64().expect("a time");
    assert!(estimate("b") > estimate("a") + 5.0, "{time:#}");
    assert_eq!(
        (&time["difference"], &time["shows"]),
        (&Value::Null, &"unlike".into())
    );
}

/// The last arrival at another gateway's canary comes shortly before the order that closes it; a rollback long before an order was not for it.
#[test]
fn the_time_to_a_rollback_counts_from_the_order_that_it_was_for() {
    let folder = Folder::new();
    let fault = "faults:\n  - {at: 1s, on: v2, kind: unauthorized}\nexpect:\n  - requests: {success: \"100%\"}";
    let a = run(&folder, "a", "5ms", fault, &[]);
    let time = |decided: f64, arrived: u64| {
        edit(&a, |summary| {
            summary["orders"] = serde_json::json!([
                {"order": 1, "kind": "rollback", "canary_share": null, "at_s": 6.0}
            ]);
            summary["rollbacks"][0]["decided_at_s"] = decided.into();
            summary["versions"]["v2"]["first_attempts"] = arrived.into();
        });
        let (_, comparison) = json(&a, &a, &[]);
        figure(&comparison, "rollback_time")["a"]["estimate"].as_f64()
    };
    assert_eq!(time(6.25, 100), Some(0.25));
    // ln 10⁶ is 13.8: at 20 a second, nothing comes for 0.69 s but for chance.
    assert_eq!(time(5.5, 110), Some(0.0));
    assert_eq!(time(5.25, 105), Some(4.25), "for the fault");
}

/// Two gateways that close their canary of themselves; the slower one so late that an order might have been the cause.
#[test]
fn two_rollbacks_count_from_the_same() {
    let folder = Folder::new();
    let fault = "faults:\n  - {at: 1s, on: v2, kind: unauthorized}\nexpect:\n  - requests: {success: \"100%\"}";
    let rolled_back = |name: &str, decided: f64| {
        let folder = run(&folder, name, "5ms", fault, &[]);
        edit(&folder, |summary| {
            summary["orders"] = serde_json::json!([
                {"order": 1, "kind": "rollback", "canary_share": null, "at_s": 6.0}
            ]);
            summary["rollbacks"][0]["decided_at_s"] = decided.into();
            summary["versions"]["v2"]["first_attempts"] = 20.into();
        });
        folder
    };
    let time = |a: f64, b: f64| {
        let (a, b) = (rolled_back("a", a), rolled_back("b", b));
        let (code, comparison) = json(&a, &b, &["--max-rollback-time", "+500ms"]);
        let time = figure(&comparison, "rollback_time").clone();
        let estimate = |key: &str| time[key]["estimate"].as_f64().expect("a time");
        (code, ["a", "b", "difference"].map(estimate))
    };
    // 13.8 / 20 × 4 s is 2.76 s.
    assert_eq!(time(1.5, 4.0), (Some(1), [0.5, 3.0, 2.5]));
    assert_eq!(
        time(4.0, 5.75),
        (Some(1), [0.0, 0.0, 1.75]),
        "both may be the order's"
    );
    assert_eq!(time(6.25, 6.5), (Some(0), [0.25, 0.5, 0.25]));
}

/// 1.15 is no binary fraction, and 115 is not more than 15 % above 100.
#[test]
fn a_fact_at_its_limit_keeps_it() {
    let folder = Folder::new();
    let a = run(&folder, "a", "5ms", FAST, &[]);
    let b = run(&folder, "b", "5ms", FAST, &[]);
    for (first, second, code) in [(100, 115, 0), (100, 116, 1), (1_000_000, 1_150_001, 1)] {
        edit(&a, |summary| {
            summary["versions"]["v2"]["first_attempts"] = first.into()
        });
        edit(&b, |summary| {
            summary["versions"]["v2"]["first_attempts"] = second.into()
        });
        let (told, comparison) = json(&a, &b, &["--max-exposure", "+15%"]);
        assert_eq!(told, Some(code), "{}", comparison["limits"]);
    }
}
