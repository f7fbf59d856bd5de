//! `upstreams`: who answers, and how fast.

use std::sync::Arc;

use crate::config::fields::{Cx, Fields};
use crate::config::node::{Node, Place, Value};
use crate::config::values;
use crate::config::versions::find_version;
use crate::experiment::MockServer;
use crate::fault::schedule::Fault;
use crate::id::{PerVersion, VersionId};
use crate::rng::distribution::Distribution;
use crate::scenario::distributions::{self, Files, Kind};
use crate::scenario::load::{beside, named_here};
use crate::scenario::recorded::{LogFormat, answers, log_format};
use crate::scenario::{pressure, real};
use crate::upstream::capacity::Capacity;
use crate::upstream::profile::{Drip, Profile, Timing, WarmUp};
use crate::upstream::real::{Budget, RealUpstream};
use crate::upstream::recorded::Answers;

/// The upstreams of a scenario.
#[derive(Clone, Debug)]
pub struct UpstreamSpecs {
    /// How each behaves in good health.
    pub profiles: PerVersion<Profile>,
    /// Which server plays each, where the file says so.
    pub servers: PerVersion<Option<MockServer>>,
    /// Where the file says so.
    pub server_places: PerVersion<Option<Place>>,
    /// Those that are real.
    pub real: PerVersion<Option<RealUpstream>>,
    /// Where the file says so.
    pub real_places: PerVersion<Option<Place>>,
    /// Where the file says that one answers as the log of the traffic does.
    pub recorded_places: PerVersion<Option<Place>>,
    /// What the real ones may cost.
    pub budget: Budget,
}

impl UpstreamSpecs {
    /// Upstreams that behave like this, and of which nobody says what plays them.
    pub fn of(profiles: PerVersion<Profile>) -> Self {
        let versions = profiles.len();
        Self {
            profiles,
            servers: PerVersion::from_fn(versions, |_| None),
            server_places: PerVersion::from_fn(versions, |_| None),
            real: PerVersion::from_fn(versions, |_| None),
            real_places: PerVersion::from_fn(versions, |_| None),
            recorded_places: PerVersion::from_fn(versions, |_| None),
            budget: Budget::default(),
        }
    }
}

/// An upstream for scenarios that say nothing: latency lognormal with median 40 ms and p99 180 ms,
/// output tokens as the caller asks.
pub fn default_profile() -> Profile {
    Profile::of(Timing::Whole(Distribution::lognormal(0.040, 0.180)))
}

/// The same default for every version.
pub fn default(versions: usize) -> UpstreamSpecs {
    UpstreamSpecs::of(PerVersion::from_fn(versions, |_| default_profile()))
}

/// Reports upstreams that are to be played by a server that cannot play all that happens on them.
pub fn check_servers(cx: Cx<'_>, upstreams: &UpstreamSpecs, faults: &[Fault]) {
    for (version, place) in upstreams.server_places.iter() {
        let on_it = faults.iter().filter(|f| f.on.contains(&version));
        let hard = on_it.map(|f| f.kind).find(|kind| !kind.is_whole_reply());
        let fault = hard.map(|kind| format!("the fault `{}`", kind.name()));
        // It sees nobody hang up, and so could not say when a place is free again.
        let capacity = upstreams.profiles[version].capacity;
        let hard = fault.or(capacity.map(|_| "`capacity`".to_owned()));
        let is_recorded = upstreams.profiles[version].answers.are_recorded();
        let hard = hard.or(is_recorded.then(|| "recorded answers".to_owned()));
        let is_wiremock = upstreams.servers[version] == Some(MockServer::Wiremock);
        if let (Some(place), Some(what), true) = (place, hard, is_wiremock) {
            let message = format!("wiremock cannot play {what}");
            cx.problems.add(
                cx.at(*place, message)
                    .expected("server: native")
                    .hint("or leave `server` out: graygate then takes one that can"),
            );
        }
    }
}

/// Reports upstreams that answer as the log of the traffic says where no log is sent.
pub fn check_recorded(cx: Cx<'_>, upstreams: &UpstreamSpecs, has_log: bool) {
    let places = upstreams.recorded_places.values().flatten();
    for place in places.filter(|_| !has_log) {
        let message = "an upstream can only answer as the log says where a log is replayed";
        let expected = "traffic: {replay: {log: FILE}}, or {recorded: {log: FILE}} here: answers drawn from that log";
        cx.problems.add(cx.at(*place, message).expected(expected));
    }
}

