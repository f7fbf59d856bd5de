//! `memory`: what the router keeps does not grow with the traffic it has seen.

use crate::observe::event::{RunEvent, What};
use crate::observe::join::Joined;
use crate::stats::compare::Comparison;
use crate::verdict::gates::{End, Gate};
use crate::verdict::result::{Check, GateResult, Status, grouped};

/// The gate at work.
pub struct MemoryGate {
    limit: Comparison<u64>,
    looks: u64,
    most: u64,
}

impl MemoryGate {
    /// A gate with this limit on the bytes that the router holds.
    pub fn new(limit: Comparison<u64>) -> Self {
        Self {
            limit,
            looks: 0,
            most: 0,
        }
    }
}

impl Gate for MemoryGate {
    fn event(&mut self, event: &RunEvent, _joined: &Joined) {
        if let What::Memory { bytes, .. } = event.what {
            self.looks += 1;
            self.most = self.most.max(bytes as u64);
        }
    }

    fn finish(&self, _end: &End<'_>) -> GateResult {
        let status = if self.limit.holds(self.most) {
            Status::Pass
        } else {
            Status::Fail
        };
        let seen = format!("at most {}", bytes(self.most));
        let condition = format!("router {} {}", self.limit.op, bytes(self.limit.bound));
        let check = Check::census(condition, status, seen)
            .figure(Some(self.most as f64), "bytes", self.looks)
            .needs(self.looks, 1);
        GateResult::of("memory", vec![check])
    }
}

/// `640 B`, `50 KiB`, `1.5 MiB`.
fn bytes(n: u64) -> String {
    match n {
        0..1_024 => format!("{n} B"),
        1_024..1_048_576 => format!("{} KiB", grouped(n.div_ceil(1_024))),
        _ => format!("{:.1} MiB", n as f64 / 1_048_576.0),
    }
}
