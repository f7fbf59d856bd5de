//! Routers that tell people of a rollback never, twice, or without its record. They keep and send what
//! [`Action::Persist`] says: a letter to each receiver for the rollback in it.

use graygate::router::io::Action;

use crate::broken::Defect;
use crate::catalogue::{Mutant, Source};

const TOLD: &str = "rollback-is-told-once";

pub(super) fn all() -> Vec<Mutant> {
    vec![
        Mutant::of_defect(
            "webhook-never",
            "rolls back, and tells nobody",
            Source::Entries(&[42], 11),
            |_| Mute,
        )
        .caught(TOLD, "notification", "told once"),
        Mutant::of_defect(
            "webhook-twice",
            "tells of one rollback twice",
            Source::Family(11),
            |_| Chatty(None),
        )
        .caught(TOLD, "notification", "told once"),
        Mutant::of_defect(
            "webhook-without-the-record",
            "tells of a rollback without its data",
            Source::Defect(14),
            |_| Terse,
        )
        .caught(TOLD, "notification", "the letter is the record"),
    ]
}

struct Mute;

impl Defect for Mute {
    fn action(&mut self, mut action: Action) -> Option<Action> {
        if let Action::Persist { change, .. } = &mut action {
            change.rollback = None;
        }
        Some(action)
    }
}

struct Chatty(Option<Action>);

impl Defect for Chatty {
    fn action(&mut self, action: Action) -> Option<Action> {
        if let Action::Persist { change, .. } = &action
            && change.rollback.is_some()
        {
            self.0 = Some(action.clone());
        }
        Some(action)
    }
    fn order(&mut self) -> Option<Action> {
        self.0.take()
    }
}

struct Terse;

impl Defect for Terse {
    fn action(&mut self, mut action: Action) -> Option<Action> {
        if let Action::Persist { change, .. } = &mut action
            && let Some(record) = &mut change.rollback
        {
            record.id.clear();
            record.affected_requests = 0;
        }
        Some(action)
    }
}
