//! Orders that wait for one that is being written: whoever names a revision is told whether another came first.

use graygate::router::control::{Order, Refusal};

use crate::release::{checkpoint, roll_back, weights};
use crate::rig::{Rig, STABLE, config};

/// Twenty-one who saw the same revision, the store being slow.
fn writers_of_one_revision(order: impl Fn() -> Order) -> (Rig, u64) {
    let mut rig = Rig::new(config());
    let seen = rig.look().revision;
    rig.store = None;
    for _ in 0..=20 {
        assert_eq!(
            rig.order_based_on(Some(seen), order()),
            None,
            "not known yet"
        );
    }
    assert_eq!(rig.waiting.len(), 1, "one is being written");
    (rig, seen)
}

#[test]
fn of_writers_who_saw_one_revision_one_wins_and_the_others_are_told_that_it_came_first() {
    let (mut rig, seen) = writers_of_one_revision(|| weights(9.0, 1.0));
    rig.answers.clear();
    rig.written(true);
    let answers: Vec<_> = rig.answers.iter().map(|(_, a)| a.clone()).collect();
    assert!(answers[0].is_ok());
    assert_eq!(
        answers[1..],
        vec![Err(Refusal::Stale { revision: seen + 1 }); 20]
    );
    assert!(rig.waiting.is_empty());
}

#[test]
fn who_waited_for_what_changed_no_revision_comes_next() {
    let mut rig = Rig::new(config());
    let seen = rig.look().revision;
    rig.store = None;
    assert_eq!(rig.order(checkpoint("mine")), None);
    assert_eq!(rig.order_based_on(Some(seen), weights(9.0, 1.0)), None);
    assert_eq!(rig.order_based_on(Some(seen), weights(1.0, 9.0)), None);
    rig.written(true);
    assert_eq!(rig.waiting.len(), 1, "the second is being written now");
    rig.written(true);
    assert_eq!(rig.look().share, 0.1);
    let stale = rig.answers.iter().filter(|(_, a)| a.is_err()).count();
    assert_eq!(stale, 1);
}

#[test]
fn who_waited_for_a_store_that_failed_is_refused_like_the_first() {
    let (mut rig, _) = writers_of_one_revision(|| weights(9.0, 1.0));
    rig.answers.clear();
    rig.written(false);
    let answers: Vec<_> = rig.answers.iter().map(|(_, a)| a.clone()).collect();
    assert_eq!(answers, vec![Err(Refusal::StoreFailed); 21]);
}

#[test]
fn a_rollback_waits_for_nobody_and_whoever_waits_hears_of_it() {
    let (mut rig, seen) = writers_of_one_revision(|| weights(0.0, 1.0));
    assert_eq!(rig.order_based_on(Some(seen), roll_back()), None);
    let request = rig.arrive(true);
    assert_eq!(rig.path(request), [STABLE]);
    rig.answers.clear();
    rig.written(true);
    let refused = rig.answers.iter().filter(|(_, a)| a.is_err()).count();
    assert_eq!(refused, 21, "{:?}", rig.answers);
    assert_eq!(rig.look().share, 0.0);
}

#[test]
fn not_everybody_can_wait() {
    let (mut rig, seen) = writers_of_one_revision(|| weights(9.0, 1.0));
    let refused = (0..1_000).find_map(|_| rig.order_based_on(Some(seen), weights(1.0, 9.0)));
    assert_eq!(refused, Some(Err(Refusal::Busy)));
}
