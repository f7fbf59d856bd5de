//! `traffic`: what is sent, and when.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::diagnostic::{Diagnostic, Problems};
use crate::config::fields::Cx;
use crate::config::node::{Node, Place};
use crate::config::values;
use crate::experiment::Traffic;
use crate::observe::meta::LogMeta;
use crate::scenario::load::{Loader, beside, named_here};
use crate::scenario::{arrivals, callers, forced};
use crate::traffic::arrivals::Arrivals;
use crate::traffic::body::{Bodies, Template};
use crate::traffic::format::lines::{Line, Lines};
use crate::traffic::format::{self, Format, LogError, opened};
use crate::traffic::replay::{LogAccount, LogCollector, RecordedLog, Speed};
use crate::traffic::synthetic::SyntheticConfig;
use crate::traffic::users::Users;

/// Largest file of prompts.
const MAX_PROMPTS_BYTES: usize = 64 << 20;
/// Largest share of lines of a log that may be useless.
const MAX_DROPPED: f64 = 0.01;

/// Traffic as a scenario describes it.
#[derive(Clone, Debug)]
pub struct TrafficSpec {
    /// When and by whom.
    pub traffic: Traffic,
    /// What is asked.
    pub templates: Vec<Template>,
    /// Where recorded traffic came from.
    pub log: Option<LogMeta>,
}

/// How long the scenario says requests are sent.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    /// For so long; none when it is not said, or said wrongly.
    pub duration: Option<Duration>,
    /// Is anything said, even if wrongly?
    pub is_given: bool,
}

/// Reads `traffic` for versions of these names. None means that mistakes were reported.
pub fn read(
    cx: Cx<'_>,
    node: &Node,
    length: Length,
    names: &[String],
    file: &Path,
    loader: &Loader,
) -> Option<TrafficSpec> {
    let entry = cx.choice(node, "traffic", &["synthetic", "replay"])?;
    match entry.key.as_str() {
        "synthetic" => synthetic(cx, &entry.value, length, names, file, loader),
        _ => replay(cx, &entry.value, length.duration, file, loader),
    }
}

fn synthetic(
    cx: Cx<'_>,
    node: &Node,
    length: Length,
    names: &[String],
    file: &Path,
    loader: &Loader,
) -> Option<TrafficSpec> {
    let fields = cx.fields(node, "synthetic traffic")?;
    let arrivals = fields.required("arrivals", "{poisson: 50/s}", arrivals::read);
    let requests = fields.optional("requests", values::positive);
    let prompts = fields.optional("prompts", |cx, n| prompts(cx, n, file, loader));
    let users = fields.optional("users", callers::users);
    let tenants = fields.optional("tenants", callers::tenants);
    let cancel = fields.optional("cancel", callers::cancel);
    let forced = fields.optional("forced", |cx, n| forced::read(cx, n, names));
    let stream = fields.optional("stream", values::share);
    let arrivals_at = fields.node("arrivals").map_or(node.place, |n| n.place);
    fields.finish();
    if !length.is_given && requests.is_none() {
        let message = "nothing ends the traffic";
        let expected = "duration: 10m at the top of the scenario, or requests: 1000 here";
        return cx.error(cx.at(node.place, message).expected(expected));
    }
    let users = Users {
        tenants: tenants.unwrap_or_default(),
        ..users.unwrap_or_default()
    };
    if matches!(arrivals, Some(Arrivals::Sessions(_))) && users.count.is_none() {
        let message = "a session is one user's, and there are no users";
        return cx.error(cx.at(arrivals_at, message).expected("users: {count: 500}"));
    }
    let config = SyntheticConfig {
        arrivals: arrivals?,
        duration: length.duration.unwrap_or(Duration::MAX),
        requests: requests.map(u64::from),
        users,
        stream: stream.unwrap_or(0.0),
        forced: forced.unwrap_or_default(),
        cancel,
    };
    Some(TrafficSpec {
        traffic: Traffic::Synthetic(config),
        templates: prompts.unwrap_or_else(Bodies::built_in),
        log: None,
    })
}

