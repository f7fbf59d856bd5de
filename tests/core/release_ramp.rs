//! The ramp: by its steps, in its time, on the judge's yes alone.

use graygate::protocol::outcome::Outcome;
use graygate::router::config::JudgeConfig;
use graygate::router::control::Order;
use graygate::router::io::{Cause, Closed, Event, Standing};
use graygate::router::judge::lack::Lack;
use graygate::router::ramp::{Inconclusive, Phase};

use crate::release::{another, apply, ramped, roll_back, weights};
use crate::rig::{Rig, ms};

impl Rig {
    /// So many seconds in which the canary answers well, six requests a second.
    fn good_seconds(&mut self, seconds: u64) {
        for _ in 0..seconds * 6 {
            self.canary_ends(Outcome::Success);
            self.advance(ms(1_000) / 6);
        }
    }

    fn causes(&self) -> Vec<Cause> {
        let causes = self.events.iter().filter_map(|event| match event {
            Event::Standing(standing) => Some(standing.cause),
            _ => None,
        });
        causes.collect()
    }
}

#[test]
fn it_starts_at_its_first_step_and_goes_on_step_by_step() {
    let mut rig = Rig::new(ramped());
    let first = rig.look();
    assert_eq!(
        (first.share, first.step),
        (0.2, Some((0, "initial".to_owned())))
    );
    rig.good_seconds(9);
    assert_eq!(rig.look().share, 0.2, "it holds");
    rig.good_seconds(3);
    assert_eq!(rig.look().share, 0.5);
    rig.good_seconds(17);
    assert_eq!(rig.look().share, 0.5, "it holds");
    rig.good_seconds(5);
    let last = rig.look();
    assert_eq!((last.share, last.phase), (1.0, Phase::Promoted));
    assert_eq!(rig.causes(), [Cause::Judged, Cause::Judged]);
    let kinds: Vec<_> = rig
        .kept
        .iter()
        .filter_map(|c| c.entry.clone())
        .map(|e| e.kind)
        .collect();
    assert_eq!(kinds, ["step", "step"]);
}

#[test]
fn a_step_is_not_in_force_before_it_is_written() {
    let mut rig = Rig::new(ramped());
    rig.good_seconds(9);
    rig.store = None;
    rig.good_seconds(3);
    assert_eq!(rig.look().share, 0.2);
    rig.written(true);
    assert_eq!(rig.look().share, 0.5);
}

#[test]
fn no_data_never_promotes() {
    let mut rig = Rig::new(ramped());
    rig.advance(ms(3_600_000));
    let standing = rig.look();
    assert_eq!((standing.share, standing.phase), (0.2, Phase::Progressing));
    assert_eq!(rig.causes(), [Cause::Inconclusive], "people are told, once");
}

#[test]
fn nobody_who_judges_means_nobody_who_promotes() {
    let mut config = ramped();
    config.judge = JudgeConfig::Off;
    let mut rig = Rig::new(config);
    rig.good_seconds(60);
    assert_eq!(rig.look().share, 0.2);
}

#[test]
fn a_bad_canary_is_rolled_back_at_its_step_and_never_promoted() {
    let mut rig = Rig::new(ramped());
    rig.good_seconds(8);
    (0..60).for_each(|_| rig.canary_ends(Outcome::ServerError));
    rig.advance(ms(60_000));
    let standing = rig.look();
    assert_eq!((standing.phase, standing.share), (Phase::RolledBack, 0.0));
    let record = rig.rollbacks().remove(0);
    assert_eq!(record.step.as_deref(), Some("initial"));
    assert_eq!(record.reason.name(), "error_rate");
}

#[test]
fn an_inconclusive_step_is_rolled_back_if_so_configured() {
    let mut config = ramped();
    if let Some(ramp) = &mut config.ramp {
        ramp.inconclusive = Inconclusive::Rollback;
    }
    let mut rig = Rig::new(config);
    rig.advance(ms(29_000));
    assert!(!rig.is_rolled_back());
    rig.advance(ms(2_000));
    assert_eq!(rig.rollbacks()[0].reason.name(), "inconclusive");
}

#[test]
fn a_pause_does_not_count_and_going_on_keeps_the_time_held() {
    let mut rig = Rig::new(ramped());
    rig.good_seconds(6);
    let held = rig.must(Order::Pause).unwrap().held;
    assert_eq!(held, rig.now.elapsed());
    rig.good_seconds(30);
    let paused = rig.look();
    assert_eq!((paused.share, paused.held), (0.2, held));
    assert_eq!(rig.must(Order::Resume).unwrap().held, held);
    rig.good_seconds(3);
    assert_eq!(rig.look().share, 0.2, "nine seconds of ten");
    rig.good_seconds(2);
    assert_eq!(rig.look().share, 0.5);
}

#[test]
fn weights_by_hand_pause_it_and_resuming_goes_back_to_the_step() {
    let mut rig = Rig::new(ramped());
    let standing = rig.must(weights(2.0, 8.0)).unwrap();
    assert_eq!((standing.share, standing.phase), (0.8, Phase::Paused));
    rig.good_seconds(30);
    assert_eq!(rig.look().share, 0.8);
    let standing = rig.must(Order::Resume).unwrap();
    assert_eq!((standing.share, standing.phase), (0.2, Phase::Progressing));
}