/// The word for an upstream that answers as a log says.
const RECORDED: &str = "recorded";
/// The word for an upstream that is no mock.
const REAL: &str = "real";

/// Most models of one stand-alone mock.
pub const MOST_MODELS: usize = 64;

/// One upstream as written, before `like` is followed.
#[derive(Clone, Debug, Default)]
struct Written {
    /// It is real. Nothing else is said of it then.
    real: Option<(RealUpstream, Place)>,
    like: Option<(VersionId, Place)>,
    timing: Option<Timing>,
    latency_factor: Option<f64>,
    tokens_per_chunk: Option<u32>,
    output_tokens: Option<Distribution>,
    warm_up: Option<WarmUp>,
    drip: Option<Drip>,
    capacity: Option<Capacity>,
    server: Option<(MockServer, Place)>,
    answers: Answers,
    /// Where it says that it answers as the log of the traffic does.
    recorded: Option<Place>,
}

/// Reads `upstreams`. None means that mistakes were reported.
pub fn read(cx: Cx<'_>, node: &Node, names: &[String], files: Files<'_>) -> Option<UpstreamSpecs> {
    let expected = "an upstream for every version, like {v1: {mock: {latency: 40ms}}, …}";
    let Value::Map(entries) = &node.value else {
        return cx.wrong(node, "a mapping of upstreams", expected);
    };
    let mut written: Vec<Option<Written>> = vec![None; names.len()];
    let mut is_complete = !names.is_empty();
    for entry in entries {
        let version = find_version(cx, &entry.key, entry.place, names);
        let mock = upstream(cx, &entry.value, names, files);
        match (version, mock) {
            (Some(version), Some(mock)) => written[version.index()] = Some(mock),
            _ => is_complete = false,
        }
    }
    if !is_complete {
        return None;
    }
    if let Some(missing) = written.iter().position(Option::is_none) {
        let message = format!("`{}` has no upstream", names[missing]);
        return cx.error(cx.at(node.place, message).expected(expected));
    }
    let written: PerVersion<Written> = written.into_iter().flatten().collect();
    let profiles: Vec<_> = written
        .values()
        .map(|w| resolve(cx, node, w, &written))
        .collect();
    Some(UpstreamSpecs {
        profiles: profiles.into_iter().collect::<Option<_>>()?,
        servers: written.values().map(|w| Some(w.server?.0)).collect(),
        server_places: written.values().map(|w| Some(w.server?.1)).collect(),
        real_places: written.values().map(|w| Some(w.real.as_ref()?.1)).collect(),
        real: written
            .values()
            .map(|w| Some(w.real.as_ref()?.0.clone()))
            .collect(),
        recorded_places: written.values().map(|w| w.recorded).collect(),
        budget: Budget::default(),
    })
}

fn upstream(cx: Cx<'_>, node: &Node, names: &[String], files: Files<'_>) -> Option<Written> {
    if matches!(&node.value, Value::Scalar(word) if word == REAL) {
        return real(
            cx,
            &Node {
                value: Value::Map(Vec::new()),
                ..node.clone()
            },
        );
    }
    if matches!(&node.value, Value::Scalar(word) if word == RECORDED) {
        return Some(recorded_requests(Written::default(), node.place));
    }
    let entry = cx.choice(node, "an upstream", &["mock", RECORDED, REAL])?;
    match entry.key.as_str() {
        REAL => real(cx, &entry.value),
        RECORDED => recorded(cx, &entry.value, files),
        _ => mock(cx, &entry.value, Some(names), true, files),
    }
}

fn real(cx: Cx<'_>, node: &Node) -> Option<Written> {
    Some(Written {
        real: Some((real::read(cx, node)?, node.place)),
        ..Written::default()
    })
}

/// An upstream that answers as the log of the traffic says.
fn recorded_requests(otherwise: Written, place: Place) -> Written {
    Written {
        answers: Answers::OfTheRequest,
        recorded: Some(place),
        ..otherwise
    }
}

