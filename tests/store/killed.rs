//! Processes that are killed at any moment: what they acknowledged is there, and nothing is half
//! there.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use graygate::id::{Seed, VersionId};
use graygate::live::store::{Place, State};
use graygate::rng::{Purpose, draw};
use graygate::router::control::{Control, ControlId, Order};
use graygate::router::core::Core;
use graygate::router::deployment::{CheckpointKind, Deployment};
use graygate::router::gray::GrayRouter;
use graygate::router::io::{Action, Input};
use graygate::router::ramp::Phase;
use graygate::time::Timestamp;

use crate::gateway::{Stand, wait_for};
use crate::rig::config;
use crate::{checkpoint, roll_back};

/// The variable that turns the test [`the_child`] into the process that is killed.
const FILE: &str = "GRAYGATE_TEST_STATE";

/// A number below `below` that depends on `n` alone.
fn random(n: u64, below: u64) -> u64 {
    let drawn = draw(
        Seed(5),
        Purpose::Split,
        graygate::id::RequestKey(n),
        VersionId(0),
        0,
    );
    (drawn.unit() * below as f64) as u64
}

/// Does one thing after the other to a release, and says of each when it is about to be written and
/// when it is.
#[test]
#[ignore = "a process of its own, that other tests start and kill"]
fn the_child() {
    let Some(path) = variable(FILE) else {
        return;
    };
    let state = State::at(Place::File(path.into()));
    let mut config = config();
    config.rollback.webhooks = vec!["HOOK".to_owned()];
    config.rollback.peers = vec!["PEER".to_owned()];
    let kept = state.open().unwrap();
    let deployment = Deployment::resumed(kept, Arc::new(config.clone()), Some(1));
    let start = deployment.revision;
    let core = GrayRouter::resume(deployment, Seed(1), Timestamp::ZERO, Some(1));
    let mut core = core.kept_from_the_start();
    for n in 0.. {
        obey(&mut core, &state, n);
        let order = match random(start * 1_000 + n, 6) {
            0 => roll_back(),
            1 => checkpoint(&format!("at {n}")),
            2 => {
                let config = Arc::new(config.clone());
                let again = true;
                Order::Apply { config, again }
            }
            3 => Order::Promote,
            more => {
                let share = 10.0 * more as f64;
                Order::SetWeights([100.0 - share, share].into_iter().collect())
            }
        };
        let control = Control {
            based_on: None,
            order,
        };
        let id = ControlId(n);
        core.handle(Timestamp(n + 1), Input::Control { id, control });
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "how a test tells its child what it is"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Writes what the core wants written, as the gateway does.
fn obey(core: &mut GrayRouter, state: &State, n: u64) {
    let mut out = std::io::stdout();
    while let Some(action) = core.poll_action() {
        if let Action::Persist { op, change } = action {
            let what = seen(&change.deployment);
            writeln!(out, "begin {what}").unwrap();
            state.commit(&change).unwrap();
            core.handle(Timestamp(n + 1), Input::Persisted { op, ok: true });
            writeln!(out, "done {what}").unwrap();
        }
    }
    while core.poll_event().is_some() {}
}

/// What of a release must be one thing or the other.
fn seen(deployment: &Deployment) -> String {
    format!(
        "{} {} {} {} {}",
        deployment.revision,
        deployment.release,
        deployment.phase.name(),
        deployment.share(),
        deployment.next_checkpoint
    )
}

/// Starts the child and kills it after so many lines and a moment; returns what it said last to
/// begin, and to be done.
fn live_and_die(path: &Path, lines: u64, moment: u64) -> [Option<String>; 2] {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed::the_child", "--ignored", "--nocapture"])
        .env(FILE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    for _ in 0..lines {
        reader.read_line(&mut said).unwrap();
    }
    (0..moment).for_each(|_| std::thread::yield_now());
    child.kill().unwrap();
    child.wait().unwrap();
    // What was in the pipe was said before it died. The last line may be half a line.
    std::io::Read::read_to_string(&mut reader, &mut said).unwrap();
    let whole = said.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let last = |word: &str| {
        let mut lines = whole.lines().rev();
        // Cargo's own words may stand before the first one.
        let found = lines.find_map(|line| line.split_once(word));
        found.map(|(_, rest)| rest.to_owned())
    };
    [last("begin "), last("done ")]
}

/// Backup, record, history and letters of a rollback: all of them or none.
fn assert_whole(state: &State, kept: &Deployment) {
    let history = state.history(100_000).unwrap();
    let rollbacks = state.rollbacks().unwrap();
    let lines = history.iter().filter(|line| line.kind == "rolled_back");
    assert_eq!(lines.count(), rollbacks.len());
    for record in &rollbacks {
        let told = state.told(&record.id).unwrap();
        assert_eq!((told.webhooks, told.peers), (1, 1));
    }
    let newest = history.first().expect("a line");
    assert!(newest.revision <= kept.revision);
    if kept.phase == Phase::RolledBack {
        let record = kept.rollback.as_ref().expect("its record");
        assert_eq!(Some(record), rollbacks.first());
        assert_eq!(kept.share(), 0.0);
        let sha256 = graygate::canonical::sha256(&*kept.config);
        let has_backup = kept
            .checkpoints
            .iter()
            .any(|c| c.kind == CheckpointKind::Backup);
        // Checkpoints made later may have driven it out; weights may have been set since.
        assert!(has_backup || kept.checkpoints.len() == 10);
        assert!(record.sha256 == sha256 || newest.kind != "rolled_back");
    } else {
        assert!(kept.rollback.is_none());
    }
    assert!(kept.checkpoints.iter().all(|c| c.is_intact()));
    assert!(kept.checkpoints.len() <= 10);
}

#[test]
fn two_hundred_kills_leave_before_or_after_and_never_between() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let mut rollbacks = 0;
    let mut acknowledged: Option<String> = None;
    for n in 0..200 {
        let [begun, done] = live_and_die(&path, 1 + random(n, 40), random(n + 1_000, 400));
        acknowledged = done.or(acknowledged);
        let state = State::at(Place::File(path.clone()));
        let Some(kept) = state.open().expect("never damaged") else {
            assert_eq!(acknowledged, None, "what was acknowledged is there");
            continue;
        };
        let is = Some(seen(&kept));
        assert!(
            is == acknowledged || is == begun,
            "{is:?}: {acknowledged:?} {begun:?}"
        );
        acknowledged = is;
        assert_whole(&state, &kept);
        rollbacks = state.rollbacks().unwrap().len();
    }
    assert!(rollbacks > 20, "only {rollbacks} rollbacks in all");
}

#[test]
fn a_gateway_that_is_killed_amid_a_rollback_starts_again_before_or_after_it() {
    let mut after = 0;
    for n in 0..10 {
        let stand = Stand::new(500);
        let router = stand.router("rollback: {webhooks: [\"http://127.0.0.1:9/\"]}");
        let gateway = stand.serve(&router);
        for _ in 0..2 + random(n, 3) {
            stand.ask(&gateway);
        }
        (0..random(n + 50, 300)).for_each(|_| std::thread::yield_now());
        let was_written = gateway.log().contains("was not told of rollback");
        drop(gateway);
        let state = State::at(Place::File(stand.state()));
        let kept = state.open().expect("never damaged");
        let rollbacks = state.rollbacks().unwrap();
        assert!(rollbacks.len() <= 1);
        assert!(
            !was_written || rollbacks.len() == 1,
            "a letter was under way already"
        );
        if let Some(kept) = kept {
            assert_eq!(kept.phase == Phase::RolledBack, rollbacks.len() == 1);
        }
        for record in &rollbacks {
            after += 1;
            assert_eq!(state.told(&record.id).unwrap().webhooks, 1);
            let lines = state.history(10).unwrap();
            assert!(lines.iter().any(|line| line.kind == "rolled_back"));
        }
        drop(state);
        let gateway = stand.serve(&router);
        if rollbacks.len() == 1 {
            assert_eq!(stand.ask(&gateway).as_deref(), Some("v1"));
            assert!(!gateway.log().contains("rolled back from"), "it is no news");
        } else {
            wait_for(|| {
                let _ = stand.ask(&gateway);
                gateway
                    .log()
                    .contains("rolled back from v2 to v1")
                    .then_some(())
            });
        }
    }
    println!("{after} of 10 were killed after the rollback was written");
}
