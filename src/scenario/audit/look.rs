//! The first look through a log that is audited.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::audit::Terms;
use crate::audit::survey::{Cut, Step, Survey, Walk};
use crate::audit::tried::{Lacking, Names, Tried, name_of};
use crate::config::diagnostic::{Diagnostic, Problems};
use crate::observe::meta::LogMeta;
use crate::scenario::audit::{AuditRequest, Gate};
use crate::scenario::load::Loader;
use crate::scenario::log_file::{self, Opened, Stamp};
use crate::scenario::recorded;
use crate::scenario::run_folder;
use crate::traffic::format::opened::Packing;
use crate::traffic::format::{BadRow, Format, Record};
use crate::traffic::log::account::LogAccount;
use crate::traffic::log::requests::LIMIT;
use crate::verdict::result::grouped;

/// Names of strangers that are counted, and of these those that are shown.
const MOST_STRANGERS: usize = 1_000;
const SHOWN_STRANGERS: usize = 5;

/// What a look through the log found.
pub(super) struct Looked {
    pub(super) survey: Survey,
    pub(super) cut: Cut,
    pub(super) gate: Gate,
    pub(super) meta: LogMeta,
    pub(super) strangers: Vec<(String, u64)>,
    pub(super) format: &'static Format,
    pub(super) stamp: Option<Stamp>,
}

/// How long after a failure another attempt of a trace is of the same request, where traces may hold many: as long as gateways wait
/// before they try again, and less than people and agents take to go on.
const WITHIN: Duration = Duration::from_secs(5);

/// What of the log is asked for.
fn cut(request: &AuditRequest, format: &Format) -> Cut {
    // In our own logs, a trace is a request.
    let usual = match format.name.starts_with("graygate") {
        true => LIMIT,
        false => WITHIN,
    };
    Cut {
        from: request.from,
        to: request.to,
        within: request.within.unwrap_or(usual),
    }
}

