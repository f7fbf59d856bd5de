//! What is committed is there again, whole, and nothing else is.

use graygate::live::store::receivers::ReceiverKind;
use graygate::live::store::{Place, State};
use graygate::router::deployment::Deployment;
use rusqlite::Connection;

use crate::{changes, checkpoint, open, roll_back};

#[test]
fn what_is_committed_is_there_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let orders = vec![checkpoint("one"), checkpoint("two"), roll_back()];
    let changes = changes(orders, &["HOOK"], &["PEER"]);
    let state = open(&path);
    assert_eq!(state.open(), Ok(None), "a new file holds nothing");
    changes
        .iter()
        .for_each(|change| state.commit(change).unwrap());
    drop(state);

    let state = State::at(Place::File(path));
    let kept = state.open().unwrap().expect("a release");
    let last = changes.last().unwrap();
    let expected = Deployment {
        checkpoints: last.checkpoints.clone().unwrap(),
        ..last.deployment.clone()
    };
    assert_eq!(kept, expected);
    assert!(kept.checkpoints.iter().all(|c| c.is_intact()));
    assert_eq!(state.checkpoints().unwrap(), expected.checkpoints);
    let kinds: Vec<_> = state
        .history(10)
        .unwrap()
        .into_iter()
        .map(|e| e.kind)
        .collect();
    assert_eq!(kinds, ["rolled_back", "checkpoint", "checkpoint"]);
    assert_eq!(state.history(1).unwrap().len(), 1);
    let record = last.rollback.clone().unwrap();
    assert_eq!(state.rollbacks().unwrap(), [record]);
}

#[test]
fn a_rollback_that_is_written_again_is_one() {
    let state = State::at(Place::Memory);
    state.open().unwrap();
    let changes = changes(
        vec![roll_back()],
        &["HOOK", "http://127.0.0.1:9/x"],
        &["PEER"],
    );
    let change = changes.last().unwrap();
    (0..3).for_each(|_| state.commit(change).unwrap());
    assert_eq!(state.history(10).unwrap().len(), 1);
    assert_eq!(state.rollbacks().unwrap().len(), 1);
    let told = state.told(&change.rollback.as_ref().unwrap().id).unwrap();
    assert_eq!((told.webhooks, told.peers), (2, 1));
    assert_eq!((told.webhooks_delivered, told.peers_acknowledged), (0, 0));
    assert_eq!(told.letters[2].kind, ReceiverKind::Peer);
    assert_eq!(state.pending_letters().unwrap().len(), 3);
}

#[test]
fn history_is_only_added_to_whoever_opens_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let state = open(&path);
    state
        .commit(&changes(vec![checkpoint("one")], &[], &[])[0])
        .unwrap();
    drop(state);
    let other = Connection::open(&path).unwrap();
    for statement in ["DELETE FROM history", "UPDATE history SET kind = 'x'"] {
        let error = other.execute(statement, []).unwrap_err().to_string();
        assert!(error.contains("only added to"), "{error}");
    }
}

/// Damage to a checkpoint is no reason not to start; it is just never gone back to.
#[test]
fn a_damaged_checkpoint_stays_in_the_list_and_is_not_intact() {
    let damages = [
        "UPDATE checkpoints SET config = replace(config, 'model-v2', 'model-v9') WHERE id = 'cp-1'",
        "UPDATE checkpoints SET config = 'gibberish' WHERE id = 'cp-1'",
        "UPDATE checkpoints SET sha256 = 'x' WHERE id = 'cp-1'",
    ];
    for damage in damages {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let orders = vec![checkpoint("one"), checkpoint("two"), checkpoint("three")];
        let changes = changes(orders, &[], &[]);
        let state = open(&path);
        state.commit(&changes[1]).unwrap();
        drop(state);
        let other = Connection::open(&path).unwrap();
        assert_eq!(other.execute(damage, []).unwrap(), 1);
        drop(other);
        let state = open(&path);
        let intact = |state: &State| -> Vec<bool> {
            let checkpoints = state.checkpoints().unwrap();
            checkpoints.iter().map(|c| c.is_intact()).collect()
        };
        assert_eq!(intact(&state), [false, true], "{damage}");
        state.commit(&changes[2]).unwrap();
        assert_eq!(intact(&state), [false, true, true], "{damage}");
    }
}
