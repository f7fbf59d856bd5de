//! The first look through a log that is audited.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use sha2::{Digest, Sha256};

use crate::audit::Terms;
use crate::audit::survey::{Cut, Step, Survey, Walk};
use crate::audit::tried::{Lacking, Names, Tried, name_of};
use crate::config::diagnostic::Diagnostic;
use crate::observe::meta::LogMeta;
use crate::scenario::audit::{AuditRequest, Gate};
use crate::scenario::load::Loader;
use crate::scenario::log_file::{self, Opened, Stamp};
use crate::scenario::recorded;
use crate::scenario::run_folder;
use crate::traffic::format::opened::Packing;
use crate::traffic::format::{BadRow, Format, Record};
use crate::traffic::log::account::LogAccount;
use crate::verdict::result::grouped;

/// Names of strangers that are counted, and of these those that are shown.
const MOST_STRANGERS: usize = 1_000;
const SHOWN_STRANGERS: usize = 5;

/// What a look through the log found.
pub(super) struct Looked {
    pub(super) survey: Survey,
    pub(super) gate: Gate,
    pub(super) meta: LogMeta,
    pub(super) strangers: Vec<(String, u64)>,
    pub(super) format: &'static Format,
    pub(super) stamp: Option<Stamp>,
}

/// What of the log is asked for.
pub(super) fn cut(request: &AuditRequest) -> Cut {
    Cut {
        from: request.from,
        to: request.to,
        within: request.within,
    }
}

pub(super) fn look(
    request: &AuditRequest,
    terms: &Terms,
    names: &Names,
    loader: &Loader,
    stop: &Arc<AtomicBool>,
) -> Result<Looked, Diagnostic> {
    let name = || request.log.display().to_string();
    let problem = |message: &str| Diagnostic::file(name(), message);
    let file = loader.open(&request.log)?.into_inner();
    if !file.metadata().is_ok_and(|meta| meta.is_file()) {
        let hint = "save it to a file first";
        return Err(problem("an audit reads its log twice, which no pipe allows").hint(hint));
    }
    let stamp = Stamp::of(&file);
    let known = request.format.known();
    let opened = open(request, file)?;
    let (format, because, packing) = (opened.format, opened.because, opened.packing);
    if format.name == "graygate_attempts" && run_folder::kept_all(&request.log) == Some(false) {
        let hint = "run it again with --records all";
        return Err(problem("the run kept only some of its records").hint(hint));
    }
    let mut scan = Scan::new(request, terms);
    let mut reader = opened.stoppable(stop.clone());
    let read = (format.read)(&mut reader, &mut |record| scan.take(&record, names));
    read.map_err(|e| recorded::unusable(name(), e.into(), known))?;
    scan.finish();
    if scan.survey.requests == 0 {
        return Err(nothing(request, &scan, names));
    }
    loader.note(scan.hasher.clone().finalize().to_vec());
    Ok(Looked {
        gate: scan.gate(),
        meta: scan.meta(request, (format, because, packing)),
        strangers: scan.commonest(),
        survey: scan.survey,
        format,
        stamp,
    })
}

fn open(request: &AuditRequest, file: File) -> Result<Opened, Diagnostic> {
    let known = request.format.known();
    let name = request.log.display().to_string();
    log_file::open(file, known).map_err(|e| recorded::unusable(name, e, known))
}

/// Why there is nothing to audit.
fn nothing(request: &AuditRequest, scan: &Scan, names: &Names) -> Diagnostic {
    let problem = |message: String| Diagnostic::file(request.log.display().to_string(), message);
    let looked_for: Vec<&str> = names.keys().map(String::as_str).collect();
    let looked_for = looked_for.join(", ");
    if scan.account.read == 0 {
        return problem("the log holds no record".to_owned());
    }
    if !scan.strangers.is_empty() {
        let seen = shown(&scan.commonest());
        let message = format!("nobody in the log has any of these names: {looked_for}");
        let hint = format!("it has {seen}: say who is who with --stable NAME --canary NAME");
        return problem(message).hint(hint);
    }
    let reasons: Vec<String> = scan
        .useless()
        .iter()
        .map(|(reason, n)| format!("{} {reason}", grouped(*n)))
        .collect();
    let (before, after) = scan.walk.left_out;
    let message = match (reasons.is_empty(), before + after) {
        (true, 0) => "the log holds no request of these versions".to_owned(),
        (true, n) => format!(
            "all of its {} requests are outside --from and --to",
            grouped(n)
        ),
        (false, _) => format!("no record says enough: {}", reasons.join(", ")),
    };
    let hint = "a log for an audit says when each attempt began, who was tried, how it ended and how long it took; of \
                graygate's own runs, that is attempts.csv";
    problem(message).hint(hint)
}

