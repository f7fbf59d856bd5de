//! Gateways that are wrong in a way that looks right from where one usually looks.

use crate::closing::{BROKEN, Manner, gate, judged};
use crate::external::said;

const SPLIT: &str = "expect:\n  - split: {v2: 50%, tolerance: 25pp}";

/// Nobody asked whether it rolls back, so that a canary that gets nothing is a split that is wrong.
#[test]
fn a_canary_that_is_closed_in_silence_is_a_wrong_split() {
    let (_, code, states) = judged(Manner::ClosesForNothing(100), SPLIT, &["split"]);
    assert_eq!((code, states), (Some(1), vec!["fail".to_owned()]));
    let (_, code, states) = judged(Manner::ClosesForNothing(u64::MAX), SPLIT, &["split"]);
    assert_eq!((code, states), (Some(0), vec!["pass".to_owned()]));
}

#[test]
fn answers_of_other_callers_are_found() {
    let fine = "expect:\n  - requests: {success: \"100%\"}";
    let (case, code, states) = judged(Manner::Swaps, fine, &["requests", "join"]);
    assert_eq!(code, Some(1));
    assert_eq!(states, ["pass", "fail"]);
    let summary = case.summary();
    let checks = gate(&summary, "join")["checks"].as_array().unwrap();
    let check = checks.iter().find(|c| c["status"] == "fail").unwrap();
    assert_eq!(check["condition"], "answers of another request == 0");
    assert!(
        !check["offenders"].as_array().unwrap().is_empty(),
        "{check}"
    );
}

/// A part of an answer, in good form, is no success; nor is what the gateway made of it.
#[test]
fn answers_that_were_altered_on_their_way_are_found() {
    let fine = "expect:\n  - requests: {success: \"100%\"}";
    for manner in [
        Manner::Shortens,
        Manner::Rewords,
        Manner::Blanks,
        Manner::Doubles,
        Manner::LosesChunks,
    ] {
        let (case, code, states) = judged(manner, fine, &["requests", "join"]);
        assert_eq!(code, Some(1));
        assert_eq!(states, ["pass", "fail"]);
        let summary = case.summary();
        let checks = gate(&summary, "join")["checks"].as_array().unwrap();
        let failed: Vec<_> = checks.iter().filter(|c| c["status"] == "fail").collect();
        let conditions: Vec<_> = failed.iter().map(|c| &c["condition"]).collect();
        assert_eq!(
            conditions,
            ["answers with another text than their upstream's == 0"]
        );
        assert_eq!(failed[0]["evidence"]["n"], 500, "{}", failed[0]);
        assert_eq!(failed[0]["offenders"].as_array().unwrap().len(), 5);
    }
}

/// Its canary gets its share, and nobody gets an answer of it.
#[test]
fn a_canary_whose_answers_are_thrown_away_is_found() {
    let fine = format!(
        "{SPLIT}\n  - requests: {{success: \"100%\"}}\n  - retries: {{amplification: \"<= 2\"}}"
    );
    let (case, code, states) = judged(
        Manner::Dark,
        &fine,
        &["split", "requests", "retries", "join"],
    );
    assert_eq!(code, Some(1));
    assert_eq!(states, ["pass", "pass", "pass", "fail"]);
    let summary = case.summary();
    let checks = gate(&summary, "join")["checks"].as_array().unwrap();
    let failed: Vec<_> = checks.iter().filter(|c| c["status"] == "fail").collect();
    let conditions: Vec<_> = failed.iter().map(|c| &c["condition"]).collect();
    assert_eq!(
        conditions,
        ["a version's answers that were thrown away to ask again <= 1 %"]
    );
    assert_eq!(failed[0]["evidence"]["n"], 250);
}

/// A fault that makes them a little later excuses nothing; but who loses patience just then loses them as well.
#[test]
fn late_answers_that_are_thrown_away_are_no_pass() {
    let late = format!("faults: [{{on: v2, kind: slow, delay: 1ms}}]\n{SPLIT}");
    let (_, code, states) = judged(Manner::Dark, &late, &["split", "join"]);
    assert_eq!(code, Some(3));
    assert_eq!(states, ["pass", "inconclusive"]);
}

/// An order at another time would make a late rollback one in time.
#[test]
fn a_run_is_judged_again_by_its_own_orders_and_gateway_alone() {
    let ordered = "orders: [{at: 500ms, rollback: true}]\nexpect:\n  - rollback: {within: 1s}";
    let (case, code, _) = judged(Manner::ObeysLate(100), ordered, &["rollback"]);
    assert_eq!(code, Some(0), "it takes about half a second");
    let again = |change: &dyn Fn(String) -> String| {
        let output = case.judge_again(change);
        (output.status.code(), said(&output))
    };
    assert_eq!(again(&|text| text).0, Some(0));
    assert_eq!(
        again(&|text| text.replace("within: 1s", "within: 200ms")).0,
        Some(1)
    );
    for (was, is, why) in [
        ("{at: 500ms", "{at: 1400ms", "other orders"),
        ("/v1\"", "/v2\"", "another gateway"),
    ] {
        let (code, said) = again(&|text| text.replacen(was, is, 1));
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(why), "{said}");
    }
    // Who is ordered to roll back is listened to; that it did not do so for nothing can be asked of it.
    let ordered =
        "orders: [{at: 500ms, rollback: true}]\nexpect:\n  - requests: {success: \"100%\"}";
    let (case, ..) = judged(Manner::Obeys, ordered, &["requests"]);
    let to =
        |gate: &str| case.judge_again(|text| text.replace("requests: {success: \"100%\"}", gate));
    assert_eq!(to("no_rollback").status.code(), Some(1));
    assert_eq!(to("rollback").status.code(), Some(2));
    // Nobody listened for a rollback there.
    let (case, ..) = judged(Manner::ClosesForNothing(100), SPLIT, &["split"]);
    let output =
        case.judge_again(|text| text.replace("- split: {v2: 50%, tolerance: 25pp}", "- rollback"));
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said(&output).contains("none of its gates awaited a rollback"),
        "{}",
        said(&output)
    );
}

