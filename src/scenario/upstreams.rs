//! `upstreams`: who answers, and how fast.

use crate::config::fields::{Cx, Fields};
use crate::config::node::{Node, Place, Value};
use crate::config::values;
use crate::config::versions::find_version;
use crate::experiment::MockServer;
use crate::fault::schedule::Fault;
use crate::id::{PerVersion, VersionId};
use crate::upstream::profile::{Distribution, Profile, Timing};

/// The upstreams of a scenario.
#[derive(Clone, Debug)]
pub struct UpstreamSpecs {
    /// How each behaves in good health.
    pub profiles: PerVersion<Profile>,
    /// Which server plays each, where the file says so.
    pub servers: PerVersion<Option<MockServer>>,
    /// Where the file says so.
    pub server_places: PerVersion<Option<Place>>,
}

impl UpstreamSpecs {
    /// Upstreams that behave like this, and of which nobody says what plays them.
    pub fn of(profiles: PerVersion<Profile>) -> Self {
        let versions = profiles.len();
        Self {
            profiles,
            servers: PerVersion::from_fn(versions, |_| None),
            server_places: PerVersion::from_fn(versions, |_| None),
        }
    }
}

/// An upstream for scenarios that say nothing: latency lognormal with median 40 ms and p99 180 ms,
/// output tokens as the caller asks.
pub fn default_profile() -> Profile {
    Profile {
        timing: Timing::Whole(Distribution::lognormal(0.040, 0.180)),
        latency_factor: 1.0,
        tokens_per_chunk: 1,
        output_tokens: None,
    }
}

/// The same default for every version.
pub fn default(versions: usize) -> UpstreamSpecs {
    UpstreamSpecs::of(PerVersion::from_fn(versions, |_| default_profile()))
}

/// Reports upstreams that are to be played by a server that cannot play all faults on them.
pub fn check_servers(cx: Cx<'_>, upstreams: &UpstreamSpecs, faults: &[Fault]) {
    for (version, place) in upstreams.server_places.iter() {
        let on_it = faults.iter().filter(|f| f.on.contains(&version));
        let hard = on_it.map(|f| f.kind).find(|kind| !kind.is_whole_reply());
        let is_wiremock = upstreams.servers[version] == Some(MockServer::Wiremock);
        if let (Some(place), Some(kind), true) = (place, hard, is_wiremock) {
            let message = format!("wiremock cannot play the fault `{}`", kind.name());
            cx.problems.add(
                cx.at(*place, message)
                    .expected("server: native")
                    .hint("or leave `server` out: graygate then takes one that can"),
            );
        }
    }
}

/// One mock as written, before `like` is followed.
#[derive(Clone, Debug, Default)]
struct Written {
    like: Option<(VersionId, Place)>,
    timing: Option<Timing>,
    latency_factor: Option<f64>,
    tokens_per_chunk: Option<u32>,
    output_tokens: Option<Distribution>,
    server: Option<(MockServer, Place)>,
}

/// Reads `upstreams`. None means that mistakes were reported.
pub fn read(cx: Cx<'_>, node: &Node, names: &[String]) -> Option<UpstreamSpecs> {
    let expected = "an upstream for every version, like {v1: {mock: {latency: 40ms}}, …}";
    let Value::Map(entries) = &node.value else {
        return cx.wrong(node, "a mapping of upstreams", expected);
    };
    let mut written: Vec<Option<Written>> = vec![None; names.len()];
    let mut is_complete = !names.is_empty();
    for entry in entries {
        let version = find_version(cx, &entry.key, entry.place, names);
        let mock = upstream(cx, &entry.value, names);
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
    })
}

fn upstream(cx: Cx<'_>, node: &Node, names: &[String]) -> Option<Written> {
    let entry = cx.choice(node, "an upstream", &["mock"])?;
    mock(cx, &entry.value, Some(names))
}

/// A mock's profile by itself, as `graygate mock --profile` and `replay --canary-profile` take it.
pub fn read_profile(cx: Cx<'_>, node: &Node) -> Option<Profile> {
    let written = mock(cx, node, None)?;
    resolve(cx, node, &written, &PerVersion::default())
}