fn prompts(cx: Cx<'_>, node: &Node, file: &Path, loader: &Loader) -> Option<Vec<Template>> {
    let text = cx.text(node, "a path", "the path of a JSON-lines file")?;
    let path = beside(file, text);
    let bytes = match loader.bytes(&path, MAX_PROMPTS_BYTES) {
        Ok(bytes) => bytes,
        Err(unreadable) => return cx.error(named_here(cx, node, unreadable)),
    };
    let name = path.display().to_string();
    let mut lines = Lines::new(&bytes[..]);
    let mut templates = Vec::new();
    let mut is_good = true;
    while let Ok(Some((number, line))) = lines.next_line() {
        let read = match line {
            Line::Text(text) if text.trim().is_empty() => continue,
            Line::Text(text) => Template::parse(text).map_err(|why| (why.to_string(), text)),
            Line::TooLong(text) => Err(("the line is longer than 1 MiB".to_owned(), text)),
            Line::NotUtf8 => Err(("the line is not UTF-8 text".to_owned(), "")),
        };
        match read {
            Ok(template) => templates.push(template),
            Err((message, text)) => {
                is_good = false;
                let place = place_of_line(number);
                cx.problems.add(
                    Diagnostic::in_line(&name, place, text, message)
                        .expected("{\"prompt\": \"text\"} or {\"messages\": […]}"),
                );
                if cx.problems.is_full() {
                    // Millions of bad lines are one mistake: the wrong file.
                    break;
                }
            }
        }
    }
    if is_good && templates.is_empty() {
        return cx.error(Diagnostic::file(name, "the file holds no prompt"));
    }
    Some(templates)
}

fn place_of_line(number: u64) -> Place {
    Place {
        line: number as usize,
        column: 1,
        width: 1,
    }
}

fn replay(
    cx: Cx<'_>,
    node: &Node,
    duration: Option<Duration>,
    file: &Path,
    loader: &Loader,
) -> Option<TrafficSpec> {
    let fields = cx.fields(node, "a replay")?;
    let opened = fields.required("log", "the path of a log", |cx, n| {
        let text = cx.text(n, "a path", "the path of a log")?;
        let path = beside(file, text);
        match loader.open(&path) {
            Ok(reader) => Some((path, reader)),
            Err(unreadable) => cx.error(named_here(cx, n, unreadable)),
        }
    });
    let speed = fields.optional("speed", speed);
    let format = fields.optional("format", log_format);
    fields.finish();
    let (path, reader) = opened?;
    let request = LogRequest {
        path,
        speed: speed.unwrap_or(Speed::Times(1.0)),
        format: format.unwrap_or(LogFormat::Auto),
        duration,
    };
    traffic_of_log(&request, reader, cx.problems, loader)
}

fn speed(cx: Cx<'_>, node: &Node) -> Option<Speed> {
    let expected = "1x, 10x, 0.5x or max";
    let text = cx.text(node, "a speed", expected)?;
    match values::parse_speed(text) {
        Some(factor) => Some(factor.map_or(Speed::Max, Speed::Times)),
        None => cx.wrong(node, "a speed", expected),
    }
}

/// The format that a log is read as.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LogFormat {
    /// Found out by looking at the file.
    Auto,
    /// This one.
    Named(&'static Format),
}

impl LogFormat {
    /// The format of this name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "auto" => Some(Self::Auto),
            _ => format::named(name).map(Self::Named),
        }
    }

    /// All names.
    pub fn names() -> Vec<&'static str> {
        let named = format::FORMATS.iter().map(|format| format.name);
        std::iter::once("auto").chain(named).collect()
    }

    /// The name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Named(format) => format.name,
        }
    }
}

fn log_format(cx: Cx<'_>, node: &Node) -> Option<LogFormat> {
    let names = LogFormat::names();
    let words: Vec<_> = names
        .iter()
        .filter_map(|name| Some((*name, LogFormat::parse(name)?)))
        .collect();
    values::word(cx, node, "a log format", &words)
}

/// A log to be replayed.
#[derive(Clone, Debug)]
pub struct LogRequest {
    /// Its path.
    pub path: PathBuf,
    /// How fast.
    pub speed: Speed,
    /// Its format.
    pub format: LogFormat,
    /// Requests scheduled at or after this are left out.
    pub duration: Option<Duration>,
}

/// Reads a log. None means that mistakes were reported.
pub fn load_log(request: &LogRequest, problems: &Problems, loader: &Loader) -> Option<TrafficSpec> {
    match loader.open(&request.path) {
        Ok(reader) => traffic_of_log(request, reader, problems, loader),
        Err(unreadable) => {
            problems.add(unreadable);
            None
        }
    }
}

