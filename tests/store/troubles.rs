//! Files that cannot be used, each with its cause and a way out.

use graygate::live::store::error::Trouble;
use graygate::live::store::{Place, State};
use rusqlite::Connection;

use crate::{changes, checkpoint, open, roll_back};

fn trouble_at(path: &std::path::Path) -> Trouble {
    let error = State::at(Place::File(path.to_owned())).open().unwrap_err();
    let said = error.to_string();
    assert!(said.contains(&path.display().to_string()), "{said}");
    assert!(said.contains("= hint: "), "{said}");
    error.trouble
}

#[test]
fn a_file_is_used_by_one_gateway_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let first = open(&path);
    assert_eq!(trouble_at(&path), Trouble::Locked);
    drop(first);
    open(&path);
}

#[test]
fn a_lock_of_any_other_program_counts_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    drop(open(&path));
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    assert_eq!(trouble_at(&path), Trouble::Locked);
    drop(other);
    open(&path);
}

#[test]
fn what_is_no_state_file_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    let text = "important notes, no database. ".repeat(50);
    std::fs::write(&path, &text).unwrap();
    assert_eq!(trouble_at(&path), Trouble::NotADatabase);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    assert_eq!(trouble_at(folder.path()), Trouble::CannotOpen);
}

#[test]
fn another_programs_database_is_left_alone() {
    for version in [0, 1] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("accounts.db");
        let other = Connection::open(&path).unwrap();
        other
            .execute_batch("CREATE TABLE accounts (id INTEGER PRIMARY KEY)")
            .unwrap();
        other.pragma_update(None, "user_version", version).unwrap();
        drop(other);
        let before = std::fs::read(&path).unwrap();
        let trouble = trouble_at(&path);
        assert_eq!(trouble, Trouble::Foreign);
        assert!(trouble.to_string().contains("not a graygate state file"));
        assert!(
            std::fs::read(&path).unwrap() == before,
            "nothing is written"
        );
    }
}

#[cfg(unix)]
#[test]
fn what_is_kept_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let state = open(&path);
    state
        .commit(&changes(vec![roll_back()], &[], &[])[0])
        .unwrap();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.path().display());
    }
}

#[test]
fn a_file_of_a_newer_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    drop(open(&path));
    let other = Connection::open(&path).unwrap();
    other.execute_batch("PRAGMA user_version = 7").unwrap();
    drop(other);
    assert_eq!(trouble_at(&path), Trouble::Newer(7));
}

#[test]
fn a_damaged_release_is_never_taken_for_none() {
    let damages = [
        "UPDATE deployment SET body = 'gibberish'",
        "UPDATE deployment SET body = replace(body, 'rolled_back', 'progressing')",
        "UPDATE deployment SET sha256 = 'x'",
    ];
    for damage in damages {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let state = open(&path);
        let changes = changes(vec![roll_back()], &[], &[]);
        state.commit(&changes[0]).unwrap();
        drop(state);
        let other = Connection::open(&path).unwrap();
        assert_eq!(other.execute(damage, []).unwrap(), 1);
        drop(other);
        assert!(matches!(trouble_at(&path), Trouble::Corrupt(_)), "{damage}");
    }
}

#[cfg(unix)]
#[test]
fn a_file_that_is_deleted_in_use_is_noticed_and_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let state = open(&path);
    let changes = changes(vec![checkpoint("one"), checkpoint("two")], &[], &[]);
    state.commit(&changes[0]).unwrap();
    std::fs::remove_file(&path).unwrap();
    let error = state.commit(&changes[1]).unwrap_err();
    assert_eq!(error.trouble, Trouble::Gone);
    state.commit(&changes[1]).unwrap();
    drop(state);
    let state = open(&path);
    assert_eq!(state.checkpoints().unwrap().len(), 2);
}
