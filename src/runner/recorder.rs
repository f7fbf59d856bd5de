//! Folds the events of a run as they come: rows to files, totals, timeline, gates. What it holds
//! follows the requests under way, not the length of the run.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use crate::observe::audit::AuditFindings;
use crate::observe::closing::Closing;
use crate::observe::event::{Finding, RollbackFacts, RunEvent, Sink, What};
use crate::observe::join::{Join, Joined};
use crate::observe::meta::{Ending, RunMeta};
use crate::observe::story::Story;
use crate::observe::summary::Summary;
use crate::observe::timeline::{Step, Timeline};
use crate::protocol::outcome::Outcome;
use crate::report::rows::{AttemptRows, RequestRows, TimelineRows};
use crate::report::{RecordsKept, Report, events, json, junit, markdown, plot};
use crate::runner::run_dir::{OutputError, RunDir};
use crate::runner::{ALL_RECORDS_BELOW, Records, RunOutput};
use crate::time::Timestamp;
use crate::verdict::evaluate::Evaluator;
use crate::verdict::spec::GateSpec;

/// How many of the judge's alarms the report keeps.
const ALARMS: usize = 100;

/// Listens to a run.
pub struct Recorder<'o> {
    meta: RunMeta,
    gates: Vec<GateSpec>,
    join: Join,
    summary: Summary,
    timeline: Timeline,
    evaluator: Evaluator,
    alarms: Vec<(Timestamp, Finding)>,
    audit: Option<AuditFindings>,
    /// Who hears in the ledgers that the canary was closed, where nobody says so.
    closing: Option<Closing>,
    files: Option<Files>,
    observer: &'o mut (dyn Sink + Send),
}

/// Which requests get a row.
#[derive(Clone, Copy, Debug)]
pub enum Keep {
    /// Those that were asked for, however many they are.
    Asked(Records),
    /// Those that seemed right for the run, as long as it is not too long for all of them.
    Chosen(Records),
}

impl Keep {
    /// What was kept in the end, after so many rows.
    fn kept(self, rows: u64) -> RecordsKept {
        let kept = match (self, self.after(rows)) {
            (Self::Chosen(Records::All), Records::Failures) => "all, then failures",
            (_, Records::All) => "all",
            (_, Records::Failures) => "failures",
            (_, Records::None) => "none",
        };
        RecordsKept { kept, rows }
    }

    /// Which ones, after so many rows.
    fn after(self, rows: u64) -> Records {
        match self {
            // A run of unknown length has turned out long.
            Self::Chosen(Records::All) if rows >= ALL_RECORDS_BELOW => Records::Failures,
            Self::Asked(records) | Self::Chosen(records) => records,
        }
    }
}

/// The files that are written while the run goes on.
struct Files {
    dir: RunDir,
    keep: Keep,
    rows: u64,
    requests: RequestRows<BufWriter<File>>,
    attempts: AttemptRows<BufWriter<File>>,
    timeline: TimelineRows<BufWriter<File>>,
    events: BufWriter<File>,
    /// The first trouble; nothing more is written after it.
    error: Option<OutputError>,
}

impl<'o> Recorder<'o> {
    /// A recorder that writes into `dir`, when there is one. All files are opened now, so that a
    /// folder that cannot be written to is found out before any traffic.
    ///
    /// # Errors
    /// When a file cannot be opened.
    pub fn new(
        meta: RunMeta,
        gates: &[GateSpec],
        dir: Option<RunDir>,
        keep: Keep,
        observer: &'o mut (dyn Sink + Send),
    ) -> Result<Self, OutputError> {
        let versions = meta.versions.len();
        let prices = meta.versions.values().map(|v| v.price).collect();
        Ok(Self {
            join: Join::default(),
            summary: Summary::new(versions, meta.faults.len())
                .with_prices(&prices)
                .with_faults(&meta.faults),
            timeline: Timeline::new(versions).with_prices(prices),
            evaluator: Evaluator::new(gates, (meta.canary, meta.canary_share), &meta.faults)
                .planned(meta.log.as_ref().map(|log| log.replayed)),
            alarms: Vec::new(),
            audit: None,
            closing: None,
            files: dir.map(|dir| Files::open(dir, keep, &meta)).transpose()?,
            gates: gates.to_vec(),
            meta,
            observer,
        })
    }

    /// The same for a run that was judged before: without the gates that every run has.
    #[must_use]
    pub fn again(mut self) -> Self {
        self.evaluator = Evaluator::only(&self.gates, self.meta.canary);
        self
    }

    /// Nobody says that the canary is closed: this hears it in the ledgers.
    pub fn hears(&mut self, closing: Closing) {
        self.closing = Some(closing);
    }

    /// The recorded log is another one than before the run.
    pub fn log_changed(&mut self) {
        self.evaluator.log_changed();
    }

    /// What an audit found.
    pub fn found(&mut self, findings: AuditFindings) {
        self.audit = Some(findings);
    }

    /// The end of the run: judges it and writes the rest of its files.
    pub fn finish(mut self, ending: Ending) -> RunOutput {
        let heard = self.closing.as_mut().and_then(Closing::finish);
        self.roll_back(self.summary.end, heard);
        for story in self.join.finish() {
            self.summary.unfinished(&story);
            self.evaluator.story(&story);
            if let Some(files) = &mut self.files {
                files.story(&self.meta, &story);
            }
        }
        let Self {
            meta,
            gates,
            summary,
            timeline,
            evaluator,
            alarms,
            audit,
            mut files,
            ..
        } = self;
        let series = timeline.finish(&mut |second| {
            if let Some(files) = &mut files {
                files.second(&meta, second);
            }
        });
        let report = Report {
            verdict: evaluator.finish(&summary, ending),
            reproduce: meta.command_line(&meta.command),
            records: match &files {
                Some(files) => files.keep.kept(files.rows),
                None => Keep::Asked(Records::None).kept(0),
            },
            meta,
            gates,
            summary,
            series,
            alarms,
            audit,
        };
        let (folder, output_error) = match files.map(|files| files.finish(&report)) {
            None => (None, None),
            Some(Ok(folder)) => (Some(folder), None),
            Some(Err(error)) => (None, Some(error)),
        };
        RunOutput {
            report,
            folder,
            output_error,
        }
    }
}

