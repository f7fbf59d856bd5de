//! `replay`: recorded traffic, of a scenario or of the command line.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config::diagnostic::{Diagnostic, Problems};
use crate::config::fields::Cx;
use crate::config::node::{Node, Place};
use crate::config::values;
use crate::experiment::Traffic;
use crate::observe::meta::LogMeta;
use crate::scenario::load::{Loader, beside, named_here};
use crate::scenario::log_file::{self, Looked, Unusable};
pub use crate::scenario::log_request::{
    LogFormat, LogRequest, ROUNDS_EXPECTED, SCALE_EXPECTED, Spread, log_format, parse_rounds,
    parse_scale, written,
};
use crate::scenario::log_request::{rounds, sample, scale_rate, speed, spread};
use crate::scenario::traffic::TrafficSpec;
use crate::time::Human;
use crate::traffic::format::{BadRow, Format};
use crate::traffic::log::RecordedLog;
use crate::traffic::log::account::LogAccount;
use crate::traffic::log::shape::Shape;
use crate::traffic::replay::{Speed, planned};
use crate::upstream::recorded::Reservoir;

/// Largest share of unusable rows.
const MAX_DROPPED: f64 = 0.01;
/// The longest log: as long as the longest duration that can be written.
pub(super) const MAX_SPAN: Duration = Duration::from_secs(3_650 * 86_400);
/// What to do when nobody knows a log.
const FORMAT_HINT: &str =
    "name its format by --format (in a scenario: format); docs/formats.md lists them";

/// Reads `replay` of a scenario.
pub fn replay(
    cx: Cx<'_>,
    node: &Node,
    duration: Option<Duration>,
    file: &Path,
    loader: &Loader,
) -> Option<TrafficSpec> {
    let fields = cx.fields(node, "a replay")?;
    let path = fields.required("log", "the path of a log", |cx, n| {
        let text = cx.text(n, "a path", "the path of a log")?;
        let path = beside(file, text);
        match loader.open(&path) {
            Ok(_) => Some(path),
            Err(unreadable) => cx.error(named_here(cx, n, unreadable)),
        }
    });
    let speed = fields.optional("speed", speed);
    let format = fields.optional("format", log_format);
    let from = fields.optional("from", values::duration);
    let to = fields.optional("to", values::positive_duration);
    let sample = fields.optional("sample", sample);
    let scale_rate = fields.optional("scale_rate", scale_rate);
    let rounds = fields.optional("loop", rounds);
    let spread = fields.optional("spread", spread);
    fields.finish();
    let request = LogRequest {
        speed: speed.unwrap_or(Speed::Times(1.0)),
        format: format.unwrap_or(LogFormat::Auto),
        duration,
        from,
        to,
        sample,
        scale_rate,
        rounds,
        spread: spread.unwrap_or_default(),
        ..LogRequest::whole(path?)
    };
    load(&request, cx.problems, loader)
}

/// Looks through a log. None means that mistakes were reported.
pub fn load(request: &LogRequest, problems: &Problems, loader: &Loader) -> Option<TrafficSpec> {
    match look(request, loader).and_then(|looked| traffic(request, looked, problems)) {
        Ok(spec) => spec,
        Err(diagnostic) => {
            problems.add(diagnostic);
            None
        }
    }
}

fn look(request: &LogRequest, loader: &Loader) -> Result<Looked, Diagnostic> {
    let file = loader.open(&request.path)?.into_inner();
    let known = request.format.known();
    let looked = log_file::look(&request.path, file, known);
    let looked = looked.map_err(|error| unusable(request.name(), error, known))?;
    loader.note(looked.fingerprint.clone());
    Ok(looked)
}

/// The answers of a log, for an upstream that answers like it. None means that mistakes were reported.
pub fn answers(
    path: &Path,
    format: LogFormat,
    problems: &Problems,
    loader: &Loader,
) -> Option<Reservoir> {
    let name = path.display().to_string();
    let known = format.known();
    let read = || {
        let file = loader.open(path)?.into_inner();
        let answered = log_file::answers(file, known);
        answered.map_err(|error| unusable(name.clone(), error, known))
    };
    let answered = match read() {
        Ok(answered) => answered,
        Err(diagnostic) => {
            problems.add(diagnostic);
            return None;
        }
    };
    if is_damaged(&answered.account) {
        report_bad_rows(&name, &answered.account, problems);
        return None;
    }
    if answered.reservoir.is_empty() {
        let message = "the log does not say of any request how it was answered";
        let hint = "it must have latencies, or how requests failed (docs/formats.md); a profile can be said instead";
        problems.add(Diagnostic::file(name, message).hint(hint));
        return None;
    }
    loader.note(answered.fingerprint);
    Some(answered.reservoir)
}