/// What stands behind `recorded`: another log than that of the traffic, and what is done where a log says nothing.
fn recorded(cx: Cx<'_>, node: &Node, files: Files<'_>) -> Option<Written> {
    let fields = cx.fields(node, "a recorded upstream")?;
    let log = fields.optional("log", |cx, n| {
        let text = cx.text(n, "a path", "the path of a log")?;
        let path = beside(files.from, text);
        match files.loader.open(&path) {
            Ok(_) => Some(path),
            Err(unreadable) => cx.error(named_here(cx, n, unreadable)),
        }
    });
    let format = fields.optional("format", log_format);
    let otherwise = fields.optional("otherwise", |cx, n| mock(cx, n, None, true, files));
    let said = ["log", "format", "otherwise"].map(|key| fields.node(key).is_some());
    let is_alone = format.is_some() && log.is_none();
    fields.finish();
    if said != [log.is_some(), format.is_some(), otherwise.is_some()] {
        return None; // What is wrong with it was reported.
    }
    if is_alone {
        let message = "`format` is that of another log, and there is none";
        return cx.error(
            cx.at(node.place, message)
                .expected("{recorded: {log: FILE, format: azure}}"),
        );
    }
    let otherwise = otherwise.unwrap_or_default();
    let Some(path) = log else {
        return Some(recorded_requests(otherwise, node.place));
    };
    let format = format.unwrap_or(LogFormat::Auto);
    let reservoir = answers(&path, format, cx.problems, files.loader)?;
    Some(Written {
        answers: Answers::OfAny(Arc::new(reservoir)),
        ..otherwise
    })
}

/// A mock's profile by itself, as `graygate mock --profile` and `replay --canary-profile` take it.
pub fn read_profile(cx: Cx<'_>, node: &Node, files: Files<'_>) -> Option<Profile> {
    let written = mock(cx, node, None, false, files)?;
    resolve(cx, node, &written, &PerVersion::default())
}

/// The profiles of several models by name, as the file of `graygate mock --models` has them.
pub fn read_models(cx: Cx<'_>, node: &Node, files: Files<'_>) -> Option<Vec<(String, Profile)>> {
    let expected = "the models with their profiles, like {gpt-4.1: {latency: 40ms}}";
    let Value::Map(entries) = &node.value else {
        return cx.wrong(node, "a mapping of models", expected);
    };
    if entries.is_empty() || entries.len() > MOST_MODELS {
        let message = format!("{} models", entries.len());
        let expected = format!("1 to {MOST_MODELS} models");
        return cx.error(cx.at(node.place, message).expected(expected));
    }
    let names: Vec<String> = entries.iter().map(|e| e.key.clone()).collect();
    let written = entries.iter();
    let written = written.map(|e| mock(cx, &e.value, Some(&names), false, files));
    // All of them are looked at before the first mistake ends it.
    let written: Vec<Option<Written>> = written.collect();
    let written: PerVersion<Written> = written
        .into_iter()
        .collect::<Option<Vec<_>>>()?
        .into_iter()
        .collect();
    let profiles = written.values().zip(entries);
    let profiles: Vec<_> = profiles
        .map(|(w, entry)| resolve(cx, &entry.value, w, &written))
        .collect();
    Some(
        names
            .into_iter()
            .zip(profiles.into_iter().collect::<Option<Vec<_>>>()?)
            .collect(),
    )
}

/// A mock as written; `like` is known only where there are `names` to refer to, and `server` only in a scenario.
fn mock(
    cx: Cx<'_>,
    node: &Node,
    names: Option<&[String]>,
    in_scenario: bool,
    files: Files<'_>,
) -> Option<Written> {
    let fields = cx.fields(node, "a mock upstream")?;
    let like = names.and_then(|names| {
        fields.optional("like", |cx, n| {
            let text = cx.text(n, "a version", "the name of a version")?;
            Some((find_version(cx, text, n.place, names)?, n.place))
        })
    });
    let timing = timing(cx, &fields, node, files);
    let written = Written {
        real: None,
        like,
        timing: timing.clone().flatten(),
        latency_factor: fields.optional("latency_factor", values::factor),
        tokens_per_chunk: fields.optional("tokens_per_chunk", values::positive),
        output_tokens: fields.optional("output_tokens", |cx, n| {
            distributions::read(cx, n, Kind::Tokens, files)
        }),
        warm_up: fields.optional("warm_up", pressure::warm_up),
        drip: fields.optional("slow_drip", pressure::drip),
        capacity: fields.optional("capacity", pressure::capacity),
        server: in_scenario
            .then(|| fields.optional("server", server))
            .flatten(),
        answers: Answers::Drawn,
        recorded: None,
    };
    fields.finish();
    timing.map(|_| written)
}

fn server(cx: Cx<'_>, node: &Node) -> Option<(MockServer, Place)> {
    let words = [MockServer::Wiremock, MockServer::Native].map(|s| (s.name(), s));
    let server = values::word(cx, node, "a mock server", &words)?;
    Some((server, node.place))
}