impl Recorder<'_> {
    /// Takes a rollback in that was heard of, if any was.
    fn roll_back(&mut self, at: Timestamp, heard: Option<RollbackFacts>) {
        if let Some(facts) = heard {
            let what = What::RolledBack(facts);
            self.event(&RunEvent { at, what });
        }
    }
}

impl Sink for Recorder<'_> {
    fn event(&mut self, event: &RunEvent) {
        let joined: Joined = self.join.event(event);
        let closing = self.closing.as_mut();
        let heard = closing.and_then(|closing| closing.event(event, &joined));
        self.summary.event(event, &joined);
        let (meta, files) = (&self.meta, &mut self.files);
        self.timeline.event(event, &joined, &mut |second| {
            if let Some(files) = files {
                files.second(meta, second);
            }
        });
        self.evaluator.event(event, &joined);
        if let What::Judged(finding) = &event.what
            && finding.violated
            && self.alarms.len() < ALARMS
        {
            self.alarms.push((event.at, finding.clone()));
        }
        if let Some(files) = &mut self.files {
            files.event(&self.meta, event, joined.story.as_ref());
        }
        self.observer.event(event);
        self.roll_back(event.at, heard);
    }
}

impl Files {
    fn open(dir: RunDir, keep: Keep, meta: &RunMeta) -> Result<Self, OutputError> {
        let wrap = |name: &'static str| {
            let path = dir.path(name);
            move |error: io::Error| OutputError::new(&path, error)
        };
        let requests =
            RequestRows::new(dir.file("requests.csv")?, meta).map_err(wrap("requests.csv"))?;
        let attempts =
            AttemptRows::new(dir.file("attempts.csv")?, meta).map_err(wrap("attempts.csv"))?;
        let timeline =
            TimelineRows::new(dir.file("timeline.csv")?, meta).map_err(wrap("timeline.csv"))?;
        let mut events = dir.file("events.jsonl")?;
        events::head(&mut events, meta).map_err(wrap("events.jsonl"))?;
        Ok(Self {
            events,
            requests,
            attempts,
            timeline,
            dir,
            keep,
            rows: 0,
            error: None,
        })
    }

    /// Does some writing, unless writing has failed before.
    fn attempt(&mut self, name: &str, write: impl FnOnce(&mut Self) -> io::Result<()>) {
        if self.error.is_some() {
            return;
        }
        if let Err(error) = write(self) {
            self.error = Some(OutputError::new(&self.dir.path(name), error));
        }
    }

    fn event(&mut self, meta: &RunMeta, event: &RunEvent, story: Option<&Story>) {
        self.attempt("events.jsonl", |files| {
            events::write(&mut files.events, meta, event)
        });
        if let Some(story) = story {
            self.story(meta, story);
        }
    }

    fn story(&mut self, meta: &RunMeta, story: &Story) {
        let is_wanted = match self.keep.after(self.rows) {
            Records::None => false,
            Records::Failures => has_failed(story),
            Records::All => true,
        };
        if !is_wanted {
            return;
        }
        self.rows += 1;
        self.attempt("requests.csv", |files| files.requests.write(meta, story));
        self.attempt("attempts.csv", |files| files.attempts.write(meta, story));
    }

    fn second(&mut self, meta: &RunMeta, second: &Step) {
        self.attempt("timeline.csv", |files| files.timeline.write(meta, second));
    }

    fn finish(mut self, report: &Report) -> Result<std::path::PathBuf, OutputError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let dir = self.dir;
        let wrap = |name: &str, result: io::Result<()>| {
            result.map_err(|error| OutputError::new(&dir.path(name), error))
        };
        wrap("requests.csv", self.requests.finish())?;
        wrap("attempts.csv", self.attempts.finish())?;
        wrap("timeline.csv", self.timeline.finish())?;
        wrap("events.jsonl", self.events.flush())?;
        dir.write("summary.json", &json::summary(report))?;
        dir.write("report.md", markdown::render(report).as_bytes())?;
        let xml = junit::render(&[report], &[]).map_err(io::Error::other);
        let xml = xml.map_err(|e| OutputError::new(&dir.path("junit.xml"), e))?;
        dir.write("junit.xml", xml.as_bytes())?;
        let plots = plot::all(report).map_err(io::Error::other);
        let plots = plots.map_err(|e| OutputError::new(&dir.path("plots"), e))?;
        for (name, svg) in plots {
            dir.write(name, svg.as_bytes())?;
        }
        match report.verdict.interrupted {
            true => dir.finish_interrupted(),
            false => dir.finish(),
        }
    }
}

fn has_failed(story: &Story) -> bool {
    let is_failure = |outcome: Option<Outcome>| outcome != Some(Outcome::Success);
    is_failure(story.outcome()) || story.attempts.iter().any(|a| is_failure(a.truth()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_asked_for_is_cut_in_a_long_run() {
        let long = ALL_RECORDS_BELOW;
        assert_eq!(Keep::Asked(Records::All).after(long), Records::All);
        assert_eq!(Keep::Chosen(Records::All).after(long - 1), Records::All);
        assert_eq!(Keep::Chosen(Records::All).after(long), Records::Failures);
        assert_eq!(Keep::Chosen(Records::None).after(long), Records::None);
    }
}
