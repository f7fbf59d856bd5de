//! The short shipped scenarios, and a real trace, over real sockets.

use graygate::scenario::Scenario;
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
    let words = [
        ("duration: 10m", "duration: 50s"),
        ("poisson: 50/s", "poisson: 200/s"),
        ("at: 2m, for: 3m", "at: 35s, for: 15s"),
        ("until: 2m", "until: 35s"),
        // The judge's window is as long as it was, so it fills with more requests.
        ("canary_requests: \"<= 150\"", "canary_requests: \"<= 300\""),
    ];
    let scenario = shortened("canary-401-falls-back-and-rolls-back", &words);
    let (output, _) = live_run(&scenario);
    assert_passes(&output);
}

/// A shipped scenario with these words in the place of those.
fn shortened(name: &str, words: &[(&str, &str)]) -> Scenario {
    let path = project(&format!("scenarios/{name}.yaml"));
    let mut text = std::fs::read_to_string(path).expect("the shipped scenario");
    for (whole, short) in words {
        assert!(text.contains(whole), "{whole}");
        text = text.replace(whole, short);
    }
    written(name, &text)
}

#[test]
fn resets_are_seen_by_nobody_live() {
    let scenario = shortened("s05-tcp-reset", &[("duration: 3m", "duration: 15s")]);
    let (output, _) = live_run(&scenario);
    assert_passes(&output);
}

#[test]
fn streams_that_are_cut_off_roll_back_live() {
    let words = [
        ("duration: 4m", "duration: 26s"),
        ("at: 1m,", "at: 10s,"),
        ("every: 10s", "every: 2s"),
        ("min_requests: 50", "min_requests: 30"),
        ("min_n: 5000", "min_n: 500"),
        ("from: 1m, to: 62s", "from: 10s, to: 12s"),
        ("from: 1m,", "from: 10s,"),
        ("to: 59s", "to: 9s"),
        ("from: 80s", "from: 22s"),
    ];
    let (output, _) = live_run(&shortened("s08-stream-cut", &words));
    assert_passes(&output);
}

#[test]
fn events_that_are_no_chunks_are_told_live() {
    let words = [
        ("duration: 4m", "duration: 24s"),
        ("at: 1m, for: 1m", "at: 6s, for: 6s"),
        ("at: 2m, for: 1m", "at: 12s, for: 6s"),
        ("min_n: 5000", "min_n: 500"),
        ("to: 2m, min_n: 100", "to: 11s, min_n: 10"),
        ("{to: 2m,", "{to: 11s,"),
        ("from: 2m, to: 3m", "from: 12s, to: 17s"),
        ("from: 1m, to: 3m", "from: 6s, to: 17s"),
        ("from: 3m", "from: 19s"),
    ];
    let (output, _) = live_run(&shortened("s10-malformed-chunk", &words));
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
