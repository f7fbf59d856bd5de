//! A recorded log through a router file, as `graygate replay` asks for it on the command line.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::diagnostic::{Diagnostics, Problems, Source};
use crate::config::fields::Cx;
use crate::config::node::{Node, Value};
use crate::config::yaml;
use crate::fault::schedule::Fault;
use crate::id::{PerVersion, Seed};
use crate::router::config::RouterConfig;
use crate::scenario::compile::{self, Parts, file_name, file_stem, shell_word, version_names};
use crate::scenario::distributions::Files;
use crate::scenario::load::Loader;
use crate::scenario::recorded::{self, LogFormat, LogRequest, written};
use crate::scenario::requires::Requires;
use crate::scenario::upstreams::{UpstreamSpecs, default_profile, read_profile};
use crate::scenario::{Scenario, faults, gates};
use crate::stats::compare::{Comparison, Op, Share};
use crate::upstream::profile::Profile;
use crate::upstream::recorded::Answers;
use crate::verdict::spec::{GateSpec, RequestsSpec};

/// What `graygate replay` was asked for.
#[derive(Clone, Debug)]
pub struct ReplayRequest {
    /// The log.
    pub log: LogRequest,
    /// The router file.
    pub router: PathBuf,
    /// A file with gates; by default 95 % of the callers must be served, and the router's
    /// numbers must agree with the ledgers.
    pub expect: Option<PathBuf>,
    /// `--fault` arguments: the fields of a fault.
    pub faults: Vec<String>,
    /// `--profile` argument: how the upstreams behave.
    pub profile: Option<String>,
    /// `--canary-profile` argument: how the canary behaves, where it differs.
    pub canary_profile: Option<String>,
    /// Does stable answer as the log says?
    pub is_stable_recorded: bool,
    /// `--canary-upstream`: a log that the canary answers like, and its format.
    pub canary_log: Option<(PathBuf, LogFormat)>,
    /// The seed.
    pub seed: Seed,
}

/// Puts the replay together: the scenario with warnings, or every mistake.
///
/// # Errors
/// All mistakes of the log, the router file, the file with gates and the arguments.
pub fn compile(request: &ReplayRequest) -> Result<(Scenario, Diagnostics), Diagnostics> {
    let problems = Problems::default();
    let scenario = scenario(request, &problems);
    compile::finish(scenario, problems, &request.log.path)
}

fn scenario(request: &ReplayRequest, problems: &Problems) -> Option<Scenario> {
    let loader = Loader::default();
    // What is run depends on the options as much as on the files.
    loader.note(options(request).join("\n").into_bytes());
    let router = compile::router_from_file(problems, &request.router, &loader);
    let traffic = recorded::load(&request.log, problems, &loader);
    // What an argument names is where graygate was started.
    let files = Files {
        from: Path::new(""),
        loader: &loader,
    };
    let read = |name: &'static str, text: &str| {
        argument(name, text, problems, |cx, n| read_profile(cx, n, files))
    };
    let profile = request.profile.as_deref();
    let profile = profile.map(|text| read("--profile", text));
    let canary = request.canary_profile.as_deref();
    let canary = canary.map(|text| read("--canary-profile", text));
    let router = router?;
    let names = version_names(&router);
    let faults: Vec<_> = request
        .faults
        .iter()
        .map(|text| read_fault(text, problems, Some(&names)))
        .collect();
    let faults: Vec<Fault> = faults.into_iter().flatten().collect();
    let setting = gates::Setting {
        router: &router,
        names: &names,
        faults: &faults,
        external: None,
    };
    let gates = expectations(request, setting, problems, &loader)?;
    let traffic = traffic?;
    let stable_profile: Profile = profile.flatten().unwrap_or_else(default_profile);
    let stable_profile = match request.is_stable_recorded {
        false => stable_profile,
        true => Profile {
            answers: Answers::OfTheRequest,
            ..stable_profile
        },
    };
    let canary_profile = canary.flatten();
    let mut canary_profile = canary_profile.unwrap_or_else(|| stable_profile.clone());
    if let Some((path, format)) = &request.canary_log {
        let reservoir = recorded::answers(path, *format, problems, &loader)?;
        canary_profile.answers = Answers::OfAny(Arc::new(reservoir));
    }
    let profiles = PerVersion::from_fn(names.len(), |version| {
        if version == router.canary {
            canary_profile.clone()
        } else {
            stable_profile.clone()
        }
    });
    let mut log = traffic.log.clone();
    let parts = Parts {
        seed: request.seed,
        router,
        gateway: None,
        upstreams: UpstreamSpecs::of(profiles),
        faults,
    };
    let experiment = parts.experiment(traffic);
    if let Some(log) = &mut log {
        recorded::recount(log, &experiment.traffic);
    }
    let name = file_stem(&request.log.path);
    Some(Scenario {
        path: request.log.path.clone(),
        title: format!("replay of {name}"),
        name: format!("replay-{name}"),
        description: None,
        engine: None,
        requires: Requires::default(),
        experiment,
        gates,
        sha256: loader.sha256(),
        is_named_by_sha256: true,
        command: command(request, file_name),
        command_here: command(request, |path| path.display().to_string()),
        log,
    })
}

