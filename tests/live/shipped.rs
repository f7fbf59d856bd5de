//! The short shipped scenarios, and a real trace, over real sockets.

use graygate::traffic::replay::Speed;
use graygate::verdict::result::Status;

use crate::support::{ALSO_LIVE, assert_passes, live_run, replay, shipped, trace};

#[test]
fn the_short_scenarios_pass_live() {
    for name in ALSO_LIVE {
        let (output, _) = live_run(&shipped(name));
        assert_passes(&output);
    }
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