/// Follows `like` once: a version that is itself like another cannot be the model.
fn resolve(
    cx: Cx<'_>,
    node: &Node,
    written: &Written,
    all: &PerVersion<Written>,
) -> Option<Profile> {
    if written.real.is_some() {
        // Nobody asks for it.
        return Some(default_profile());
    }
    let model = match written.like {
        None => None,
        Some((version, place)) => {
            let model = &all[version];
            if model.real.is_some() {
                let message = "`like` must name a mock, and this version is real";
                return cx.error(cx.at(place, message));
            }
            if model.like.is_some() {
                let message = "`like` must name a version that is described by itself";
                return cx.error(cx.at(place, message));
            }
            Some(model)
        }
    };
    let own_factor = written.latency_factor.unwrap_or(1.0);
    let model_factor = model.and_then(|m| m.latency_factor).unwrap_or(1.0);
    let timing = written.timing.as_ref();
    let timing = timing.or_else(|| model.and_then(|m| m.timing.as_ref()));
    let mut both = std::iter::once(written).chain(model);
    let is_recorded = both.any(|written| written.answers.are_recorded());
    let usual = default_profile().timing;
    let timing = timing.or(is_recorded.then_some(&usual));
    let Some(timing) = timing else {
        let expected = "latency: 40ms, latency: {lognormal: {median: 40ms, p99: 180ms}}, like: v1, or \
             first_token: 200ms and tokens_per_second: 50";
        return cx.error(
            cx.at(node.place, "a mock has no latency")
                .expected(expected),
        );
    };
    let tokens = written.output_tokens.clone();
    Some(Profile {
        timing: timing.clone(),
        latency_factor: own_factor * model_factor,
        tokens_per_chunk: written
            .tokens_per_chunk
            .or(model.and_then(|m| m.tokens_per_chunk))
            .unwrap_or(1),
        output_tokens: tokens.or_else(|| model?.output_tokens.clone()),
        warm_up: written.warm_up.or(model.and_then(|m| m.warm_up)),
        drip: written.drip.or(model.and_then(|m| m.drip)),
        capacity: written.capacity.or(model.and_then(|m| m.capacity)),
        answers: match model {
            // Whoever says how long answers take does not mean those of the log.
            Some(model) if written.timing.is_none() => model.answers.clone(),
            _ => written.answers.clone(),
        },
    })
}

/// `latency`, or `first_token` with `tokens_per_second`. The inner none stands for neither, the outer for
/// mistakes.
fn timing(
    cx: Cx<'_>,
    fields: &Fields<'_, '_>,
    node: &Node,
    files: Files<'_>,
) -> Option<Option<Timing>> {
    let whole = fields.optional("latency", |cx, n| {
        distributions::read(cx, n, Kind::Time, files)
    });
    let first = fields.optional("first_token", |cx, n| first_token(cx, n, files));
    let speed = fields.optional("tokens_per_second", |cx, n| {
        distributions::read(cx, n, Kind::Speed, files)
    });
    let said =
        ["latency", "first_token", "tokens_per_second"].map(|key| fields.node(key).is_some());
    if said != [whole.is_some(), first.is_some(), speed.is_some()] {
        return None; // What is wrong with it was reported.
    }
    match (whole, first, speed) {
        (None, None, None) => Some(None),
        (Some(whole), None, None) => Some(Some(Timing::Whole(whole))),
        (None, Some((first_token, per_input_token)), Some(tokens_per_second)) => {
            Some(Some(Timing::Paced {
                first_token,
                per_input_token,
                tokens_per_second,
            }))
        }
        _ => {
            let message = "the times of a mock are said in one of two ways";
            let expected = "latency: 40ms, or first_token: 200ms and tokens_per_second: 50";
            cx.error(cx.at(node.place, message).expected(expected))
        }
    }
}

/// A distribution, or `{base: …, per_input_token: …}`: that, and the seconds for each token of the prompt.
fn first_token(cx: Cx<'_>, node: &Node, files: Files<'_>) -> Option<(Distribution, f64)> {
    let is_own = |key: &str| matches!(key, "base" | "per_input_token");
    match &node.value {
        Value::Map(entries) if entries.iter().any(|e| is_own(&e.key)) => {}
        _ => return distributions::read(cx, node, Kind::Time, files).map(|base| (base, 0.0)),
    }
    let fields = cx.fields(node, "a first token")?;
    let base = fields.required("base", "100ms", |cx, n| {
        distributions::read(cx, n, Kind::Time, files)
    });
    let each = fields.required("per_input_token", "0.2ms", values::duration);
    fields.finish();
    Some((base?, each?.as_secs_f64()))
}