/// A mock as written; `like` is known only where there are `names` to refer to.
fn mock(cx: Cx<'_>, node: &Node, names: Option<&[String]>) -> Option<Written> {
    let fields = cx.fields(node, "a mock upstream")?;
    let like = names.and_then(|names| {
        fields.optional("like", |cx, n| {
            let text = cx.text(n, "a version", "the name of a version")?;
            Some((find_version(cx, text, n.place, names)?, n.place))
        })
    });
    let written = Written {
        like,
        timing: timing(cx, &fields, node)?,
        latency_factor: fields.optional("latency_factor", values::factor),
        tokens_per_chunk: fields.optional("tokens_per_chunk", values::positive),
        output_tokens: fields.optional("output_tokens", output_tokens),
        server: names.and_then(|_| fields.optional("server", server)),
    };
    fields.finish();
    Some(written)
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
    let model = match written.like {
        None => None,
        Some((version, place)) => {
            let model = &all[version];
            if model.like.is_some() {
                let message = "`like` must name a version that is described by itself";
                return cx.error(cx.at(place, message));
            }
            Some(model)
        }
    };
    let own_factor = written.latency_factor.unwrap_or(1.0);
    let model_factor = model.and_then(|m| m.latency_factor).unwrap_or(1.0);
    let timing = written.timing.or(model.and_then(|m| m.timing));
    let Some(timing) = timing else {
        let expected = "latency: 40ms, latency: {lognormal: {median: 40ms, p99: 180ms}}, like: v1, or \
             first_token: 200ms and tokens_per_second: 50";
        return cx.error(
            cx.at(node.place, "a mock has no latency")
                .expected(expected),
        );
    };
    Some(Profile {
        timing,
        latency_factor: own_factor * model_factor,
        tokens_per_chunk: written
            .tokens_per_chunk
            .or(model.and_then(|m| m.tokens_per_chunk))
            .unwrap_or(1),
        output_tokens: written
            .output_tokens
            .or(model.and_then(|m| m.output_tokens)),
    })
}

/// `latency`, or `first_token` with `tokens_per_second`. The inner none stands for neither, the outer for
/// mistakes.
fn timing(cx: Cx<'_>, fields: &Fields<'_, '_>, node: &Node) -> Option<Option<Timing>> {
    let whole = fields.optional("latency", latency);
    let first_token = fields.optional("first_token", latency);
    let speed = fields.optional("tokens_per_second", output_tokens);
    match (whole, first_token, speed) {
        (None, None, None) => Some(None),
        (Some(whole), None, None) => Some(Some(Timing::Whole(whole))),
        (None, Some(first_token), Some(tokens_per_second)) => Some(Some(Timing::Paced {
            first_token,
            tokens_per_second,
        })),
        _ => {
            let message = "the times of a mock are said in one of two ways";
            let expected = "latency: 40ms, or first_token: 200ms and tokens_per_second: 50";
            cx.error(cx.at(node.place, message).expected(expected))
        }
    }
}

fn latency(cx: Cx<'_>, node: &Node) -> Option<Distribution> {
    if let Value::Scalar(_) = node.value {
        return values::duration(cx, node).map(|d| Distribution::Constant(d.as_secs_f64()));
    }
    let entry = cx.choice(node, "a latency", &["constant", "lognormal"])?;
    if entry.key == "constant" {
        return latency(cx, &entry.value);
    }
    lognormal_time(cx, node, &entry.value)
}

/// A lognormal distribution of durations, in seconds, whose parameters are the `value` of `node`. None means
/// that mistakes were reported.
pub fn lognormal_time(cx: Cx<'_>, node: &Node, value: &Node) -> Option<Distribution> {
    let fields = cx.fields(value, "a lognormal distribution")?;
    let median = fields.required("median", "40ms", values::positive_duration);
    let p99 = fields.required("p99", "180ms", values::positive_duration);
    fields.finish();
    let seconds = |d: std::time::Duration| d.as_secs_f64();
    lognormal(cx, node, seconds(median?), seconds(p99?))
}

fn output_tokens(cx: Cx<'_>, node: &Node) -> Option<Distribution> {
    numbers(cx, node, "output_tokens")
}

/// A whole number above 0, or a distribution of such. `what` names it in messages.
pub fn numbers(cx: Cx<'_>, node: &Node, what: &str) -> Option<Distribution> {
    if let Value::Scalar(_) = node.value {
        return values::positive(cx, node).map(|n| Distribution::Constant(f64::from(n)));
    }
    let entry = cx.choice(node, what, &["constant", "lognormal"])?;
    if entry.key == "constant" {
        return numbers(cx, &entry.value, what);
    }
    let fields = cx.fields(&entry.value, "a lognormal distribution")?;
    let median = fields.required("median", "120", values::positive);
    let p99 = fields.required("p99", "900", values::positive);
    fields.finish();
    lognormal(cx, node, f64::from(median?), f64::from(p99?))
}

fn lognormal(cx: Cx<'_>, node: &Node, median: f64, p99: f64) -> Option<Distribution> {
    if p99 < median {
        let message = "the 99th percentile is below the median";
        return cx.error(
            cx.at(node.place, message)
                .expected("p99 no less than median"),
        );
    }
    Some(Distribution::lognormal(median, p99))
}
