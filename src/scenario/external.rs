//! `router: {external: …}`: another gateway as the system under test.

use std::path::Path;
use std::time::Duration;

use crate::config::fields::{Cx, Fields};
use crate::config::node::{Entry, Node, Place, Value};
use crate::config::{prices, values, yaml};
use crate::config::{router_file, versions};
use crate::experiment::external::{External, Known, Launch, Ready, Way, check};
use crate::experiment::{Experiment, Traffic};
use crate::fault::kind::FaultKind;
use crate::id::PerVersion;
use crate::observe::meta::Engine;
use crate::router::config::{
    FallbackPolicy, JudgeConfig, RetryPolicy, RollbackConfig, RouterConfig, SplitConfig, Timeouts,
};
use crate::scenario::admin;
use crate::scenario::here;
use crate::scenario::load::{Loader, beside, named_here};

/// How long callers wait for an answer, unless the file says otherwise.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a gateway may take to be ready, unless the file says otherwise.
const WITHIN: Duration = Duration::from_secs(30);
/// Largest file that a gateway is given.
const MOST_BYTES: usize = yaml::MAX_BYTES;

/// The gateway, and what is expected of it in the form of a router's configuration.
pub type Tested = (RouterConfig, External);

/// Reads what stands behind `external`. None means that mistakes were reported.
pub fn read(cx: Cx<'_>, node: &Node, path: &Path, loader: &Loader) -> Option<Tested> {
    let fields = cx.fields(node, "another gateway")?;
    let versions = fields.required(
        "versions",
        "{v1: {role: stable, model: …, weight: 90}, v2: {role: canary, model: …, weight: 10}}",
        versions_of,
    );
    let names = versions.as_ref().map(|v| v.roles.names());
    let names = names.unwrap_or_default();
    let timeout = fields.optional("timeout", values::positive_duration);
    let routes = fields.optional("routes", |cx, n| router_file::routes(cx, n, &names));
    let sticky = fields.optional("sticky", router_file::sticky);
    let url = fields.optional("url", url);
    let has = |key| fields.node(key).is_some();
    let known = Known {
        versions: &names,
        is_started: has("launch"),
        has_weights: false,
    };
    let launch = fields.optional("launch", |cx, n| launch(cx, n, known, path, loader));
    let rolls_back = fields.optional("rolls_back", values::flag);
    let admin = fields.optional("admin", |cx, n| admin::read(cx, n, known));
    let admin_is_wrong = has("admin") && admin.is_none();
    if has("url") == has("launch") {
        let message = "another gateway is either started or there";
        fields.complain(
            message,
            "one of launch: {command: […]} and url: http://127.0.0.1:PORT/v1",
        );
    }
    if has("url")
        && let Some(versions) = &versions
    {
        let place = fields.place();
        check_ports(cx, place, versions);
    }
    fields.finish();
    let versions = versions.filter(|_| !admin_is_wrong)?;
    let way = url.map(Way::There).or(launch.map(Way::Launch))?;
    let external = External {
        way,
        ports: versions.ports,
        rolls_back: rolls_back.unwrap_or(false),
        admin,
        orders: Vec::new(),
    };
    let split = SplitConfig {
        weights: versions.weights,
        sticky,
    };
    let config = RouterConfig {
        routes: routes.unwrap_or_default(),
        ..config(versions.roles, split, timeout.unwrap_or(PATIENCE))
    };
    Some((config, external))
}

/// What the gates are told of a gateway that is none of ours.
fn config(roles: versions::Versions, split: SplitConfig, timeout: Duration) -> RouterConfig {
    RouterConfig {
        stable: roles.stable,
        canary: roles.canary,
        versions: roles.list,
        overrides: None,
        routes: Vec::new(),
        split,
        // Nobody here knows how it tries again.
        retry: RetryPolicy {
            max_retries: 0,
            base: Duration::ZERO,
            factor: 1.0,
            jitter: 0.0,
            max_wait: Duration::ZERO,
            budget: None,
        },
        timeouts: Timeouts {
            connect: timeout,
            escalation: None,
            first_token: None,
            idle: None,
            attempt: timeout,
            request: timeout,
        },
        fallback: FallbackPolicy::Immediately,
        judge: JudgeConfig::Off,
        ramp: None,
        rollback: RollbackConfig::default(),
    }
}

/// Its versions, and what only they have.
struct OwnVersions {
    roles: versions::Versions,
    weights: PerVersion<f64>,
    ports: PerVersion<Option<u16>>,
}

/// What a version of another gateway cannot have: that is for the gateway to know.
const NOT_OURS: [&str; 3] = ["endpoint", "features", "rate_limit"];