/// Is too much of it unusable?
pub(super) fn is_damaged(account: &LogAccount) -> bool {
    account.damaged_total() as f64 > MAX_DROPPED * account.read as f64
}

/// Says why a log is of no use. Where its format was said, it is told what that would look like.
pub fn unusable(name: String, unusable: Unusable, known: Option<&'static Format>) -> Diagnostic {
    let problem = |error: &dyn std::fmt::Display| Diagnostic::file(name, error.to_string());
    match (unusable, known) {
        (Unusable::Log(error), Some(format)) => {
            problem(&error).expected(format!("{} (docs/formats.md)", format.title))
        }
        (Unusable::Log(error), None) => problem(&error),
        (Unusable::Unknown(error), _) => problem(&error).hint(FORMAT_HINT),
        (Unusable::TooLarge(why), _) => {
            let message = format!("more than 5,000,000 rows, and {why}");
            problem(&message).hint("sort it by time into a file of its own")
        }
    }
}

/// The traffic of a log that was looked through. None means that mistakes were reported.
fn traffic(
    request: &LogRequest,
    looked: Looked,
    problems: &Problems,
) -> Result<Option<TrafficSpec>, Diagnostic> {
    let problem = |message: String| Diagnostic::file(request.name(), message);
    let account = &looked.account;
    if is_damaged(account) {
        report_bad_rows(&request.name(), account, problems);
        return Ok(None);
    }
    if looked.recorded.rows == 0 {
        return Err(problem("the log holds no request".to_owned()));
    }
    if account.untimed > 0 && request.speed != Speed::Max {
        let (n, all) = (account.untimed, looked.recorded.rows);
        let message = format!("{n} of {all} rows have no time");
        let hint = "--speed max sends the next request as soon as one is answered";
        return Err(problem(message).hint(hint));
    }
    let span = looked.recorded.span();
    let rounds = request.rounds.unwrap_or(1);
    if span.saturating_mul(rounds) > MAX_SPAN && span <= MAX_SPAN && request.speed != Speed::Max {
        let message = format!(
            "{rounds} rounds of {} take more than ten years",
            Human(span)
        );
        return Err(problem(message).expected("a smaller --loop"));
    }
    if span > MAX_SPAN && request.speed != Speed::Max {
        let years = span.as_secs() / (365 * 86_400);
        let message = format!("its rows span {years} years: some of their times must be wrong");
        return Err(problem(message).expected("a log of at most ten years"));
    }
    let mut meta = meta(request, &looked);
    let spread = quantum(request, &looked)?;
    let log = looked.into_log(shape(request, spread));
    if log.has_changed() {
        let hint = "copy it first, and replay the copy";
        return Err(problem("the log changes while it is read".to_owned()).hint(hint));
    }
    if !log.is_ordered {
        return Err(disordered(request));
    }
    if log.is_empty() {
        let message = "nothing of the log is left to be replayed".to_owned();
        let hint = format!("it lasts {}: look at from, to and sample", Human(span));
        return Err(problem(message).hint(hint));
    }
    let traffic = Traffic::Replay {
        log: Arc::new(log),
        speed: request.speed,
        duration: request.duration,
    };
    recount(&mut meta, &traffic);
    Ok(Some(TrafficSpec {
        traffic,
        templates: Vec::new(),
        log: Some(meta),
    }))
}

/// Says why rows cannot be kept in order.
fn disordered(request: &LogRequest) -> Diagnostic {
    let problem = |message: &str| Diagnostic::file(request.name(), message);
    match request.spread {
        Spread::Off => {
            problem("its copies stand too densely: more than 262,144 of them would have to be held")
                .expected("a smaller --scale-rate")
        }
        _ => problem("rows cannot be spread so far: more than 65,536 of them would change places")
            .expected("a shorter --spread"),
    }
}

