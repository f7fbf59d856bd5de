//! How fast the virtual engine is, records and verdict included: `cargo bench`.
//!
//! Runs split-proven-at-scale at 5,000 requests/s for 400 s of virtual time (2 million requests) on one
//! thread, three times for each setting of `--records`, and prints requests per second of real time and
//! the largest resident memory so far. It asserts nothing: figures depend on the machine.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock"
)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use graygate::experiment::Traffic;
use graygate::observe::event::{RunEvent, Sink};
use graygate::observe::meta::Engine;
use graygate::runner::{self, Records, RunOptions};
use graygate::scenario::{Scenario, compile};
use graygate::traffic::arrivals::Arrivals;
use graygate::traffic::course::Course;

struct Nobody;

impl Sink for Nobody {
    fn event(&mut self, _event: &RunEvent) {}
}

fn scenario() -> Scenario {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = root.join("scenarios/split-proven-at-scale.yaml");
    let (mut scenario, _) = compile::file(&file).expect("the shipped scenario");
    if let Traffic::Synthetic(config) = &mut scenario.experiment.traffic {
        config.duration = Duration::from_secs(400);
        if let Arrivals::Open(stages) = &mut config.arrivals {
            for stage in stages {
                stage.course = Course::Flat(5_000.0);
            }
        }
    }
    scenario
}

/// The largest resident memory of this process so far, in MB; none where the system does not say.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1_024)
}

fn main() {
    // `cargo test --benches` and `cargo bench -- --test` only want to know that it builds.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let scenario = scenario();
    let out = tempfile::tempdir().expect("a folder");
    for (name, records) in [
        ("none", Records::None),
        ("failures", Records::Failures),
        ("all", Records::All),
    ] {
        for round in 1..=3 {
            let options = RunOptions {
                out: Some(out.path().to_owned()),
                records: Some(records),
                ..RunOptions::new(Engine::Virtual)
            };
            let cancel = Arc::new(AtomicBool::new(false));
            let start = Instant::now();
            let output = runner::run(&scenario, &options, &mut Nobody, &cancel).expect("it runs");
            let took = start.elapsed().as_secs_f64();
            let sent = output.report.summary.sent;
            println!(
                "records {name:<8} round {round}: {sent} requests in {took:.2} s = {:.0} requests/s, \
                 peak memory {} MB, verdict {}",
                sent as f64 / took,
                peak_memory().map_or("?".to_owned(), |mb| mb.to_string()),
                output.report.verdict.status.name(),
            );
        }
    }
}