/// Looks through the log. None means that its damaged rows were reported.
pub(super) fn look(
    request: &AuditRequest,
    terms: &Terms,
    names: &Names,
    loader: &Loader,
    problems: &Problems,
    stop: &Arc<AtomicBool>,
) -> Result<Option<Looked>, Diagnostic> {
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
    let cut = cut(request, format);
    let mut scan = Scan::new(cut, terms);
    let mut reader = opened.stoppable(stop.clone());
    let read = (format.read)(&mut reader, &mut |record| scan.take(&record, names));
    read.map_err(|e| recorded::unusable(name(), e.into(), known))?;
    scan.finish();
    if recorded::is_damaged(&scan.account) {
        recorded::report_bad_rows(&name(), &scan.account, problems);
        return Ok(None);
    }
    if scan.survey.requests == 0 {
        return Err(nothing(request, &scan, names));
    }
    if let Some(problem) = unseen(request, &scan) {
        return Err(problem);
    }
    if scan.survey.spacing.span() > recorded::MAX_SPAN {
        let problem =
            problem("its rows span more than ten years: some of their times must be wrong");
        return Err(problem.hint("--from and --to leave out what is before and after"));
    }
    loader.note(scan.hasher.clone().finalize().to_vec());
    Ok(Some(Looked {
        gate: scan.gate(),
        meta: scan.meta(request, (format, because, packing)),
        strangers: scan.commonest(),
        survey: scan.survey,
        cut,
        format,
        stamp,
    }))
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
    let (before, after) = scan.walk.left_out;
    if !scan.strangers.is_empty() && before + after == 0 {
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
    let message = match (reasons.is_empty(), before + after) {
        (_, n) if n > 0 => format!(
            "all of its {} requests are outside --from and --to",
            grouped(n)
        ),
        (true, _) => "the log holds no request of these versions".to_owned(),
        (false, _) => format!("no record says enough: {}", reasons.join(", ")),
    };
    let hint = "a log for an audit says when each attempt began, who was tried, how it ended and how long it took; of \
                graygate's own runs, that is attempts.csv";
    problem(message).hint(hint)
}

/// A name that was said and that nobody has.
fn unseen(request: &AuditRequest, scan: &Scan) -> Option<Diagnostic> {
    let mut said = request.stable.iter().chain(&request.canary);
    let name = said.find(|name| !scan.named.contains(*name))?;
    let message = format!("nobody in the log is called `{name}`");
    let problem = Diagnostic::file(request.log.display().to_string(), message);
    let others = scan.commonest();
    Some(match others.is_empty() {
        true => problem,
        false => problem.hint(format!("it has {} besides", shown(&others))),
    })
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

/// Notes a name, of not too many.
fn note(names: &mut BTreeSet<String>, name: Option<&str>) {
    let Some(name) = name.filter(|name| !names.contains(*name)) else {
        return;
    };
    if names.len() < MOST_STRANGERS {
        names.insert(name.to_owned());
    }
}

struct Scan {
    account: LogAccount,
    lacking: BTreeMap<Lacking, u64>,
    strangers: BTreeMap<String, u64>,
    /// Names of versions that occur.
    named: BTreeSet<String>,
    /// What the versions' callers asked for.
    aliases: BTreeSet<String>,
    /// Failures of nobody who is known, by what was asked for.
    nameless: BTreeMap<String, u64>,
    /// Records of no use that may have been failures.
    failures: u64,
    walk: Walk,
    survey: Survey,
    hasher: Sha256,
    inversions: u64,
    last: Option<i64>,
}

impl Scan {
    fn new(cut: Cut, terms: &Terms) -> Self {
        Self {
            named: BTreeSet::new(),
            aliases: BTreeSet::new(),
            nameless: BTreeMap::new(),
            failures: 0,
            account: LogAccount::default(),
            lacking: BTreeMap::new(),
            strangers: BTreeMap::new(),
            walk: Walk::new(cut),
            survey: Survey::new(terms),
            hasher: Sha256::new(),
            inversions: 0,
            last: None,
        }
    }

    fn take(&mut self, record: &Result<Record, BadRow>, names: &Names) {
        self.account.take(record);
        let Ok(record) = record else { return };
        record.at.into_iter().for_each(|at| self.walk.saw(at));
        match Tried::read(record, names) {
            Ok(tried) => {
                self.known(record);
                self.tried(tried);
            }
            Err(lacking) => self.lacking(record, lacking),
        }
    }

    fn known(&mut self, record: &Record) {
        note(&mut self.named, name_of(record));
        note(&mut self.aliases, record.asked_model.as_deref());
    }

    fn lacking(&mut self, record: &Record, lacking: Lacking) {
        *self.lacking.entry(lacking).or_default() += 1;
        let may_have_failed = record.end.is_none_or(|end| !end.is_success());
        if lacking != Lacking::KnownVersion {
            self.failures += u64::from(may_have_failed);
            return;
        }
        self.stranger(name_of(record).unwrap_or_default());
        // Whose failure it is shows when all is read.
        let asked = record.asked_model.as_deref().filter(|_| may_have_failed);
        if let Some(asked) = asked
            && (self.nameless.len() < MOST_STRANGERS || self.nameless.contains_key(asked))
        {
            *self.nameless.entry(asked.to_owned()).or_default() += 1;
        }
    }

    /// A failure that names nobody, of a request for what the versions are asked for, is a failure of one of them.
    fn own_up(&mut self) {
        let own = self.nameless.iter();
        let own: u64 = own
            .filter(|(asked, _)| self.aliases.contains(*asked))
            .map(|(_, n)| n)
            .sum();
        if own == 0 {
            return;
        }
        self.failures += own;
        *self.lacking.entry(Lacking::Version).or_default() += own;
        if let Some(others) = self.lacking.get_mut(&Lacking::KnownVersion) {
            *others -= own;
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
        self.own_up();
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
            failures: self.failures + self.account.damaged_total(),
            at_canary: self.survey.at_canary(),
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
        let lacking = self.lacking.iter().filter(|(_, n)| **n > 0);
        let lacking = lacking.map(|(why, n)| (why.name(), *n));
        let (before, after) = self.walk.left_out;
        let cut = [
            ("duplicate", self.walk.duplicates),
            ("before_from", before),
            ("after_to", after),
        ];
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
