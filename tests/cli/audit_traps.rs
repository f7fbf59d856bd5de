//! Logs in which something is wrong that an audit might overlook, or see where it is not.

use crate::audit::{ROUTER, audit, summary};
use crate::support::Folder;

/// A line of a log of LiteLLM's.
struct Call {
    at: f64,
    took: f64,
    trace: String,
    /// The deployment; none where only the group is known.
    deployment: Option<&'static str>,
    has_failed: bool,
    is_cached: bool,
}

impl Call {
    fn line(&self) -> String {
        let mut line = serde_json::json!({
            "id": format!("{}-{}", self.trace, self.at),
            "trace_id": self.trace,
            "call_type": "acompletion",
            "model_group": "chat",
            "startTime": 1_700_000_000.0 + self.at,
            "endTime": 1_700_000_000.0 + self.at + self.took,
            "status": if self.has_failed { "failure" } else { "success" },
            "prompt_tokens": if self.has_failed { 0 } else { 20 },
            "completion_tokens": if self.has_failed { 0 } else { 10 },
            "cache_hit": self.is_cached,
        });
        match self.deployment {
            Some(deployment) => line["model_id"] = deployment.into(),
            None => line["model"] = "provider/chat".into(),
        }
        format!("{line}\n")
    }
}

fn call(n: u64, deployment: &'static str) -> Call {
    Call {
        at: n as f64 / 10.0,
        took: 0.05,
        trace: format!("trace-{n}"),
        deployment: Some(deployment),
        has_failed: false,
        is_cached: false,
    }
}

/// One request in ten meets the canary.
fn deployment(n: u64) -> &'static str {
    match n % 10 {
        7 => "new",
        _ => "old",
    }
}

fn lines(calls: impl IntoIterator<Item = Call>) -> String {
    calls.into_iter().map(|call| call.line()).collect()
}

const TENTH: [&str; 6] = ["--stable", "old", "--canary", "new", "--share", "10%"];

/// However large a share is, everything is another one.
#[test]
fn a_canary_that_gets_everything_is_no_large_share() {
    let folder = Folder::new();
    let calls = (0..6_000).map(|n| call(n, if n % 100 == 7 { "old" } else { "new" }));
    let log = folder.write("most.jsonl", &lines(calls));
    let names = ["--stable", "old", "--canary", "new", "--share"];
    for (share, is_wrong) in [("80%", true), ("90%", true), ("99%", false)] {
        let done = audit(&folder, &log, &[&names[..], &[share]].concat());
        let found = summary(&folder);
        let gates = found["gates"].as_array().unwrap();
        let split = gates.iter().find(|gate| gate["name"] == "split").unwrap();
        assert_eq!(split["status"] == "fail", is_wrong, "{share}: {}", done.out);
    }
}

/// So few requests a minute that the articles' window never has enough: the other judge sees them.
#[test]
fn a_dead_canary_behind_a_fallback_is_found_however_little_it_gets() {
    let folder = Folder::new();
    let calls = (0..6_000).flat_map(|n| {
        let first = Call {
            has_failed: deployment(n) == "new",
            ..call(n, deployment(n))
        };
        let fallback = first.has_failed.then(|| Call {
            at: first.at + 0.05,
            trace: first.trace.clone(),
            ..call(n, "old")
        });
        [Some(first), fallback].into_iter().flatten()
    });
    let log = folder.write("litellm.jsonl", &lines(calls));
    let done = audit(&folder, &log, &TENTH);
    assert_eq!(done.code, Some(1), "{}{}", done.out, done.err);
    let found = summary(&folder);
    assert_eq!(found["audit"]["tried_again"]["fallbacks"], 600);
    assert_eq!(found["requests"]["outcomes"]["success"], 6_000);
    // Where a router file has the literal judge and nobody says what to expect, both count.
    let done = audit(
        &folder,
        &log,
        &["--router", ROUTER, "--stable", "old", "--canary", "new"],
    );
    assert_eq!(done.code, Some(1), "{}{}", done.out, done.err);
    let judges = summary(&folder)["audit"]["judges"].clone();
    assert_eq!(
        (&judges[0]["decides"], &judges[1]["decides"]),
        (&true.into(), &true.into())
    );
}

/// Gateways do not always know whom a failure belongs to.
#[test]
fn failures_that_name_nobody_are_not_left_out_in_silence() {
    let folder = Folder::new();
    let failing = |nobody: Option<&'static str>| {
        let calls = (0..4_000).map(move |n| match n % 100 {
            7 => Call {
                deployment: nobody,
                has_failed: true,
                ..call(n, "new")
            },
            _ => call(n, deployment(n)),
        });
        lines(calls)
    };
    let log = folder.write("named.jsonl", &failing(Some("new")));
    let done = audit(&folder, &log, &TENTH);
    assert_eq!(
        done.code,
        Some(1),
        "one in ten of the canary's: {}",
        done.out
    );
    let log = folder.write("nameless.jsonl", &failing(None));
    let done = audit(&folder, &log, &TENTH);
    assert_eq!(done.code, Some(4), "{}{}", done.out, done.err);
    assert!(done.out.contains("40 no_version"), "{}", done.out);
}