fn versions_of(cx: Cx<'_>, node: &Node) -> Option<OwnVersions> {
    let expected = "{v1: {role: stable, …}, v2: {role: canary, …}}";
    let Value::Map(entries) = &node.value else {
        return cx.wrong(node, "a mapping of versions", expected);
    };
    let own: Vec<_> = entries.iter().map(|entry| own_part(cx, entry)).collect();
    let plain = Node {
        place: node.place,
        value: Value::Map(entries.iter().map(without_own_part).collect()),
    };
    let roles = versions::read(cx, &plain, &prices::Names::Unset)?;
    let own: Vec<_> = own.into_iter().collect::<Option<_>>()?;
    let weights: PerVersion<f64> = own.iter().map(|(weight, _)| *weight).collect();
    if weights.values().sum::<f64>() <= 0.0 {
        let message = "the weights are all 0";
        return cx.error(cx.at(node.place, message).expected("a weight above 0"));
    }
    Some(OwnVersions {
        roles,
        weights,
        ports: own.iter().map(|(_, port)| *port).collect(),
    })
}

fn is_own(entry: &Entry) -> bool {
    ["weight", "port"].contains(&entry.key.as_str())
}

fn own_part(cx: Cx<'_>, entry: &Entry) -> Option<(f64, Option<u16>)> {
    let fields = cx.fields(&entry.value, "a version")?;
    let weight = fields.required(
        "weight",
        "its share in the gateway, like 90",
        values::weight,
    );
    let port = fields.optional("port", port);
    let is_wrong = port.is_none() && fields.node("port").is_some();
    for key in NOT_OURS {
        if let Some(node) = fields.node(key) {
            let message = format!("`{key}` is no matter of a version of another gateway");
            let hint = "say it to the gateway itself, in its own configuration";
            cx.problems.add(cx.at(node.place, message).hint(hint));
        }
    }
    (!is_wrong).then_some((weight?, port))
}

fn without_own_part(entry: &Entry) -> Entry {
    let value = match &entry.value.value {
        Value::Map(fields) => {
            let rest = fields.iter().filter(|f| !is_own(f));
            let rest = rest.filter(|f| !NOT_OURS.contains(&f.key.as_str()));
            Value::Map(rest.cloned().collect())
        }
        other => other.clone(),
    };
    Entry {
        value: Node {
            place: entry.value.place,
            value,
        },
        ..entry.clone()
    }
}

fn port(cx: Cx<'_>, node: &Node) -> Option<u16> {
    let value = values::positive(cx, node)?;
    match u16::try_from(value) {
        Ok(port) => Some(port),
        Err(_) => cx.wrong(node, "a port", "1 to 65535"),
    }
}

/// A gateway that runs already cannot be told where the mocks are.
fn check_ports(cx: Cx<'_>, place: Place, versions: &OwnVersions) {
    let missing = versions.ports.iter().find(|(_, port)| port.is_none());
    if let Some((version, _)) = missing {
        let name = &versions.roles.list[version].name;
        let message = format!("`{name}` has no port, and a gateway that runs already must know it");
        let expected = "port: 9001, the one that the gateway sends this version's requests to";
        cx.problems.add(cx.at(place, message).expected(expected));
    }
}

/// The base URL of a gateway: on this machine only.
fn url(cx: Cx<'_>, node: &Node) -> Option<String> {
    let expected =
        "a base URL on this machine, like http://127.0.0.1:4000/v1 or http://[::1]:4000/v1";
    let text = cx.text(node, "a URL", expected)?;
    match here::is_base_url(text, |_| false) {
        true => Some(text.trim_end_matches('/').to_owned()),
        false => cx.wrong(node, "a URL of a gateway on this machine", expected),
    }
}

fn launch(
    cx: Cx<'_>,
    node: &Node,
    known: Known<'_>,
    path: &Path,
    loader: &Loader,
) -> Option<Launch> {
    let fields = cx.fields(node, "the start of a gateway")?;
    let command = fields.required("command", "[program, argument, …]", |cx, n| {
        command(cx, n, known)
    });
    let env = fields.optional("env", |cx, n| {
        named_texts(cx, n, |cx, _, n| template(cx, n, known))
    });
    let files = fields.optional("files", |cx, n| {
        named_texts(cx, n, |cx, name, n| {
            file(cx, (name, n), known, path, loader)
        })
    });
    let is_wrong = fields.node("env").is_some() != env.is_some()
        || fields.node("files").is_some() != files.is_some();
    let ready = fields.optional("ready", ready);
    let ready_is_wrong = ready.is_none() && fields.node("ready").is_some();
    fields.finish();
    let (ready, within) = ready.unwrap_or((Ready::Tcp, WITHIN));
    let command = command?;
    (!is_wrong && !ready_is_wrong).then(|| Launch {
        command,
        env: env.unwrap_or_default(),
        files: files.unwrap_or_default(),
        ready,
        within,
    })
}

fn command(cx: Cx<'_>, node: &Node, known: Known<'_>) -> Option<Vec<String>> {
    let words = cx.list(node, "[program, argument, …]")?;
    if words.is_empty() {
        return cx.wrong(node, "a command", "[program, argument, …]");
    }
    let words: Vec<_> = words.iter().map(|n| template(cx, n, known)).collect();
    words.into_iter().collect()
}

