//! The places of upstreams that do only so much at once, and who has them.

use crate::fault::inject::Response;
use crate::id::{AttemptId, PerVersion, VersionId};
use crate::sim::flight::Place;
use crate::upstream::capacity::{Entry, Line};
use crate::upstream::profile::Profile;

/// One line a version; none where there is room for any number.
pub(super) struct Places(PerVersion<Option<Line<AttemptId>>>);

impl Places {
    /// All of them are free.
    pub(super) fn new(profiles: &PerVersion<Profile>) -> Self {
        let lines = profiles.values().map(|p| p.capacity.map(Line::new));
        Self(lines.collect())
    }

    /// An attempt comes to an upstream. Where there is no room for it, it gets another answer.
    pub(super) fn enter(
        &mut self,
        version: VersionId,
        attempt: AttemptId,
        response: &mut Response,
    ) -> Place {
        let Some(line) = self.0[version].as_mut() else {
            return Place::Any;
        };
        if !response.plan.needs_place() {
            return Place::Any;
        }
        match line.enter(attempt) {
            Entry::Begins => Place::Has,
            Entry::Waits(ticket) => Place::Waits(ticket),
            Entry::Full => {
                response.plan = line.when_full().plan();
                response.fault = None;
                response.is_told = None;
                Place::Any
            }
        }
    }

    /// An attempt is over; the one that is returned has its place now.
    pub(super) fn leave(&mut self, version: VersionId, place: Place) -> Option<AttemptId> {
        let line = self.0[version].as_mut()?;
        match place {
            Place::Any => None,
            Place::Has => line.leave(),
            Place::Waits(ticket) => {
                line.give_up(ticket);
                None
            }
        }
    }
}