fn traffic_of_log(
    request: &LogRequest,
    reader: impl Read + 'static,
    problems: &Problems,
    loader: &Loader,
) -> Option<TrafficSpec> {
    let name = request.path.display().to_string();
    let (log, format) = match read_log(request, reader, loader) {
        Ok(log) => log,
        Err(diagnostic) => {
            problems.add(diagnostic);
            return None;
        }
    };
    let account = &log.account;
    let is_bad = account.damaged_total() as f64 > MAX_DROPPED * account.read as f64;
    if is_bad {
        report_bad_rows(&name, account, problems);
        return None;
    }
    if log.is_empty() {
        problems.add(Diagnostic::file(&name, "the log holds no request"));
        return None;
    }
    if account.untimed > 0 && request.speed != Speed::Max {
        let (n, all) = (account.untimed, account.replayed);
        let message = format!("{n} of {all} rows have no time: a log of this format knows none");
        let hint = "--speed max sends the next request as soon as one is answered";
        problems.add(Diagnostic::file(&name, message).hint(hint));
        return None;
    }
    if account.span > MAX_SPAN {
        let years = account.span.as_secs() / (365 * 86_400);
        let message = format!("its rows span {years} years: some of their times must be wrong");
        let expected = "a log of at most ten years";
        problems.add(Diagnostic::file(&name, message).expected(expected));
        return None;
    }
    let meta = log_meta(request, &log, format);
    Some(TrafficSpec {
        traffic: Traffic::Replay {
            log: Arc::new(log),
            speed: request.speed,
            duration: request.duration,
        },
        templates: Vec::new(),
        log: Some(meta),
    })
}

/// The longest log: as long as the longest duration that can be written.
const MAX_SPAN: Duration = Duration::from_secs(3_650 * 86_400);

fn read_log(
    request: &LogRequest,
    reader: impl Read + 'static,
    loader: &Loader,
) -> Result<(RecordedLog, &'static Format), Diagnostic> {
    let name = request.path.display().to_string();
    let unreadable = |error: &dyn std::fmt::Display| Diagnostic::file(&name, error.to_string());
    let (reader, _) = opened::open(reader).map_err(|e| unreadable(&LogError::Io(e)))?;
    let (head, mut reader) = format::begin(reader).map_err(|e| unreadable(&LogError::Io(e)))?;
    let format = match request.format {
        LogFormat::Named(format) => format,
        LogFormat::Auto => detected(&head).map_err(|e| unreadable(&e).hint(FORMAT_HINT))?,
    };
    let mut collector = LogCollector::default();
    let read = (format.read)(&mut reader, &mut |record| collector.take(record));
    read.map_err(|error| {
        let expected = format!("{} (docs/formats.md)", format.title);
        unreadable(&error).expected(expected)
    })?;
    let log = collector.finish();
    loader.note(log.fingerprint());
    Ok((log, format))
}

/// What to do when nobody knows a log.
const FORMAT_HINT: &str =
    "name its format by --format (in a scenario: format); docs/formats.md lists them";

fn detected(head: &[u8]) -> Result<&'static Format, LogError> {
    let head = format::Head::new(head);
    if head.is_empty() {
        return Err(LogError::Empty);
    }
    let found = format::detect(&head).map(|(format, _)| format);
    found.ok_or_else(|| {
        LogError::unknown(
            head.first_line()
                .unwrap_or("(bytes that are no UTF-8 text)"),
        )
    })
}

fn report_bad_rows(name: &str, account: &LogAccount, problems: &Problems) {
    for bad in &account.bad {
        let place = Place {
            column: bad.column,
            ..place_of_line(bad.line)
        };
        let message = format!("unusable row: {}", bad.reason.name());
        problems.add(
            Diagnostic::in_line(name, place, &bad.text, message).expected(bad.reason.expected()),
        );
    }
    let message = format!(
        "{} of {} rows are unusable, more than 1 %",
        account.damaged_total(),
        account.read
    );
    let hint = "a log that is damaged this much proves nothing: repair it or cut the bad part out";
    problems.add(Diagnostic::file(name, message).hint(hint));
}

impl LogRequest {
    /// How fast, as it is written.
    pub fn speed_name(&self) -> String {
        match self.speed {
            Speed::Times(factor) => format!("{factor}x"),
            Speed::Max => "max".to_owned(),
        }
    }
}

fn log_meta(request: &LogRequest, log: &RecordedLog, format: &Format) -> LogMeta {
    let account = &log.account;
    let file = request.path.file_name().unwrap_or(request.path.as_os_str());
    let dropped = account.dropped.iter().map(|(r, n)| (r.name(), *n));
    let replayed = log.scheduled_before(request.speed, request.duration);
    let late = account.replayed - replayed;
    let late = (late > 0).then_some(("after_duration", late));
    LogMeta {
        file: file.to_string_lossy().into_owned(),
        format: format.name,
        speed: request.speed_name(),
        read: account.read,
        replayed,
        dropped: dropped.chain(late).collect(),
        inversions: account.inversions,
        ties: account.ties,
        span_s: account.span.as_secs_f64(),
    }
}
