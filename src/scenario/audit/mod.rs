//! An audit, as `graygate audit` asks for it: a log that says who served, held against a router file or against what is
//! said on the command line.

mod look;
mod terms;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::audit::survey::{Cut, Survey};
use crate::audit::tried::Names;
use crate::audit::{Terms, Weight};
use crate::config::diagnostic::{Diagnostic, Diagnostics, Problems};
use crate::observe::meta::LogMeta;
use crate::router::config::RouterConfig;
use crate::scenario::compile::{file_name, file_stem, shell_word, version_names};
use crate::scenario::gates;
use crate::scenario::load::Loader;
use crate::scenario::log_file::{self, Stamp};
use crate::scenario::recorded::{LogFormat, written};
use crate::scenario::replay::read_expectations;
use crate::stats::compare::{Comparison, Op, Share};
use crate::traffic::format::{BadRow, Format, Record};
use crate::verdict::spec::{GateSpec, LogSpec, NoRollbackSpec, RequestsSpec, Scope, SplitSpec};

/// What `graygate audit` was asked for.
#[derive(Clone, Debug)]
pub struct AuditRequest {
    /// The log.
    pub log: PathBuf,
    /// Its format.
    pub format: LogFormat,
    /// The router file that it is held against.
    pub router: Option<PathBuf>,
    /// Names that the log has for stable, and for the canary, besides those of the router file.
    pub stable: Vec<String>,
    /// See `stable`.
    pub canary: Vec<String>,
    /// The canary's share, 0 to 1, where no router file says it, or another one was in force.
    pub share: Option<f64>,
    /// Shares that came into force later, in order of time.
    pub steps: Vec<(Duration, f64)>,
    /// From this time of the log on.
    pub from: Duration,
    /// Up to this time of the log.
    pub to: Option<Duration>,
    /// How long after the end of a failed attempt another one still continues its request; as the format suggests when absent.
    pub within: Option<Duration>,
    /// A file with gates.
    pub expect: Option<PathBuf>,
}

/// An audit, ready to be done.
#[derive(Clone, Debug)]
pub struct Audit {
    /// The log, as the user wrote it.
    pub path: PathBuf,
    /// Names the folder of its reports.
    pub name: String,
    /// Its title.
    pub title: String,
    /// What the log is held against.
    pub terms: Terms,
    /// What is expected.
    pub gates: Vec<GateSpec>,
    /// What the first pass found.
    pub survey: Survey,
    /// What a report says of the log.
    pub log: LogMeta,
    /// Names that are none of the versions', the commonest first, with their attempts.
    pub strangers: Vec<(String, u64)>,
    /// SHA-256 over the log, the files that it is held against, and the options.
    pub sha256: String,
    /// The command that does it again; files are named without their folders.
    pub command: String,
    /// The same as it works from the folder the program was started in.
    pub command_here: String,
    names: Names,
    cut: Cut,
    format: &'static Format,
    stamp: Option<Stamp>,
}

impl Audit {
    /// The versions by the names that the log has for them.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// What of the log is audited.
    pub fn cut(&self) -> Cut {
        self.cut
    }

    /// Reads the log once more, to its end or until `stop` is set.
    ///
    /// # Errors
    /// When it cannot be read any more.
    pub fn read(
        &self,
        stop: &Arc<AtomicBool>,
        each: &mut dyn FnMut(Result<Record, BadRow>),
    ) -> Result<(), Diagnostic> {
        let problem = |e: &dyn std::fmt::Display| {
            Diagnostic::file(self.path.display().to_string(), e.to_string())
        };
        let file = File::open(&self.path).map_err(|e| problem(&e))?;
        let opened = log_file::open(file, Some(self.format));
        let opened = opened.map_err(|_| problem(&"the log is another one by now"))?;
        let mut reader = opened.stoppable(stop.clone());
        (self.format.read)(&mut reader, each).map_err(|e| problem(&e))
    }

    /// Is the log another one than when it was looked through?
    pub fn has_log_changed(&self) -> bool {
        let now = File::open(&self.path).ok();
        now.and_then(|file| Stamp::of(&file)) != self.stamp
    }
}

/// Puts the audit together and looks through the log: the audit with warnings, or every mistake.
///
/// # Errors
/// All mistakes of the log, the files and the arguments.
pub fn compile(
    request: &AuditRequest,
    stop: &Arc<AtomicBool>,
) -> Result<(Audit, Diagnostics), Diagnostics> {
    let problems = Problems::default();
    let audit = audit(request, &problems, stop);
    match audit {
        Some(audit) if !problems.has_errors() => Ok((audit, problems.into_diagnostics())),
        _ => Err(problems.into_diagnostics()),
    }
}

