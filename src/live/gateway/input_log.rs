//! What went into the core, in order: fed to a fresh core of the same configuration and seed, it
//! gives the same actions and events. Every trouble in the field becomes a unit test.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use crate::id::Seed;
use crate::live::store::beginning::Beginning;
use crate::router::core::Core;
use crate::router::io::{Action, Event, Input};
use crate::time::Timestamp;

/// The name and version of the file format.
pub const FORMAT: &str = "graygate.inputs/1";
/// The last line of a file that lost calls: those before it can be repeated, the rest is unknown.
pub const TRUNCATED: &str = r#"{"truncated":true}"#;
/// How many calls wait in memory before the log is marked truncated.
pub const LIMIT: usize = 1_000_000;

/// The first line of the file: what a core needs to be given the calls again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogHeader {
    /// [`FORMAT`].
    pub format: String,
    /// The core's seed.
    pub seed: Seed,
    /// The fingerprint of the router's configuration.
    pub router_sha256: String,
    /// Where the core began.
    pub beginning: Beginning,
}

/// One call of the core.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoggedCall {
    /// The time that was given, in nanoseconds since the start.
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
    /// Notes a call, while there is room. Once one is missing, the rest is of no use.
    pub fn note(&mut self, now: Timestamp, input: Option<&Input>) {
        self.is_truncated |= self.calls.len() >= LIMIT;
        if !self.is_truncated {
            self.calls.push(LoggedCall {
                now,
                input: input.cloned(),
            });
        }
    }

    /// The calls since the last time, and whether calls are missing after them.
    pub fn take(&mut self) -> (Vec<LoggedCall>, bool) {
        (std::mem::take(&mut self.calls), self.is_truncated)
    }
}

/// Writes calls, a JSON object a line, and [`TRUNCATED`] when calls are missing after them.
///
/// # Errors
/// When writing fails.
pub fn write(writer: &mut impl Write, calls: &[LoggedCall], is_truncated: bool) -> io::Result<()> {
    for call in calls {
        serde_json::to_writer(&mut *writer, call)?;
        writer.write_all(b"\n")?;
    }
    if is_truncated {
        writeln!(writer, "{TRUNCATED}")?;
    }
    writer.flush()
}

/// What a core said to one call.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Said {
    /// What it wanted done.
    pub actions: Vec<Action>,
    /// What it had to tell.
    pub events: Vec<Event>,
}

/// Everything a core says now.
pub fn listen(core: &mut dyn Core) -> Said {
    Said {
        actions: std::iter::from_fn(|| core.poll_action()).collect(),
        events: std::iter::from_fn(|| core.poll_event()).collect(),
    }
}

/// Gives a core the calls of a log again, and collects what it says to each.
pub fn replay(core: &mut dyn Core, calls: &[LoggedCall]) -> Vec<Said> {
    let again = |call: &LoggedCall| {
        match &call.input {
            Some(input) => core.handle(call.now, input.clone()),
            None => core.handle_timeout(call.now),
        }
        listen(core)
    };
    calls.iter().map(again).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_lost_calls_ends_with_a_word_of_it() {
        let mut log = InputLog::default();
        log.note(Timestamp(1), None);
        log.is_truncated = true;
        log.note(Timestamp(2), None);
        let (calls, is_truncated) = log.take();
        let mut file = Vec::new();
        write(&mut file, &calls, is_truncated).unwrap();
        let text = String::from_utf8(file).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(
            serde_json::from_str::<LoggedCall>(lines[0]).unwrap(),
            calls[0]
        );
        assert_eq!(lines[1], TRUNCATED);
        assert!(serde_json::from_str::<LoggedCall>(TRUNCATED).is_err());
    }

    #[test]
    fn a_whole_log_has_no_such_line() {
        let mut log = InputLog::default();
        log.note(Timestamp(1), None);
        let (calls, is_truncated) = log.take();
        let mut file = Vec::new();
        write(&mut file, &calls, is_truncated).unwrap();
        assert_eq!(String::from_utf8(file).unwrap().lines().count(), 1);
    }
}
