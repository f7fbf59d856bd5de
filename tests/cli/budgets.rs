//! `graygate validate` on the budgets of rollbacks: by formula, and from seeds.

use crate::support::{Folder, graygate};

/// A third of the answers of a canary with half of the traffic is refused from the 12th second on.
fn scenario(judge: &str, budget: &str) -> String {
    format!(
        "name: budget
seed: 1
duration: 30s
router:
  versions:
    v1: {{role: stable, model: a, api_key_env: A_KEY}}
    v2: {{role: canary, model: b, api_key_env: B_KEY}}
  split: {{weights: {{v1: 50, v2: 50}}}}
  judge: {judge}
upstreams:
  v1: {{mock: {{latency: 20ms}}}}
  v2: {{mock: {{latency: 20ms}}}}
traffic:
  synthetic: {{arrivals: {{poisson: 50/s}}}}
faults:
  - {{at: 12s, on: v2, kind: unauthorized, share: 30%}}
expect:
  - rollback: {{{budget}}}
  - after_rollback
"
    )
}

const LITERAL: &str =
    "{literal: {window: 10s, min_requests: 50, every: 10s, rollback: {error_rate: \"> 5%\"}}}";

fn validate(judge: &str, budget: &str, more: &[&str]) -> crate::support::Done {
    let folder = Folder::new();
    let file = folder.write("budget.yaml", &scenario(judge, budget));
    graygate(&[&["validate", &file], more].concat())
}

/// The number between two pieces of a text.
fn number(text: &str, before: &str, after: &str) -> f64 {
    let rest = text.split_once(before).expect(before).1;
    let number = rest.split_once(after).expect(after).0;
    number.replace(',', "").parse().expect(number)
}

/// λ = 25/s at the canary, a window of Poisson(250) answers: k = 13 failures, give or take 3; r = 30 %.
#[test]
fn a_formula_tells_what_a_correct_router_needs() {
    let done = validate(LITERAL, "within: 2s, canary_requests: \"<= 50\"", &[]);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    // Summed over N from Poisson(250), k = ⌊.05 N⌋ + 1, in Python: gamma(k) / 7.5 + .005 is exceeded with p at 1.696 s for
    // p = .5, 4.182 s for 1e-4, and 4.331 s for 5e-5, the suggestion's (two limits share 1e-4); 2 s with p = .27732
    let time = "  rollback: budget 2 s; this scenario: median 1.7 s, 99.99 % quantile 4.2 s; red in about 2,773 of \
                10,000 seeds even for a correct router; suggested: 5 s\n";
    assert!(done.out.contains(time), "{}", done.out);
    // The same of nbinom(k, .3) + k + poisson(.125), summed over the latter, too.
    let requests = "  rollback: budget 50 canary requests; this scenario: median 43, 99.99 % quantile 95; red in \
                    about 2,359 of 10,000 seeds even for a correct router; suggested: 98\n";
    assert!(done.out.contains(requests), "{}", done.out);
}

/// What the formula says is what happens: its share of red seeds is inside the limits of the measured one.
#[test]
fn seeds_agree_with_the_formula() {
    for judge in [LITERAL, "sequential"] {
        let within = if judge == LITERAL { "2s" } else { "1500ms" };
        let budget = format!("within: {within}");
        let done = validate(judge, &budget, &["--runs", "400"]);
        assert_eq!(done.code, Some(0), "{}", done.err);
        let lines: Vec<&str> = done
            .out
            .lines()
            .filter(|l| l.contains("rollback:"))
            .collect();
        let [formula, seeds] = lines[..] else {
            panic!("two lines: {}", done.out);
        };
        let said = number(formula, "red in about ", " of 10,000") / 1e4;
        let seen = number(seeds, "red in ", " of 400") / 400.0;
        // Four standard errors.
        let room = 4.0 * (said * (1.0 - said) / 400.0).sqrt();
        assert!((said - seen).abs() < room, "{judge}: {said}, seen {seen}");
        assert!(
            said > 0.02 && said < 0.9,
            "{judge}: the budget tells something: {said}"
        );
        let median = number(formula, "median ", " s");
        let seen = number(seeds, "median ", " s");
        assert!(
            (median - seen).abs() <= 0.2,
            "{judge}: {median}, seen {seen}"
        );
        assert!(
            seeds.contains("bounds the 99.25 % quantile only"),
            "{seeds}"
        );
    }
}

#[test]
fn where_there_is_no_formula_seeds_are_asked_for() {
    let timeouts = scenario(LITERAL, "within: 20s").replace("unauthorized", "timeout");
    let folder = Folder::new();
    let file = folder.write("budget.yaml", &timeouts);
    let done = graygate(&["validate", &file]);
    let expected = "budget 20 s; no formula tells what this scenario needs: --runs 30000 does";
    assert!(done.out.contains(expected), "{}", done.out);
    let done = graygate(&["validate", &file, "--runs", "8"]);
    assert!(
        done.out.contains("detection over 8 seeds: median"),
        "{}",
        done.out
    );
    // Without a budget there is nothing to say.
    let done = validate(LITERAL, "reason: error_rate", &["--runs", "2"]);
    assert!(!done.out.contains("rollback:"), "{}", done.out);
}

/// The seeds that are found say nothing of those that are not.
#[test]
fn no_budget_is_suggested_where_some_seeds_are_never_rolled_back() {
    let folder = Folder::new();
    let text = scenario(LITERAL, "within: 15s, canary_requests: \"<= 300\"")
        .replace("share: 30%", "share: 5%");
    let file = folder.write("budget.yaml", &text);
    let done = graygate(&["validate", &file, "--runs", "60"]);
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    assert!(
        done.out.contains("of 60 seeds were never rolled back"),
        "{}",
        done.out
    );
    assert!(!done.out.contains("suggested: "), "{}", done.out);
}

/// Where failures leave the window before there are enough, or callers stay where they failed, the wait is no gamma distribution.
#[test]
fn a_formula_that_does_not_fit_is_not_used() {
    let told = |text: &str| {
        let folder = Folder::new();
        let file = folder.write("budget.yaml", text);
        graygate(&["validate", &file]).out
    };
    let text = scenario(LITERAL, "within: 20s");
    assert!(told(&text).contains("suggested: "));
    let rare = text.replace("share: 30%", "share: 8%");
    let sticky = text.replace("v2: 50}}", "v2: 50}, sticky: {header: x-user-id}}");
    for text in [rare, sticky] {
        let out = told(&text);
        assert!(
            out.contains("no formula tells what this scenario needs"),
            "{out}"
        );
    }
}

#[test]
fn a_second_rollback_gate_is_not_held_against_seeds_in_silence() {
    let folder = Folder::new();
    let text = scenario(LITERAL, "within: 15s").replace(
        "  - after_rollback",
        "  - rollback: {within: 7s}\n  - after_rollback",
    );
    let file = folder.write("budget.yaml", &text);
    let done = graygate(&["validate", &file, "--runs", "4"]);
    let said = "budget 7 s; not held against seeds: they tell of the first `rollback` gate alone";
    assert!(done.out.contains(said), "{}", done.out);
    assert!(
        done.out.contains("budget 15 s; detection over 4 seeds"),
        "{}",
        done.out
    );
}

/// However large the limit, it takes no time to tell.
#[test]
fn a_large_limit_is_judged_at_once() {
    let done = validate(LITERAL, "canary_requests: \"<= 4000000000\"", &[]);
    assert!(
        done.out.contains("red in fewer than 0.01"),
        "{}{}",
        done.out,
        done.err
    );
}
