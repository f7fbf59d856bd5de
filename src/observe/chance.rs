//! Which requests could have met the canary. A caller who stays where chance once put them is no new chance as long as they are
//! seen on the same version.

use std::collections::BTreeMap;

use crate::id::VersionId;
use crate::observe::join::FirstAttempt;
use crate::traffic::caller::Intent;

/// Where callers who stay were seen last.
#[derive(Clone, Debug, Default)]
pub struct Chances {
    places: BTreeMap<u32, VersionId>,
}

impl Chances {
    /// Did chance decide where this request went, and just now? The caller is there from now on.
    pub fn is_new(&mut self, first: &FirstAttempt) -> bool {
        match first.sent.map(|sent| sent.intent) {
            Some(Intent::Sticky(caller)) => {
                self.places.insert(caller, first.version) != Some(first.version)
            }
            _ => first.is_randomised(),
        }
    }
}