/// The command line of this replay, without engine and seed. `show` writes paths.
fn command(request: &ReplayRequest, show: impl Fn(&Path) -> String) -> String {
    let file = |path: &Path| shell_word(&show(path));
    let mut words = vec![
        "graygate replay".to_owned(),
        file(&request.log.path),
        format!("--router {}", file(&request.router)),
    ];
    let expect = request.expect.as_deref().map(file);
    words.extend(expect.map(|path| format!("--expect {path}")));
    let canary = request.canary_log.as_ref().map(|(path, _)| file(path));
    words.extend(canary.map(|path| format!("--canary-upstream {path}")));
    words.extend(options(request));
    words.join(" ")
}

/// The options that change what is run and are no files, as words of a command line.
fn options(request: &ReplayRequest) -> Vec<String> {
    let log = &request.log;
    let speed = log.speed_name();
    let format = log.format.name();
    let recorded = request.is_stable_recorded;
    let canary_format = request.canary_log.as_ref().map(|(_, format)| format.name());
    let canary_format = canary_format.filter(|name| *name != "auto");
    let canary_format = canary_format.map(str::to_owned);
    let words = [
        ("--format", (format != "auto").then(|| format.to_owned())),
        ("--speed", (speed != "1x").then_some(speed)),
        ("--duration", log.duration.map(written)),
        ("--from", log.from.map(written)),
        ("--to", log.to.map(written)),
        (
            "--sample",
            log.sample.map(|share| format!("{}%", share * 100.0)),
        ),
        ("--scale-rate", log.scale_rate.map(|f| f.to_string())),
        ("--loop", log.rounds.map(|n| n.to_string())),
        ("--spread", log.spread.name()),
        ("--upstream", recorded.then(|| "recorded".to_owned())),
        ("--canary-format", canary_format),
        ("--profile", request.profile.clone()),
        ("--canary-profile", request.canary_profile.clone()),
    ];
    let given = words.into_iter().filter_map(|(flag, value)| {
        let value = shell_word(&value?);
        Some(format!("{flag} {value}"))
    });
    let faults = request.faults.iter();
    let faults = faults.map(|fault| format!("--fault {}", shell_word(fault)));
    given.chain(faults).collect()
}

/// Reads an argument that is written like the inside of a YAML mapping: `kind: reset, share: 30%`.
/// None means that mistakes were reported.
pub fn argument<T>(
    name: &str,
    text: &str,
    problems: &Problems,
    read: impl FnOnce(Cx<'_>, &Node) -> Option<T>,
) -> Option<T> {
    let is_mapping = text.trim_start().starts_with('{');
    let whole = if is_mapping {
        text.to_owned()
    } else {
        format!("{{{text}}}")
    };
    whole_argument(name, whole, problems, read)
}

/// The same of an argument that may be a single value, too: `120`, or `lognormal: {median: 120, p99: 900}`.
pub fn value<T>(
    name: &str,
    text: &str,
    problems: &Problems,
    read: impl FnOnce(Cx<'_>, &Node) -> Option<T>,
) -> Option<T> {
    match text.contains(':') {
        true => argument(name, text, problems, read),
        false => whole_argument(name, text.to_owned(), problems, read),
    }
}

fn whole_argument<T>(
    name: &str,
    text: String,
    problems: &Problems,
    read: impl FnOnce(Cx<'_>, &Node) -> Option<T>,
) -> Option<T> {
    let source = Source::new(name, text);
    let cx = Cx {
        source: &source,
        problems,
    };
    match yaml::parse(&source) {
        Ok(node) => read(cx, &node),
        Err(diagnostic) => cx.error(diagnostic),
    }
}

/// Reads a `--fault` argument. Without `names` there is one version, and `on` is not known.
pub fn read_fault(text: &str, problems: &Problems, names: Option<&[String]>) -> Option<Fault> {
    argument("--fault", text, problems, |cx, node| {
        faults::fault(cx, node, names)
    })
}

/// The gates of the `--expect` file, or those that everybody expects.
fn expectations(
    request: &ReplayRequest,
    setting: gates::Setting<'_>,
    problems: &Problems,
    loader: &Loader,
) -> Option<Vec<GateSpec>> {
    match &request.expect {
        Some(path) => read_expectations(path, setting, problems, loader),
        None => Some(default_gates(setting.router)),
    }
}

/// The gates of a file: a list, or a mapping with `expect`. None means that mistakes were reported.
pub(super) fn read_expectations(
    path: &Path,
    setting: gates::Setting<'_>,
    problems: &Problems,
    loader: &Loader,
) -> Option<Vec<GateSpec>> {
    let read = loader.yaml(path).and_then(|source| {
        let node = yaml::parse(&source)?;
        let cx = Cx {
            source: &source,
            problems,
        };
        let gates = match &node.value {
            Value::Map(_) => cx.fields(&node, "expectations").and_then(|fields| {
                let expected = "a list of gates";
                let gates =
                    fields.required("expect", expected, |cx, n| gates::read(cx, n, setting));
                fields.finish();
                gates
            }),
            _ => gates::read(cx, &node, setting),
        };
        Ok(gates)
    });
    match read {
        Ok(gates) => gates,
        Err(diagnostic) => {
            problems.add(diagnostic);
            None
        }
    }
}

/// What a replay must show when nobody says: callers are served (the articles' SLO), and the router
/// tells the truth.
fn default_gates(router: &RouterConfig) -> Vec<GateSpec> {
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
    let attribution = GateSpec::Attribution { min_n: 1 };
    vec![GateSpec::Requests(requests), attribution]
}
