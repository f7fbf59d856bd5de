//! How the machine treated a live run, in files.

use std::fmt::{self, Write};

use serde_json::{Value, json};

use crate::observe::machine::MachineFacts;
use crate::report::Report;
use crate::time::{Human, millis_f64};
use crate::verdict::result::{grouped, percent};

/// `machine` of `summary.json`; null is what the system does not tell.
pub(super) fn json(facts: &MachineFacts) -> Value {
    json!({
        "moments": facts.moments,
        "wake_delay_p99_ms": facts.wake_delay_p99.map(millis_f64),
        "longest_stall_ms": facts.stall.map(|s| millis_f64(s.length)),
        "longest_stall_until_s": facts.stall.map(|s| s.until.as_secs_f64()),
        "run_delay_s": facts.system.run_delay.map(|d| d.as_secs_f64()),
        "steal": facts.system.steal,
        "cpu_pressure": facts.system.pressure,
    })
}

/// A line of `report.md`.
pub(super) fn markdown(text: &mut String, report: &Report) -> fmt::Result {
    let Some(facts) = &report.summary.machine else {
        return Ok(());
    };
    let (Some(delay), Some(stall)) = (facts.wake_delay_p99, facts.stall) else {
        return Ok(());
    };
    write!(
        text,
        "**Machine**: over {} moments, 5 ms apart, whoever waited was woken {} late (p99), the longest stall was {}, until {}",
        grouped(facts.moments),
        Human(delay),
        Human(stall.length),
        Human(stall.until.elapsed()),
    )?;
    for words in system(facts) {
        write!(text, "; {words}")?;
    }
    writeln!(text, ".\n")
}

fn system(facts: &MachineFacts) -> impl Iterator<Item = String> {
    let system = facts.system;
    let waited = system.run_delay;
    let waited = waited.map(|d| format!("its threads waited {} for a processor", Human(d)));
    let pressure = system.pressure;
    let pressure = pressure.map(|p| format!("somebody on it did for {} % of the time", percent(p)));
    let steal = system.steal;
    let steal = steal.map(|s| format!("others took {} % of its processors", percent(s)));
    [waited, pressure, steal].into_iter().flatten()
}
