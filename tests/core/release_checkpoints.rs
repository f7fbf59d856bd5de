//! Where a rollback leads: checkpoints, and what is never restored.

use std::sync::Arc;

use graygate::canonical;
use graygate::router::config::VersionConfig;
use graygate::router::control::{Order, Refusal};
use graygate::router::deployment::{CheckpointKind, Deployment, MAX_CHECKPOINTS};
use graygate::router::ramp::Phase;

use crate::release::{another, apply, checkpoint, instant, ramped, restore, roll_back};
use crate::rig::{CANARY, Rig, STABLE, config};

fn kinds(
    deployment: &Deployment,
    checkpoints: &[graygate::router::deployment::Checkpoint],
) -> Vec<CheckpointKind> {
    assert!(deployment.checkpoints.len() <= MAX_CHECKPOINTS);
    checkpoints.iter().map(|c| c.kind).collect()
}

#[test]
fn a_rollback_goes_back_to_the_newest_checkpoint_that_is_no_backup_and_not_rolled_back() {
    let mut rig = Rig::new(config());
    rig.must(apply(another())).unwrap();
    let mut third = another();
    third.versions[CANARY].model = "model-v4".to_owned();
    rig.must(roll_back()).unwrap();
    assert_eq!(rig.rollbacks()[0].restored.as_deref(), Some("cp-1"));
    rig.must(apply(third.clone())).unwrap();
    rig.must(instant()).unwrap();
    let record = rig.rollbacks()[1].clone();
    // cp-2 is the backup of the first rollback, cp-3 was made of what was rolled back.
    assert_eq!(record.restored.as_deref(), Some("cp-1"));
    let change = rig.last_kept();
    let kept = &change.deployment;
    assert_eq!(kept.config.versions[CANARY].model, "model-v2");
    assert_eq!(kept.config.canary_share(), 0.0);
    assert_eq!(canonical::sha256(&*kept.config), record.sha256);
    let checkpoints = change.checkpoints.as_ref().unwrap();
    use CheckpointKind::{Backup, PreDeploy};
    assert_eq!(
        kinds(kept, checkpoints),
        [PreDeploy, Backup, PreDeploy, Backup]
    );
    let backup = checkpoints.last().unwrap();
    assert_eq!(backup.name, "pre_rollback_backup");
    assert_eq!(*backup.config, third);
    assert_eq!(change.entry.as_ref().unwrap().kind, "rolled_back");
}

#[test]
fn without_a_checkpoint_an_instant_rollback_is_refused_and_says_so() {
    let mut rig = Rig::new(config());
    let answer = rig.must(instant());
    assert_eq!(answer, Err(Refusal::NoCheckpoint));
    assert!(
        answer
            .unwrap_err()
            .to_string()
            .contains("no checkpoint to go back to")
    );
    assert_eq!(rig.look().share, 0.5, "nothing was done");
    assert!(rig.must(roll_back()).is_ok());
    assert_eq!(rig.rollbacks()[0].restored, None);
}

#[test]
fn a_corrupt_checkpoint_is_refused_and_passed_over() {
    let mut deployment = Deployment::first(Arc::new(config()));
    for name in ["good", "corrupt"] {
        deployment = deployment.with_checkpoint(name.to_owned(), CheckpointKind::Manual, None);
    }
    deployment.checkpoints[1].sha256 = "0".repeat(64);
    let mut rig = Rig::resumed(deployment);
    assert_eq!(rig.must(restore("cp-2")), Err(Refusal::CorruptCheckpoint));
    assert_eq!(rig.must(restore("cp-9")), Err(Refusal::NoCheckpoint));
    rig.must(instant()).unwrap();
    assert_eq!(rig.rollbacks()[0].restored.as_deref(), Some("cp-1"));
}

#[test]
fn a_checkpoint_of_what_was_rolled_back_is_not_restored() {
    let mut rig = Rig::new(ramped());
    rig.must(roll_back()).unwrap();
    rig.must(checkpoint("with everything at stable")).unwrap();
    let checkpoints = rig.last_kept().checkpoints.clone().unwrap();
    assert_eq!(checkpoints.len(), 2);
    for found in checkpoints {
        assert_eq!(
            rig.must(restore(&found.id)),
            Err(Refusal::RolledBack),
            "{found:?}"
        );
    }
    assert_eq!(rig.look().share, 0.0);
}

#[test]
fn a_checkpoint_is_restored_as_another_release_from_its_first_step() {
    let mut rig = Rig::new(ramped());
    rig.must(Order::Promote).unwrap();
    rig.must(checkpoint("at half")).unwrap();
    rig.must(apply(another())).unwrap();
    let standing = rig.must(restore("cp-1")).unwrap();
    assert_eq!((standing.share, standing.phase), (0.2, Phase::Progressing));
    assert_eq!(rig.last_kept().deployment.release, 3);
}

#[test]
fn there_are_never_more_than_ten_checkpoints() {
    let mut rig = Rig::new(config());
    for n in 0..25 {
        rig.must(checkpoint(&format!("number {n}"))).unwrap();
        let kept = rig.last_kept().checkpoints.as_ref().unwrap();
        assert_eq!(kept.len(), (n + 1).min(MAX_CHECKPOINTS));
        assert_eq!(kept.last().unwrap().id, format!("cp-{}", n + 1));
    }
}

#[test]
fn the_configuration_that_was_rolled_back_is_not_applied_by_accident() {
    let mut rig = Rig::new(config());
    rig.must(roll_back()).unwrap();
    assert_eq!(rig.must(apply(config())), Err(Refusal::SameAsRolledBack));
    let config = Arc::new(config());
    let again = true;
    assert!(rig.must(Order::Apply { config, again }).is_ok());
    assert_eq!(rig.look().share, 0.5);
}

/// Not by the way round another configuration either, nor by a checkpoint of it.
#[test]
fn what_was_rolled_back_stays_so_after_another_configuration() {
    let mut rig = Rig::new(config());
    rig.must(checkpoint("good")).unwrap();
    rig.must(apply(another())).unwrap();
    rig.must(Order::Apply {
        config: Arc::new(config()),
        again: true,
    })
    .unwrap();
    rig.must(roll_back()).unwrap();
    assert_eq!(rig.must(restore("cp-1")), Err(Refusal::RolledBack));
    rig.must(apply(another())).unwrap();
    assert_eq!(rig.must(apply(config())), Err(Refusal::SameAsRolledBack));
    let kept = rig.last_kept().deployment.clone();
    let resumed = Deployment::resumed(Some(kept.clone()), Arc::new(config()), None);
    assert_eq!(resumed.release, kept.release, "a file cannot say `again`");
}

/// The version that users are served by may not go back with the canary.
#[test]
fn a_rollback_stays_with_the_stable_version_there_is() {
    let mut rig = Rig::new(config());
    rig.must(Order::Promote).unwrap();
    let mut next = config();
    next.versions = ["v2", "v3"]
        .map(|name| VersionConfig {
            name: name.to_owned(),
            model: format!("model-{name}"),
            ..next.versions[STABLE].clone()
        })
        .into_iter()
        .collect();
    rig.must(apply(next)).unwrap();
    rig.must(roll_back()).unwrap();
    let kept = &rig.last_kept().deployment;
    assert_eq!(kept.config.name(kept.config.stable), "v2");
    assert_eq!(kept.share(), 0.0);
}