/// The ledgers alone would take the last request for the closing, however late it was.
#[test]
fn an_order_that_was_confirmed_and_carried_out_late_is_found() {
    let ordered =
        "orders: [{at: 500ms, rollback: true}]\nexpect:\n  - rollback\n  - after_rollback";
    let gates = &["rollback", "after_rollback"];
    let (case, code, states) = judged(Manner::ObeysLate(200), ordered, gates);
    assert_eq!(
        (code, states),
        (Some(1), vec!["pass".into(), "fail".into()])
    );
    let summary = case.summary();
    let checks = gate(&summary, "after_rollback")["checks"]
        .as_array()
        .unwrap();
    let failed = checks.iter().filter(|c| c["status"] == "fail");
    let failed: Vec<_> = failed.map(|c| c["condition"].as_str().unwrap()).collect();
    assert_eq!(
        failed,
        ["canary_requests == 0 of those sent after its closing was ordered and confirmed"]
    );
}

/// The request that it repeats is long over, and nobody waits for the answer.
#[test]
fn a_closed_canary_that_is_asked_once_more_is_found() {
    let gates = &["after_rollback"];
    let (_, code, states) = judged(Manner::RepeatsAfter(20), BROKEN, gates);
    assert_eq!((code, states), (Some(1), vec!["fail".to_owned()]));
    // A question that bears no key may have been a look at the canary's health.
    let (_, code, states) = judged(Manner::AsksAfter(20), BROKEN, gates);
    assert_eq!((code, states), (Some(3), vec!["inconclusive".to_owned()]));
}

/// Half of the requests ask the canary's upstream for another model than it has.
#[test]
fn a_canary_that_is_asked_for_another_model_was_never_on_trial() {
    let (case, code, states) = judged(Manner::OtherModel, SPLIT, &["split", "sample"]);
    assert_eq!(code, Some(3));
    assert_eq!(states, ["pass", "inconclusive"]);
    let summary = case.summary();
    let checks = gate(&summary, "sample")["checks"].as_array().unwrap();
    let seen = checks.iter().filter(|c| c["status"] == "inconclusive");
    let conditions: Vec<_> = seen.map(|c| c["condition"].as_str().unwrap()).collect();
    assert_eq!(
        conditions,
        ["attempts for a model that their upstream does not have == 0"]
    );
}

/// Who reads a stream up to `[DONE]` takes what it got for all there is.
#[test]
fn a_stream_that_was_cut_and_says_that_it_is_done_is_found() {
    let cut = "faults: [{on: v2, at: 500ms, kind: stream_cut, after: 3}]\nexpect:\n  - stream";
    let (case, code, states) = judged(Manner::EndsWhatIsCut, cut, &["stream"]);
    assert_eq!((code, states), (Some(1), vec!["fail".to_owned()]));
    let summary = case.summary();
    let checks = gate(&summary, "stream")["checks"].as_array().unwrap();
    let failed = checks.iter().filter(|c| c["status"] == "fail");
    let failed: Vec<_> = failed.map(|c| c["condition"].as_str().unwrap()).collect();
    assert_eq!(failed, ["no [DONE] after a failure"]);
}

/// An answer without end would fill the memory of whoever reads it.
#[test]
fn an_answer_beyond_all_measure_is_none() {
    let fine = "expect:\n  - requests: {success: \"100%\"}";
    let (case, code, states) = judged(Manner::Floods, fine, &["requests"]);
    assert_eq!((code, states), (Some(1), vec!["fail".to_owned()]));
    assert_eq!(case.summary()["requests"]["outcomes"]["malformed"], 1);
}

/// It is for the gateway to say what is no answer.
#[test]
fn answers_that_are_not_whole_may_be_thrown_away() {
    let mends = "faults: [{on: v2, kind: schema_drift, shape: wrapped, share: 30%}]
expect:
  - split: {v2: 50%, tolerance: 25pp}
  - requests: {success: \"100%\"}";
    let (_, code, states) = judged(Manner::Mends, mends, &["split", "requests", "join"]);
    assert_eq!((code, states), (Some(0), vec!["pass".to_owned(); 3]));
}

#[test]
fn streams_that_are_made_of_whole_answers_are_whole() {
    let fine = "expect:\n  - requests: {success: \"100%\"}\n  - stream";
    let (_, code, states) = judged(Manner::MakesStreams, fine, &["requests", "stream", "join"]);
    assert_eq!((code, states), (Some(0), vec!["pass".to_owned(); 3]));
}

/// Nobody is held to a closing that the next order ends.
#[test]
fn a_canary_that_is_opened_again_by_order_may_be_met() {
    let orders = "orders: [{at: 500ms, rollback: true}, {at: 1700ms, set_weights: {v2: 50%}}]
expect:
  - rollback: {within: 1s}
  - after_rollback";
    let (case, code, states) = judged(Manner::Obeys, orders, &["rollback", "after_rollback"]);
    assert_eq!((code, states), (Some(0), vec!["pass".to_owned(); 2]));
    let summary = case.summary();
    let arrived = summary["versions"]["v2"]["first_attempts"].as_u64();
    assert!(arrived > Some(90), "50 before it was closed: {arrived:?}");
    let checks = gate(&summary, "after_rollback")["checks"]
        .as_array()
        .unwrap();
    assert_eq!(checks.len(), 2, "{checks:?}");
}
