//! The short shipped scenarios, and a real trace, over real sockets.

use graygate::traffic::replay::Speed;
use graygate::verdict::result::Status;

use crate::support::{
    ALSO_LIVE, assert_passes, live_run, project, replay, shipped, trace, written,
};

#[test]
fn the_short_scenarios_pass_live() {
    for name in ALSO_LIVE {
        let (output, _) = live_run(&shipped(name));
        assert_passes(&output);
    }
}

/// The refused key takes ten minutes; here it is told four times as fast, at four times the rate, and
/// without its long end. Whole, it is run by hand: `graygate run … --engine live`.
#[test]
fn the_refused_key_falls_back_and_rolls_back_live() {
    let path = project("scenarios/canary-401-falls-back-and-rolls-back.yaml");
    let mut text = std::fs::read_to_string(path).expect("the shipped scenario");
    for (whole, short) in [
        ("duration: 10m", "duration: 50s"),
        ("poisson: 50/s", "poisson: 200/s"),
        ("at: 2m, for: 3m", "at: 35s, for: 15s"),
        ("until: 2m", "until: 35s"),
        // The judge's window is as long as it was, so it fills with more requests.
        ("canary_requests: \"<= 150\"", "canary_requests: \"<= 300\""),
    ] {
        assert!(text.contains(whole), "{whole}");
        text = text.replace(whole, short);
    }
    let (output, _) = live_run(&written("refused-key", &text));
    assert_passes(&output);
}

/// A real hour in a minute, with a generator that keeps its schedule.
#[test]
fn the_hour_of_code_requests_runs_live_at_sixty_times_its_speed() {
    let Some(path) = trace("azure-2023-code.csv") else {
        return;
    };
    let (output, _) = live_run(&replay(path, Speed::Times(60.0)));
    assert_eq!(output.report.verdict.status, Status::Pass);
    assert_eq!(output.report.summary.sent, 8_819);
    assert_eq!(output.report.summary.answers.total(), 8_819);
}
