//! Does an audit, and leaves a run directory behind like any run.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::audit::survey::Walk;
use crate::audit::telling::Telling;
use crate::audit::tried::Tried;
use crate::canonical;
use crate::config::diagnostic::Diagnostic;
use crate::id::Seed;
use crate::observe::audit::AuditFindings;
use crate::observe::event::Sink;
use crate::observe::meta::{Ending, RunMeta, VersionMeta};
use crate::runner::recorder::{Keep, Recorder};
use crate::runner::run_dir::{OutputError, RunDir};
use crate::runner::{ALL_RECORDS_BELOW, Records, RunOutput};
use crate::scenario::audit::Audit;

/// Why an audit could not be done.
#[derive(Debug)]
pub enum AuditError {
    /// The run directory cannot be written.
    Output(OutputError),
    /// The log cannot be read any more.
    Log(Diagnostic),
}

/// Tells a log that was looked through, to its end or until `cancel` is set, and judges it.
///
/// # Errors
/// When the run directory cannot be made, or the log cannot be read a second time.
pub fn run(
    audit: &Audit,
    out: Option<PathBuf>,
    records: Option<Records>,
    observer: &mut (dyn Sink + Send),
    cancel: &Arc<AtomicBool>,
) -> Result<RunOutput, AuditError> {
    let dir = out.map(|out| RunDir::create(&out, &audit.name, &folder(audit)));
    let dir = dir.transpose().map_err(AuditError::Output)?;
    let keep = match records {
        Some(records) => Keep::Asked(records),
        None => Keep::Chosen(match audit.survey.requests >= ALL_RECORDS_BELOW {
            true => Records::Failures,
            false => Records::All,
        }),
    };
    let recorder = Recorder::new(meta(audit), &audit.gates, dir, keep, observer);
    let mut recorder = recorder.map_err(AuditError::Output)?;
    let findings = tell(audit, &mut recorder, cancel).map_err(AuditError::Log)?;
    recorder.found(findings);
    if audit.has_log_changed() {
        recorder.log_changed();
    }
    Ok(recorder.finish(match cancel.load(Ordering::Relaxed) {
        true => Ending::Interrupted,
        false => Ending::Complete,
    }))
}

fn tell(
    audit: &Audit,
    sink: &mut dyn Sink,
    cancel: &Arc<AtomicBool>,
) -> Result<AuditFindings, Diagnostic> {
    let mut telling = Telling::new(&audit.terms, &audit.survey, sink);
    let mut walk = Walk::new(audit.cut());
    audit.read(cancel, &mut |record| {
        let Ok(record) = record else { return };
        record.at.into_iter().for_each(|at| walk.saw(at));
        if let Ok(tried) = Tried::read(&record, audit.names()) {
            walk.push(tried, &mut |step| telling.take(&step));
        }
    })?;
    walk.finish(&mut |step| telling.take(&step));
    Ok(telling.finish(walk.overlapping(), audit.strangers.clone()))
}

/// `audit`, with the fingerprint of the log and of what it is held against.
fn folder(audit: &Audit) -> String {
    let fingerprint: String = audit.sha256.chars().take(8).collect();
    format!("audit-{fingerprint}")
}

fn meta(audit: &Audit) -> RunMeta {
    let router = &audit.terms.router;
    let versions = router.versions.values().map(|version| VersionMeta {
        name: version.name.clone(),
        model: version.model.clone(),
        price: version.price,
        upstream: "recorded",
    });
    RunMeta {
        scenario: audit.name.clone(),
        title: audit.title.clone(),
        description: None,
        engine: None,
        seed: Seed(0),
        scenario_sha256: audit.sha256.clone(),
        router_sha256: canonical::sha256(&**router),
        graygate: env!("CARGO_PKG_VERSION"),
        gateway: None,
        versions: versions.collect(),
        stable: router.stable,
        canary: router.canary,
        canary_share: router.canary_share(),
        faults: Vec::new(),
        orders: Vec::new(),
        has_streams: audit.survey.has_streams,
        planned_end: Some(audit.survey.end),
        log: Some(audit.log.clone()),
        command: audit.command.clone(),
    }
}