#[test]
fn answers_of_a_cache_are_no_deployment_s() {
    let folder = Folder::new();
    let calls = (0..4_000).map(|n| Call {
        is_cached: n % 3 == 0,
        ..call(n, deployment(n))
    });
    let log = folder.write("cache.jsonl", &lines(calls));
    let done = audit(&folder, &log, &TENTH);
    assert!(
        done.out.contains("1,334 another_version"),
        "{}{}",
        done.out,
        done.err
    );
    assert!(done.out.contains("cache (1,334)"), "{}", done.out);
}

#[test]
fn a_line_that_stands_twice_is_told_of() {
    let folder = Folder::new();
    let once = lines((0..3_000).map(|n| call(n, deployment(n))));
    let twice: String = once
        .lines()
        .flat_map(|line| [line, "\n", line, "\n"])
        .collect();
    let log = folder.write("twice.jsonl", &twice);
    let done = audit(&folder, &log, &TENTH);
    assert!(
        done.out.contains("3,000 requests in 3,000 attempts"),
        "{}{}",
        done.out,
        done.err
    );
    assert!(done.out.contains("3,000 duplicate"), "{}", done.out);
}

/// An agent's next call is not another try, whatever its trace says.
#[test]
fn calls_of_an_agent_that_come_later_are_requests_of_their_own() {
    let folder = Folder::new();
    let calls = (0..4_000).map(|n| Call {
        at: n as f64 * 8.0,
        trace: format!("agent-{}", n / 20),
        has_failed: n % 8 == 3,
        ..call(n, deployment(n))
    });
    let log = folder.write("agents.jsonl", &lines(calls));
    let done = audit(&folder, &log, &TENTH);
    assert_eq!(
        done.code,
        Some(1),
        "an eighth fails: {}{}",
        done.out,
        done.err
    );
    assert!(
        done.out.contains("4,000 requests in 4,000 attempts"),
        "{}",
        done.out
    );
}

#[test]
fn a_canary_that_was_opened_again_is_found() {
    let folder = Folder::new();
    let calls = (0..8_000).map(|n| {
        let is_closed = (3_000..5_000).contains(&n);
        call(n, if is_closed { "old" } else { deployment(n) })
    });
    let log = folder.write("reopened.jsonl", &lines(calls));
    let gates = folder.write(
        "gates.yaml",
        "[rollback: {canary_requests: \"<= 400\"}, after_rollback]",
    );
    let done = audit(&folder, &log, &[&TENTH[..], &["--expect", &gates]].concat());
    assert_eq!(done.code, Some(1), "{}{}", done.out, done.err);
    assert!(done.out.contains("✗ after_rollback"), "{}", done.out);
    assert!(
        done.out.contains("It was opened again at 8m 20s"),
        "{}",
        done.out
    );
}

/// Every share is held against its own time, and none of it goes unjudged.
#[test]
fn what_comes_after_a_step_is_judged_too() {
    let folder = Folder::new();
    let log = folder.write(
        "log.jsonl",
        &lines((0..12_000).map(|n| call(n, deployment(n)))),
    );
    let with = |steps: &[&str]| audit(&folder, &log, &[&TENTH[..], steps].concat());
    let done = with(&[]);
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    for step in ["600s=50%", "600s=0%", "600s=20%"] {
        let done = with(&["--step", step]);
        assert_eq!(done.code, Some(1), "{step}: {}", done.out);
        assert!(done.out.contains("✗ split#2"), "{step}: {}", done.out);
    }
}

#[test]
fn a_damaged_log_is_refused_with_its_places() {
    let folder = Folder::new();
    let good = lines((0..1_000).map(|n| call(n, deployment(n))));
    let log = folder.write("damaged.jsonl", &(good + &"{\"no\": 1}\n".repeat(50)));
    let done = audit(&folder, &log, &TENTH);
    assert_eq!(done.code, Some(2), "{}{}", done.out, done.err);
    assert!(done.err.contains("damaged.jsonl:1001:"), "{}", done.err);
    assert!(
        done.err.contains("50 of 1050 rows are unusable"),
        "{}",
        done.err
    );
}

#[test]
fn names_that_nobody_has_and_times_of_another_age_are_mistakes() {
    let folder = Folder::new();
    let good = lines((0..2_000).map(|n| call(n, deployment(n))));
    let log = folder.write("log.jsonl", &good);
    let done = audit(
        &folder,
        &log,
        &["--stable", "old", "--canary", "nwe", "--share", "10%"],
    );
    assert_eq!(done.code, Some(2), "{}", done.out);
    assert!(
        done.err.contains("nobody in the log is called `nwe`"),
        "{}",
        done.err
    );
    assert!(done.err.contains("new (200)"), "{}", done.err);
    let far = Call {
        at: 5e9,
        ..call(1, "old")
    };
    let log = folder.write("far.jsonl", &(good + &far.line()));
    let done = audit(&folder, &log, &TENTH);
    assert_eq!(done.code, Some(2), "{}", done.out);
    assert!(done.err.contains("more than ten years"), "{}", done.err);
}
