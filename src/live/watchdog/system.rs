//! What Linux counts of waiting for processors. Elsewhere, and where a file is missing, nothing is known.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use crate::live::clock::Clock;
use crate::observe::machine::SystemFacts;
use crate::time::Timestamp;

/// The system's counters at one moment; they only ever grow.
#[derive(Debug)]
pub(super) struct Counters {
    clock: Clock,
    at: Timestamp,
    /// Of every thread of this program: how long it was ready to run and did not, in ns.
    run_delays: Option<BTreeMap<String, u64>>,
    processors: Option<Processors>,
    /// How long anybody was ready to run and did not, in µs.
    pressure: Option<u64>,
}

/// The time of all processors, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Processors {
    all: u64,
    stolen: u64,
}

impl Counters {
    /// Reads them.
    pub(super) fn now() -> Self {
        let clock = Clock::starting_now();
        Self {
            clock,
            at: clock.now(),
            run_delays: run_delays(),
            processors: read("/proc/stat").and_then(|text| processors(&text)),
            pressure: read("/proc/pressure/cpu").and_then(|text| pressure(&text)),
        }
    }

    /// What they say of the time since then.
    pub(super) fn since(&self, before: &Self) -> SystemFacts {
        let length = before.clock.now().since(before.at);
        SystemFacts {
            run_delay: both(&self.run_delays, &before.run_delays)
                .map(|(now, then)| Duration::from_nanos(waited(now, then))),
            steal: both(&self.processors, &before.processors)
                .and_then(|(now, then)| stolen(*now, *then)),
            pressure: both(&self.pressure, &before.pressure).and_then(|(now, then)| {
                share(Duration::from_micros(now.saturating_sub(*then)), length)
            }),
        }
    }
}

fn both<'a, T>(now: &'a Option<T>, then: &'a Option<T>) -> Option<(&'a T, &'a T)> {
    now.as_ref().zip(then.as_ref())
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// The file of the process tells of its first thread only.
fn run_delays() -> Option<BTreeMap<String, u64>> {
    let threads = fs::read_dir("/proc/self/task").ok()?;
    let delays = threads.filter_map(|thread| {
        let thread = thread.ok()?;
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        Some((thread.file_name().display().to_string(), run_delay(&text)?))
    });
    let delays: BTreeMap<String, u64> = delays.collect();
    (!delays.is_empty()).then_some(delays)
}

/// `33480 31820 2`: ns on a processor, ns of waiting for one, turns.
fn run_delay(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().nth(1)?.parse().ok()
}

/// A thread that has ended meanwhile takes its time with it; a new one has begun at 0.
fn waited(now: &BTreeMap<String, u64>, then: &BTreeMap<String, u64>) -> u64 {
    let threads = now.iter();
    let waited = threads.map(|(thread, delay)| {
        let before = then.get(thread).copied().unwrap_or_default();
        delay.saturating_sub(before)
    });
    waited.sum()
}

/// `cpu user nice system idle iowait irq softirq steal guest guest_nice`; guests are counted among users.
fn processors(stat: &str) -> Option<Processors> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields: Option<Vec<u64>> = line.split_whitespace().map(|f| f.parse().ok()).collect();
    let fields = fields?;
    Some(Processors {
        all: fields.iter().take(8).sum(),
        stolen: *fields.get(7)?,
    })
}

fn stolen(now: Processors, then: Processors) -> Option<f64> {
    let all = now.all.checked_sub(then.all).filter(|n| *n > 0)?;
    Some(now.stolen.saturating_sub(then.stolen) as f64 / all as f64)
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=123456`
fn pressure(cpu: &str) -> Option<u64> {
    let line = cpu.lines().find(|line| line.starts_with("some "))?;
    line.rsplit_once("total=")?.1.trim().parse().ok()
}

fn share(part: Duration, whole: Duration) -> Option<f64> {
    (whole > Duration::ZERO).then(|| part.div_duration_f64(whole).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_words_are_understood() {
        assert_eq!(run_delay("33480 31820 2\n"), Some(31_820));
        let stat = "cpu  100 20 30 800 5 0 7 38 60 2\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        let expected = Processors {
            all: 1_000,
            stolen: 38,
        };
        assert_eq!(processors(stat), Some(expected));
        let cpu = "some avg10=97.40 avg60=90.23 avg300=42.93 total=23385221947\nfull avg10=0.00 total=0\n";
        assert_eq!(pressure(cpu), Some(23_385_221_947));
    }

    #[test]
    fn what_is_not_told_is_not_known() {
        for text in [
            "",
            "cpu  1 2 3\n",
            "cpu  a b\n",
            "some total=x\n",
            "full total=1\n",
        ] {
            assert_eq!((processors(text), pressure(text)), (None, None), "{text}");
        }
        assert_eq!(run_delay("12\n"), None);
        assert_eq!(share(Duration::ZERO, Duration::ZERO), None);
    }

    #[test]
    fn counters_are_told_by_how_much_they_grew() {
        let then = Processors {
            all: 1_000,
            stolen: 10,
        };
        let now = Processors {
            all: 1_400,
            stolen: 110,
        };
        assert_eq!(stolen(now, then), Some(0.25));
        assert_eq!(stolen(then, then), None);
        let delays = |list: &[(&str, u64)]| {
            let pairs = list.iter().map(|(name, n)| ((*name).to_owned(), *n));
            pairs.collect::<BTreeMap<_, _>>()
        };
        let then = delays(&[("1", 100), ("2", 50)]);
        assert_eq!(waited(&delays(&[("1", 130), ("3", 7)]), &then), 37);
    }
}