fn audit(request: &AuditRequest, problems: &Problems, stop: &Arc<AtomicBool>) -> Option<Audit> {
    let loader = Loader::default();
    loader.note(options(request).join("\n").into_bytes());
    let router = terms::router(request, problems, &loader)?;
    let names = terms::names(request, &router, problems)?;
    let gates = gates(request, &router, problems, &loader);
    let terms = terms::terms(request, router);
    let looked = look::look(request, &terms, &names, &loader, problems, stop);
    let looked = looked.map_err(|problem| problems.add(problem)).ok()??;
    let mut gates = gates?;
    gates.push(GateSpec::Log(looked.gate.clone()));
    let name = file_stem(&request.log);
    Some(Audit {
        path: request.log.clone(),
        title: format!("audit of {name}"),
        name: format!("audit-{name}"),
        gates,
        terms,
        names,
        cut: looked.cut,
        survey: looked.survey,
        log: looked.meta,
        strangers: looked.strangers,
        format: looked.format,
        stamp: looked.stamp,
        sha256: loader.sha256(),
        command: command(request, file_name),
        command_here: command(request, |path| path.display().to_string()),
    })
}

/// What only a run can show, since a log has one witness.
const NOT_IN_LOGS: [&str; 9] = [
    "attribution",
    "contract",
    "generator",
    "memory",
    "notification",
    "promotion",
    "ramp",
    "stickiness",
    "stream",
];

fn gates(
    request: &AuditRequest,
    router: &RouterConfig,
    problems: &Problems,
    loader: &Loader,
) -> Option<Vec<GateSpec>> {
    let Some(path) = &request.expect else {
        return Some(default_gates(router, &terms::weights(request, router)));
    };
    let setting = gates::Setting {
        router,
        names: &version_names(router),
        faults: &[],
        external: None,
    };
    let gates = read_expectations(path, setting, problems, loader)?;
    let mut strange = gates.iter().map(GateSpec::name);
    let Some(name) = strange.find(|name| NOT_IN_LOGS.contains(name)) else {
        return Some(gates);
    };
    let message = format!("`{name}` cannot be judged from a log alone");
    let expected = "split, fallback, rollback, no_rollback, after_rollback, requests, retries, rate_limit or cost";
    let problem = Diagnostic::file(path.display().to_string(), message).expected(expected);
    problems.add(problem.hint("a replay or a run has the witnesses that it needs"));
    None
}

/// The tolerance around nothing and everything.
const LEAST_TOLERANCE: f64 = 0.001;

/// What an audit must show when nobody says: the split is what it should be, callers were served (the articles' SLO), and
/// the canary would have been kept.
fn default_gates(router: &RouterConfig, weights: &[Weight]) -> Vec<GateSpec> {
    let splits = weights.iter().enumerate().map(|(n, weight)| {
        GateSpec::Split(SplitSpec {
            version: router.canary,
            share: weight.share,
            tolerance: SplitSpec::default_tolerance(weight.share).unwrap_or(LEAST_TOLERANCE),
            confidence: 0.999,
            scope: Scope {
                from: weight.at.into(),
                to: weights.get(n + 1).map(|next| next.at.into()),
            },
            from_the_start: n == 0,
            of_canary: true,
        })
    });
    // A canary that is to have nothing some time is not in use all the time.
    let share = weights.iter().map(|weight| weight.share);
    let share = share.fold(1.0, f64::min);
    let bound = Share::parse_percent("95%");
    let requests = RequestsSpec {
        success: bound.map(|bound| Comparison {
            op: Op::AtLeast,
            bound,
        }),
        min_n: 1,
        other_credentials: router.has_separate_credentials(),
        ..RequestsSpec::default()
    };
    let others = [
        GateSpec::Requests(requests),
        GateSpec::NoRollback(NoRollbackSpec {
            min_n: 1,
            share,
            in_ledgers: false,
        }),
    ];
    splits.chain(others).collect()
}

/// The command line of this audit. `show` writes paths.
fn command(request: &AuditRequest, show: impl Fn(&Path) -> String) -> String {
    let file = |path: &Path| shell_word(&show(path));
    let mut words = vec![format!("graygate audit {}", file(&request.log))];
    let files = [("--router", &request.router), ("--expect", &request.expect)];
    let files = files
        .into_iter()
        .filter_map(|(flag, path)| Some(format!("{flag} {}", file(path.as_deref()?))));
    words.extend(files);
    words.extend(options(request));
    words.join(" ")
}

/// The options that change what is found and are no files, as words of a command line.
fn options(request: &AuditRequest) -> Vec<String> {
    let percent = |share: f64| format!("{}%", (share * 1e8).round() / 1e6);
    let format = request.format.name();
    let mut options = Vec::new();
    options.extend((format != "auto").then(|| ("--format", format.to_owned())));
    let stable = request.stable.iter();
    options.extend(stable.map(|name| ("--stable", name.clone())));
    let canary = request.canary.iter();
    options.extend(canary.map(|name| ("--canary", name.clone())));
    options.extend(request.share.map(|share| ("--share", percent(share))));
    let steps = request.steps.iter();
    let step = |(at, share): &(Duration, f64)| format!("{}={}", written(*at), percent(*share));
    options.extend(steps.map(|one| ("--step", step(one))));
    let from = (!request.from.is_zero()).then_some(request.from);
    options.extend(from.map(|from| ("--from", written(from))));
    options.extend(request.to.map(|to| ("--to", written(to))));
    options.extend(request.within.map(|within| ("--within", written(within))));
    let words = options.into_iter();
    words
        .map(|(flag, value)| format!("{flag} {}", shell_word(&value)))
        .collect()
}

/// What a gate is told of a log that was looked through.
type Gate = LogSpec;