/// Names with their numbers, for people.
pub(super) fn shown(names: &[(String, u64)]) -> String {
    let some = names.iter().take(SHOWN_STRANGERS);
    let some: Vec<String> = some
        .map(|(name, n)| format!("{name} ({})", grouped(*n)))
        .collect();
    match names.len() > SHOWN_STRANGERS {
        true => format!("{}, …", some.join(", ")),
        false => some.join(", "),
    }
}

struct Scan {
    account: LogAccount,
    lacking: BTreeMap<Lacking, u64>,
    strangers: BTreeMap<String, u64>,
    walk: Walk,
    survey: Survey,
    hasher: Sha256,
    inversions: u64,
    last: Option<i64>,
}

impl Scan {
    fn new(request: &AuditRequest, terms: &Terms) -> Self {
        let router = &terms.router;
        Self {
            account: LogAccount::default(),
            lacking: BTreeMap::new(),
            strangers: BTreeMap::new(),
            walk: Walk::new(cut(request)),
            survey: Survey::new(router.versions.len(), router.canary),
            hasher: Sha256::new(),
            inversions: 0,
            last: None,
        }
    }

    fn take(&mut self, record: &Result<Record, BadRow>, names: &Names) {
        self.account.take(record);
        let Ok(record) = record else { return };
        match Tried::read(record, names) {
            Ok(tried) => self.tried(tried),
            Err(lacking) => {
                *self.lacking.entry(lacking).or_default() += 1;
                if lacking == Lacking::KnownVersion {
                    self.stranger(name_of(record).unwrap_or_default());
                }
            }
        }
    }

    fn tried(&mut self, tried: Tried) {
        // All of it, as it was read: two logs of one fingerprint are judged alike.
        self.hasher.update(format!("{tried:?}"));
        self.inversions += u64::from(self.last.is_some_and(|last| tried.at < last));
        self.last = Some(tried.at);
        let survey = &mut self.survey;
        self.walk.push(tried, &mut |step: Step| survey.take(&step));
    }

    fn finish(&mut self) {
        let survey = &mut self.survey;
        self.walk.finish(&mut |step: Step| survey.take(&step));
    }

    fn stranger(&mut self, name: &str) {
        if let Some(n) = self.strangers.get_mut(name) {
            *n += 1;
        } else if self.strangers.len() < MOST_STRANGERS {
            self.strangers.insert(name.to_owned(), 1);
        }
    }

    fn commonest(&self) -> Vec<(String, u64)> {
        let mut all: Vec<(String, u64)> = self
            .strangers
            .iter()
            .map(|(name, n)| (name.clone(), *n))
            .collect();
        all.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        all
    }

    /// Attempts of others say nothing of these versions, and nothing against the log.
    fn others(&self) -> u64 {
        let others = self.lacking.get(&Lacking::KnownVersion);
        others.copied().unwrap_or_default()
    }

    fn useless(&self) -> Vec<(&'static str, u64)> {
        let damaged = self.account.dropped.iter();
        let damaged = damaged.filter(|(reason, _)| reason.is_damage());
        let damaged = damaged.map(|(reason, n)| (reason.name(), *n));
        let lacking = self.lacking.iter();
        let lacking = lacking.filter(|(lacking, _)| **lacking != Lacking::KnownVersion);
        damaged
            .chain(lacking.map(|(lacking, n)| (lacking.name(), *n)))
            .collect()
    }

    fn gate(&self) -> Gate {
        let no_chats = self.account.dropped_total() - self.account.damaged_total();
        Gate {
            records: self.account.read - no_chats - self.others(),
            useless: self.useless(),
            too_late: self.walk.too_late(),
            forgotten: self.walk.forgotten(),
        }
    }

    fn meta(
        &self,
        request: &AuditRequest,
        (format, because, packing): (&'static Format, Option<&'static str>, Packing),
    ) -> LogMeta {
        let account = &self.account;
        let failed = account.failed.iter().map(|(end, n)| (end.name(), *n));
        let dropped = account.dropped.iter().map(|(why, n)| (why.name(), *n));
        let lacking = self.lacking.iter().map(|(why, n)| (why.name(), *n));
        let (before, after) = self.walk.left_out;
        let cut = [("before_from", before), ("after_to", after)];
        let file = request.log.file_name().unwrap_or(request.log.as_os_str());
        LogMeta {
            file: file.to_string_lossy().into_owned(),
            format: format.name,
            times: format.times,
            origin: self.walk.zero().map(recorded::origin),
            detected: because,
            packed: packing.name(),
            speed: "1x".to_owned(),
            read: account.read,
            replayed: self.survey.requests,
            merged: 0,
            cut_short: 0,
            scale_rate: None,
            copies: 0,
            rounds: None,
            repeated: 0,
            streams: 0,
            dropped: dropped
                .chain(lacking)
                .chain(cut.into_iter().filter(|(_, n)| *n > 0))
                .collect(),
            inversions: self.inversions,
            ended: account.ended,
            failed: failed.collect(),
            recorded: self.survey.spacing.spacing(),
            spread_s: None,
            gap_distance: None,
        }
    }
}
