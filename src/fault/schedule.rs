//! When a fault is on, and whom it hits.

use crate::fault::kind::FaultKind;
use crate::fault::pattern::Pattern;
use crate::id::{Seed, VersionId};
use crate::rng::{Purpose, draw};
use crate::time::Timestamp;
use crate::upstream::profile::Ask;

/// One fault on the timeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// What it does.
    pub kind: FaultKind,
    /// The versions it is on.
    pub on: Vec<VersionId>,
    /// When it starts.
    pub from: Timestamp,
    /// When it is over; never when absent.
    pub until: Option<Timestamp>,
    /// The share of attempts it hits while it is on, 0 to 1.
    pub share: f64,
    /// How it comes and goes between its start and its end.
    pub pattern: Pattern,
    /// Does a request meet it at all its versions, or at none?
    pub is_correlated: bool,
    /// Does it hit only requests that bring the beginning of their answer?
    pub only_prefilled: bool,
}

/// When the trouble of a version begins: with the first fault on it alone, else with the first that is on it as well.
pub fn trouble(faults: &[Fault], version: VersionId) -> Option<Timestamp> {
    let first = |is_cause: &dyn Fn(&&Fault) -> bool| {
        let starts = faults.iter().filter(is_cause).map(|fault| fault.from);
        starts.min()
    };
    let own = first(&|fault| fault.is_of_alone(version) && !fault.on.is_empty());
    own.or_else(|| first(&|fault| fault.on.contains(&version)))
}

impl Fault {
    /// A fault on these versions that hits everything, always.
    pub fn always(kind: FaultKind, on: Vec<VersionId>) -> Self {
        Self {
            kind,
            on,
            from: Timestamp::ZERO,
            until: None,
            share: 1.0,
            pattern: Pattern::Steady,
            is_correlated: false,
            only_prefilled: false,
        }
    }

    /// Is it on for this version at this moment? The start is inside, the end outside.
    pub fn is_on(&self, version: VersionId, at: Timestamp) -> bool {
        self.on.contains(&version) && self.from <= at && self.until.is_none_or(|end| at < end)
    }

    /// Is it on this version and no other? What hits others as well is the weather: whoever rolls a version back for it is wrong.
    pub fn is_of_alone(&self, version: VersionId) -> bool {
        self.on.iter().all(|on| *on == version)
    }

    /// Is this attempt one of those that it is about?
    fn concerns(&self, ask: &Ask) -> bool {
        ask.is_prefilled || !self.only_prefilled
    }

    /// Does it hit this attempt, taken at this moment, as the fault with this number?
    pub fn hits(&self, seed: Seed, index: u16, ask: &Ask, at: Timestamp) -> bool {
        if !self.is_on(ask.version, at) || !self.concerns(ask) {
            return false;
        }
        let after = at.since(self.from);
        let share = self.pattern.share(self.share, after, seed, index);
        // One draw for all versions, or one for each.
        let drawn_for = match self.is_correlated {
            true => VersionId::default(),
            false => ask.version,
        };
        let drawn = draw(seed, Purpose::Fault(index), ask.key, drawn_for, ask.nth);
        drawn.unit() < share
    }

    /// Is it on from the start of a run to its end, without a pause?
    pub fn is_always_on(&self) -> bool {
        self.from == Timestamp::ZERO && self.until.is_none() && self.pattern == Pattern::Steady
    }

    /// Does it hit everybody at this version at this moment, as the fault with this number?
    pub fn is_on_for_all(&self, seed: Seed, index: u16, version: VersionId, at: Timestamp) -> bool {
        let after = at.since(self.from);
        self.is_on(version, at) && self.pattern.share(self.share, after, seed, index) >= 1.0
    }

    /// The share of attempts that it hits over all its time.
    pub fn mean_share(&self) -> f64 {
        self.pattern.mean_share(self.share)
    }
}