/// A text that asks only for what there is.
pub(super) fn template(cx: Cx<'_>, node: &Node, known: Known<'_>) -> Option<String> {
    let text = cx.text(node, "a text", "a text; quoted, if it begins with {{")?;
    checked(cx, node, text, known)
}

fn checked(cx: Cx<'_>, node: &Node, text: &str, known: Known<'_>) -> Option<String> {
    // Without versions, their own mistakes are enough.
    match check(text, known) {
        Err(slot) if !known.versions.is_empty() => {
            let message = format!("nobody knows what `{{{{{slot}}}}}` is");
            cx.error(cx.at(node.place, message).expected(known.listed()))
        }
        _ => Some(text.to_owned()),
    }
}

/// A mapping of names to texts.
pub(super) fn named_texts(
    cx: Cx<'_>,
    node: &Node,
    read: impl Fn(Cx<'_>, &str, &Node) -> Option<String>,
) -> Option<Vec<(String, String)>> {
    let Value::Map(entries) = &node.value else {
        return cx.wrong(node, "a mapping", "{NAME: text}");
    };
    let read: Vec<_> = entries
        .iter()
        .map(|entry| Some((entry.key.clone(), read(cx, &entry.key, &entry.value)?)))
        .collect();
    read.into_iter().collect()
}

/// A file of the gateway: a text of several lines, or the path of one beside the scenario.
fn file(
    cx: Cx<'_>,
    (name, node): (&str, &Node),
    known: Known<'_>,
    path: &Path,
    loader: &Loader,
) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(is_plain) {
        let message = format!("`{name}` is not the name of a file in the gateway's own folder");
        let expected = "letters, digits, dots, dashes and underscores, like config.yaml";
        return cx.error(cx.at(node.place, message).expected(expected));
    }
    let text = cx.text(node, "a text or a path", "lines of text, or a path")?;
    if text.contains('\n') {
        return checked(cx, node, text, known);
    }
    let bytes = match loader.bytes(&beside(path, text), MOST_BYTES) {
        Ok(bytes) => bytes,
        Err(unreadable) => return cx.error(named_here(cx, node, unreadable)),
    };
    match String::from_utf8(bytes) {
        Ok(text) => checked(cx, node, &text, known),
        Err(_) => cx.wrong(node, "the path of a text in UTF-8", "a text file"),
    }
}

/// `tcp`, or `{http: /health, within: 30s}`.
fn ready(cx: Cx<'_>, node: &Node) -> Option<(Ready, Duration)> {
    if let Value::Scalar(word) = &node.value {
        return match word.as_str() {
            "tcp" => Some((Ready::Tcp, WITHIN)),
            _ => cx.wrong(
                node,
                "a sign of readiness",
                "tcp, or {http: /health, within: 30s}",
            ),
        };
    }
    let fields: Fields<'_, '_> = cx.fields(node, "readiness")?;
    let http = fields.optional("http", http_path);
    let http_is_wrong = http.is_none() && fields.node("http").is_some();
    let within = fields.optional("within", values::positive_duration);
    fields.finish();
    let ready = http.map_or(Ready::Tcp, Ready::Http);
    (!http_is_wrong).then(|| (ready, within.unwrap_or(WITHIN)))
}

fn http_path(cx: Cx<'_>, node: &Node) -> Option<String> {
    let expected = "a path, like /health";
    let text = cx.text(node, "a path", expected)?;
    let is_plain = |c: char| c.is_ascii_graphic();
    match text.starts_with('/') && text.chars().all(is_plain) {
        true => Some(text.to_owned()),
        false => cx.wrong(node, "a path", expected),
    }
}

/// What another gateway and the rest of a scenario say against each other.
pub struct Setting<'a> {
    /// Where the gateway is spoken of.
    pub place: Place,
    /// The engine that the file asks for.
    pub engine: Option<Engine>,
    /// The upstreams that are real.
    pub real: &'a PerVersion<Option<Place>>,
    /// What goes wrong.
    pub faults: &'a [crate::fault::schedule::Fault],
}

/// Reports what cannot be tried on another gateway.
pub fn check_setting(cx: Cx<'_>, setting: &Setting<'_>) {
    if setting.engine != Some(Engine::Live) {
        let message = "another gateway is tested, and the engine has no real time";
        let diagnostic = cx.at(setting.place, message).expected("engine: live");
        cx.problems.add(diagnostic);
    }
    for place in setting.real.values().flatten() {
        let message = "another gateway is tested before mocks only, and this upstream is real";
        cx.problems.add(cx.at(*place, message));
    }
    if setting
        .faults
        .iter()
        .any(|f| f.kind == FaultKind::TlsFailure)
    {
        let message = "another gateway speaks to mocks without TLS: no handshake can fail";
        let hint = "`refused` keeps everybody out as well";
        cx.problems.add(cx.at(setting.place, message).hint(hint));
    }
}

/// Does any request ask for what only the built-in gateway grants the harness?
pub fn has_forced(experiment: &Experiment) -> bool {
    match &experiment.traffic {
        Traffic::Synthetic(config) => config.forced.share() > 0.0,
        Traffic::Replay { .. } => false,
    }
}
