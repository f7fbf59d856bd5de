//! Gates that another gateway has nothing to show for: they ask for the router's own word, and it says none. Such a
//! gate is never passed: it is inconclusive, and no number of requests would settle it.

use crate::verdict::gates::{End, Gate};
use crate::verdict::result::{Check, GateResult, Status};

/// A gate that nobody can judge.
pub struct UnsupportedGate {
    name: &'static str,
    why: &'static str,
}

impl UnsupportedGate {
    /// The gate of this name, for this reason.
    pub fn new(name: &'static str, why: &'static str) -> Self {
        Self { name, why }
    }
}

impl Gate for UnsupportedGate {
    fn finish(&self, _end: &End<'_>) -> GateResult {
        let seen = format!("not supported: {}", self.why);
        let check = Check::census("not supported", Status::Inconclusive, seen);
        GateResult::of(self.name, vec![check])
    }
}