#[test]
fn who_is_promoted_is_still_judged() {
    let mut rig = Rig::new(ramped());
    rig.must(Order::Promote).unwrap();
    let standing = rig.must(Order::Promote).unwrap();
    assert_eq!((standing.share, standing.phase), (1.0, Phase::Promoted));
    (0..8).for_each(|_| rig.canary_ends(Outcome::ServerError));
    assert!(rig.is_rolled_back());
    assert_eq!(rig.look().share, 0.0);
}

#[test]
fn a_restart_resumes_the_step_with_at_most_ten_seconds_lost() {
    let mut rig = Rig::new(ramped());
    rig.good_seconds(12);
    assert_eq!(rig.look().share, 0.5);
    rig.good_seconds(15);
    let held = rig.look().held;
    // The process dies here: only what was kept is left.
    let mut again = Rig::resumed(rig.last_kept().deployment.clone());
    let standing = again.look();
    assert_eq!(
        (standing.share, standing.step.clone()),
        (0.5, Some((1, "majority".to_owned())))
    );
    assert!(
        standing.held <= held && standing.held + ms(10_000) >= held,
        "{standing:?} {held:?}"
    );
    again.good_seconds(18);
    assert_eq!(
        again.look().phase,
        Phase::Promoted,
        "20 s in all, not 20 s anew"
    );
}

#[test]
fn another_release_begins_its_own_ramp_and_a_rollback_ends_it() {
    let mut rig = Rig::new(ramped());
    rig.good_seconds(12);
    let mut next = another();
    next.ramp = ramped().ramp;
    assert_eq!(rig.must(apply(next)).unwrap().share, 0.2);
    rig.good_seconds(5);
    rig.must(roll_back()).unwrap();
    rig.good_seconds(120);
    let standing = rig.look();
    assert_eq!((standing.phase, standing.share), (Phase::RolledBack, 0.0));
}

/// The codes of what the next step waits for.
fn codes(missing: &[Lack]) -> Vec<&'static str> {
    missing.iter().map(Lack::code).collect()
}

fn missing(standing: &Standing) -> Vec<&'static str> {
    codes(&standing.missing)
}

/// Both holds are shorter than the window, which still remembers the step before.
#[test]
fn a_step_is_not_promoted_for_what_another_has_shown() {
    let mut config = ramped();
    if let Some(ramp) = &mut config.ramp {
        ramp.steps[0].hold = ms(2_000);
        ramp.steps[1].hold = ms(2_000);
    }
    let mut rig = Rig::new(config);
    rig.good_seconds(1);
    rig.advance(ms(1_200));
    assert_eq!(rig.look().share, 0.5);
    rig.advance(ms(2_500));
    let standing = rig.look();
    assert_eq!(standing.share, 0.5, "nobody met the canary in this step");
    assert_eq!(missing(&standing), ["too_few_attempts"]);
    rig.good_seconds(2);
    assert_eq!(rig.look().phase, Phase::Promoted);
}

#[test]
fn what_the_next_step_waits_for_is_said() {
    let mut rig = Rig::new(ramped());
    let standing = rig.look();
    let need = 5;
    let expected = [
        Lack::Hold { left: ms(10_000) },
        Lack::TooFewAttempts { have: 0, need },
    ];
    assert_eq!(standing.missing, expected);
    rig.good_seconds(4);
    assert_eq!(missing(&rig.look()), ["hold"]);
    rig.good_seconds(7);
    let told = |rig: &Rig| {
        let told = rig.events.iter().filter_map(|event| match event {
            Event::NotPromoted(missing) => Some(codes(missing)),
            _ => None,
        });
        told.collect::<Vec<_>>()
    };
    assert!(told(&rig).is_empty(), "nothing was missing when it looked");
    rig.advance(ms(15_000));
    assert_eq!(missing(&rig.look()), ["hold", "too_few_attempts"]);
    rig.advance(ms(10_000));
    assert_eq!(told(&rig)[0], ["too_few_attempts"]);
    rig.must(Order::Promote).unwrap();
    assert!(missing(&rig.look()).is_empty(), "there is no next step");
}

#[test]
fn a_ramp_that_pauses_says_why() {
    let paused = |rig: &mut Rig| rig.look().missing[0];
    let mut rig = Rig::new(ramped());
    rig.must(Order::Pause).unwrap();
    assert_eq!(paused(&mut rig), Lack::Paused { by_weights: false });
    let mut rig = Rig::new(ramped());
    let standing = rig.must(weights(2.0, 8.0)).unwrap();
    assert_eq!(standing.cause, Cause::Weights);
    assert_eq!(paused(&mut rig), Lack::Paused { by_weights: true });
    let entry = rig.last_kept().entry.clone().unwrap();
    assert_eq!(entry.detail, "canary 80 %, the ramp pauses");
    rig.must(Order::Resume).unwrap();
    assert!(!missing(&rig.look()).contains(&"paused"));
}

#[test]
fn why_the_canary_is_closed_is_told_with_every_standing() {
    let mut rig = Rig::new(ramped());
    assert_eq!(rig.look().closed, []);
    rig.must(Order::Withhold).unwrap();
    let standing = rig.must(Order::Pause).unwrap();
    assert_eq!(
        standing.closed,
        [Closed::ModelMissing],
        "a pause lifts nothing"
    );
    assert_eq!(missing(&standing)[..2], ["paused", "canary_closed"]);
    assert_eq!(rig.must(Order::Resume).unwrap().closed, []);
    rig.must(roll_back()).unwrap();
    assert_eq!(rig.look().closed, [Closed::RolledBack]);
}