/// By how much rows are moved.
fn quantum(request: &LogRequest, looked: &Looked) -> Result<Option<Duration>, Diagnostic> {
    match request.spread {
        Spread::Off => Ok(None),
        Spread::By(by) => Ok(Some(by)),
        Spread::Found => looked.recorded.quantum().map(Some).ok_or_else(|| {
            let message = "the log shows no grain of its clock to spread its rows in";
            Diagnostic::file(request.name(), message).hint("say how much: --spread 1s")
        }),
    }
}

fn shape(request: &LogRequest, spread: Option<Duration>) -> Shape {
    Shape {
        from: request.from.filter(|from| !from.is_zero()),
        to: request.to,
        sample: request.sample,
        scale: request.scale_rate,
        rounds: request.rounds,
        spread,
        ..Shape::default()
    }
}

/// Says where a row is that cannot be used, and why.
pub fn bad_row(name: &str, bad: &BadRow) -> Diagnostic {
    let place = Place {
        line: bad.line as usize,
        column: bad.column,
        width: 1,
    };
    let message = format!("unusable row: {}", bad.reason.name());
    Diagnostic::in_line(name, place, &bad.text, message).expected(bad.reason.expected())
}

/// Says where the first unusable rows stand, and that they are too many.
pub(super) fn report_bad_rows(name: &str, account: &LogAccount, problems: &Problems) {
    account
        .bad
        .iter()
        .for_each(|bad| problems.add(bad_row(name, bad)));
    let message = format!(
        "{} of {} rows are unusable, more than 1 %",
        account.damaged_total(),
        account.read
    );
    let hint = "a log that is damaged this much proves nothing: repair it or cut the bad part out";
    problems.add(Diagnostic::file(name, message).hint(hint));
}

/// A moment of a log's own clock, for people. A clock that begins before 2000 is no calendar.
pub(super) fn origin(at: i64) -> String {
    const YEAR_2000: i64 = 946_684_800_000_000_000;
    let date = jiff::Timestamp::from_nanosecond(at.into());
    match date.ok().filter(|_| at >= YEAR_2000) {
        Some(date) => date.to_string(),
        None => format!("{} s", at as f64 / 1e9),
    }
}

/// What a report says of a log, but for what is replayed of it.
fn meta(request: &LogRequest, looked: &Looked) -> LogMeta {
    let account = &looked.account;
    let file = request.path.file_name().unwrap_or(request.path.as_os_str());
    let failed = account
        .failed
        .iter()
        .map(|(outcome, n)| (outcome.name(), *n));
    LogMeta {
        file: file.to_string_lossy().into_owned(),
        format: looked.format.name,
        times: looked.format.times,
        origin: (account.untimed == 0).then(|| origin(looked.start)),
        detected: looked.because,
        packed: looked.packing.name(),
        speed: request.speed_name(),
        read: account.read,
        replayed: 0,
        merged: account.attempts.merged,
        cut_short: account.attempts.cut_short,
        scale_rate: request.scale_rate,
        copies: 0,
        rounds: request.rounds,
        repeated: 0,
        streams: account.streams,
        dropped: Vec::new(),
        inversions: account.inversions,
        ended: account.ended,
        failed: failed.collect(),
        recorded: looked.recorded.spacing(),
        spread_s: None,
        gap_distance: None,
    }
}

/// Counts what is replayed of a log, which hangs on the seed where only a sample is.
pub fn recount(meta: &mut LogMeta, traffic: &Traffic) {
    let Traffic::Replay {
        log,
        speed,
        duration,
    } = traffic
    else {
        return;
    };
    meta.replayed = planned(log, *speed, *duration);
    let late = log.len().saturating_sub(meta.replayed);
    let late = (late > 0).then_some(("after_duration", late));
    (meta.copies, meta.repeated) = (log.account.copies, log.account.repeated);
    meta.dropped = log.account.not_replayed().into_iter().chain(late).collect();
    meta.spread_s = log.shape.spread.map(|by| by.as_secs_f64());
    meta.gap_distance = gap_distance(log);
}

/// How far the gaps as they are replayed are from those that were recorded; none where nothing changes them.
fn gap_distance(log: &RecordedLog) -> Option<f64> {
    match log.is_as_recorded() {
        true => None,
        false => log.recorded.distance(&log.replayed),
    }
}
