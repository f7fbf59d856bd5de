//! `notification`: told once, and with the record of the rollback.

use graygate::observe::event::{RollbackFacts, What};
use graygate::protocol::outcome::Outcome;
use graygate::time::Timestamp;
use graygate::verdict::result::Status;
use graygate::verdict::spec::GateSpec;

use crate::play::{Play, STABLE, to};

/// A run with so many rollbacks, of each of which so many letters are written.
fn told(rollbacks: usize, letters: usize, change: fn(&mut RollbackFacts)) -> Play {
    let mut play = Play::new(&[GateSpec::Notification]);
    play.requests(10, (0.0, 10.0), &[to(STABLE, Outcome::Success)]);
    for _ in 0..rollbacks {
        play.roll_back(12.0);
    }
    let record = play.summary().rollbacks.first().cloned();
    for _ in 0..letters {
        let mut letter = record.clone().unwrap_or_else(other_run);
        change(&mut letter);
        play.event(Timestamp::from_secs_f64(12.0), What::Told(letter));
    }
    play
}

/// A record of what never was.
fn other_run() -> RollbackFacts {
    let mut play = Play::new(&[GateSpec::Notification]);
    play.roll_back(12.0);
    play.summary().rollbacks[0].clone()
}

fn nothing(_: &mut RollbackFacts) {}

#[test]
fn once_is_right_and_never_and_twice_are_not() {
    assert_eq!(told(1, 1, nothing).status(), Status::Pass);
    assert_eq!(told(1, 0, nothing).status(), Status::Fail);
    assert_eq!(told(1, 2, nothing).status(), Status::Fail);
    assert_eq!(told(0, 1, nothing).status(), Status::Fail);
    assert_eq!(told(0, 0, nothing).status(), Status::Inconclusive);
}

#[test]
fn what_is_told_is_the_record() {
    let changes: [fn(&mut RollbackFacts); 4] = [
        |letter| letter.id.clear(),
        |letter| letter.affected_requests += 1,
        |letter| letter.cause = "by_hand",
        |letter| letter.to = letter.from,
    ];
    for change in changes {
        let gate = told(1, 1, change).gate();
        let failed: Vec<_> = gate.open_checks().map(|c| c.condition.as_str()).collect();
        assert_eq!(failed, ["the letter is the record"]);
    }
}

/// A busy machine may hear of the order a moment before the news.
#[test]
fn the_moment_is_not_compared() {
    let late = |letter: &mut RollbackFacts| letter.decided_at = Timestamp::from_secs_f64(12.5);
    assert_eq!(told(1, 1, late).status(), Status::Pass);
}
