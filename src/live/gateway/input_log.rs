//! What went into the core, in order: fed to a fresh core of the same configuration and seed, it
//! gives the same actions and events. Every trouble in the field becomes a unit test.

use serde::{Deserialize, Serialize};

use crate::router::io::Input;
use crate::time::Timestamp;

/// How many inputs a log keeps before it is marked truncated.
pub const LIMIT: usize = 1_000_000;

/// One call of the core.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoggedCall {
    /// The time that was given.
    pub now: Timestamp,
    /// The input; none for a timeout.
    pub input: Option<Input>,
}

/// The calls of a core, appended in memory under the core's lock.
#[derive(Debug, Default)]
pub struct InputLog {
    calls: Vec<LoggedCall>,
    is_truncated: bool,
}

impl InputLog {
    /// Notes a call, while there is room.
    pub fn note(&mut self, now: Timestamp, input: Option<&Input>) {
        if self.calls.len() >= LIMIT {
            self.is_truncated = true;
            return;
        }
        self.calls.push(LoggedCall {
            now,
            input: input.cloned(),
        });
    }

    /// The calls so far, leaving the log empty but for its mark.
    pub fn take(&mut self) -> Vec<LoggedCall> {
        std::mem::take(&mut self.calls)
    }

    /// Are calls missing at the end?
    pub fn is_truncated(&self) -> bool {
        self.is_truncated
    }
}
