//! Routers that make the wrong thing of a stream's failure: the shipped scenarios `s07` to `s11` and `s14` see it.

use graygate::observe::meta::Engine;
use graygate::protocol::chat::ChatHead;
use graygate::protocol::outcome::Outcome;
use graygate::runner::RunOptions;

use super::failovers::Mistakes;
use super::streams::{Completes, Splices};
use super::{assert_red, with_config, with_defect};
use crate::support::{run, shipped};

#[test]
fn a_first_token_that_is_waited_for_is_caught() {
    let output = with_config("s07-slow-first-token", |config| {
        config.timeouts.first_token = None;
    });
    assert_red(&output, "requests#1", "first_token_p99");
    assert_red(&output, "rollback", "rolled back once");
}

#[test]
fn a_cut_that_stable_goes_on_behind_is_caught() {
    let output = with_defect("s08-stream-cut", |_| Splices::default());
    assert_red(&output, "stream", "made of two answers");
    assert_red(&output, "stream", "nothing comes twice");
}

/// Neither its caller nor the judge of the canary is told.
#[test]
fn a_cut_that_is_called_a_success_is_caught() {
    for name in ["s08-stream-cut", "s11-missing-done"] {
        let output = with_defect(name, |_| Completes::default());
        assert_red(&output, "stream", "what was cut off is no success");
        assert_red(&output, "rollback", "rolled back once");
        assert_red(&output, "attribution", "real outcome");
    }
}

#[test]
fn a_stall_that_is_waited_for_is_caught() {
    let output = with_config("s09-stream-stall", |config| config.timeouts.idle = None);
    assert_red(&output, "rollback", "within 20 s");
    assert_red(&output, "rollback", "user_errors");
    assert_red(&output, "policy", "no stream is silent for more than 1.2");
}

#[test]
fn a_malformed_stream_that_is_asked_for_again_is_caught() {
    let output = with_defect("s10-malformed-chunk", |_| {
        Mistakes(Outcome::Malformed, Outcome::ServerError)
    });
    assert_red(&output, "requests#1", "hopeless_retries");
    assert_red(&output, "attribution", "real outcome");
}

#[test]
fn a_stream_that_stable_is_asked_to_go_on_with_is_caught() {
    let output = with_defect("s14-prefilled-answer", |_| Splices::default());
    assert_red(&output, "stream", "made of two answers");
    assert_red(&output, "requests#4", "count <= 700");
}

/// What stable is asked begins with an answer, whether its caller began one or not: it refuses all of it.
#[test]
fn a_gateway_that_prefills_is_caught() {
    fn begins(body: &[u8], head: &ChatHead, model: &str) -> Vec<u8> {
        let sent = head.with_model(body, model);
        if model != "gpt-4.1" {
            return sent;
        }
        let sent = String::from_utf8_lossy(&sent).into_owned();
        let begun = r#"},{"role":"assistant","content":"tok tok tok"}],"model""#;
        sent.replace("}],\"model\"", begun).into_bytes()
    }
    let options = RunOptions {
        forward: begins,
        ..RunOptions::new(Engine::Virtual)
    };
    let output = run(&shipped("s14-prefilled-answer"), &options);
    assert_red(&output, "requests#1", "altered == 0");
    assert_red(&output, "requests#3", "bad_request <= 8%");
    assert_red(&output, "fallback", "succeeds");
}

#[test]
fn a_refused_beginning_that_is_tried_again_is_caught() {
    let output = with_defect("s14-prefilled-answer", |_| {
        Mistakes(Outcome::BadRequest, Outcome::ServerError)
    });
    assert_red(&output, "requests#1", "hopeless_retries");
}
