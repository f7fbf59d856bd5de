//! When a fault is on, and whom it hits.

use crate::fault::kind::FaultKind;
use crate::id::VersionId;
use crate::time::Timestamp;

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
}

impl Fault {
    /// Is it on for this version at this moment? The start is inside, the end outside.
    pub fn is_on(&self, version: VersionId, at: Timestamp) -> bool {
        self.on.contains(&version) && self.from <= at && self.until.is_none_or(|end| at < end)
    }
}
