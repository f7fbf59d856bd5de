//! The versions of a router file: their names, roles, models, addresses, and where their keys are.

use crate::config::fields::{Cx, closest, head, listed};
use crate::config::limits;
use crate::config::node::{Entry, Node, Place, Value};
use crate::config::prices::{self, Names};
use crate::config::redact::{is_variable_name, looks_like_key};
use crate::config::values;
use crate::id::{PerVersion, VersionId};
use crate::router::config::{Features, VersionConfig};

const STABLE: &str = "stable";
const CANARY: &str = "canary";
/// Longest name of a version: names stand in tables, headers and file formats.
const LONGEST_NAME: usize = 64;
/// From this length on, what is no name of a variable may be a key, and is not shown.
const MAYBE_KEY: usize = 16;

/// The versions of a router, with their roles.
pub struct Versions {
    /// In the order of the file.
    pub list: PerVersion<VersionConfig>,
    /// The one with role `stable`.
    pub stable: VersionId,
    /// The one with role `canary`.
    pub canary: VersionId,
}

impl Versions {
    /// Their names, in the order of their ids.
    pub fn names(&self) -> Vec<String> {
        self.list.values().map(|v| v.name.clone()).collect()
    }
}

/// Reads `versions`, whose prices may have `prices` as names. None means that mistakes were reported.
pub fn read(cx: Cx<'_>, node: &Node, prices: &Names) -> Option<Versions> {
    let expected = "one version with role: stable and one with role: canary";
    let Value::Map(entries) = &node.value else {
        return cx.wrong(node, "a mapping of versions", expected);
    };
    if let Some(third) = entries.get(2) {
        let message = format!("there are {} versions", entries.len());
        return cx.error(cx.at(third.place, message).expected(expected));
    }
    let read: Vec<_> = entries.iter().map(|e| version(cx, e, prices)).collect();
    let read: Vec<(VersionConfig, &str)> = read.into_iter().collect::<Option<_>>()?;
    let with_role = |role| {
        let mut found = (0..).zip(&read).filter(|(_, (_, r))| *r == role);
        let first = found.next().map(|(i, _)| VersionId(i));
        first.filter(|_| found.next().is_none())
    };
    let (Some(stable), Some(canary)) = (with_role(STABLE), with_role(CANARY)) else {
        let roles: Vec<&str> = read.iter().map(|(_, r)| *r).collect();
        let message = format!("the versions have the roles {}", listed(&roles));
        return cx.error(cx.at(node.place, message).expected(expected));
    };
    Some(Versions {
        list: read.into_iter().map(|(v, _)| v).collect(),
        stable,
        canary,
    })
}

fn version(cx: Cx<'_>, entry: &Entry, prices: &Names) -> Option<(VersionConfig, &'static str)> {
    let name = name(cx, entry);
    let fields = cx.fields(&entry.value, "a version")?;
    let roles = [(STABLE, STABLE), (CANARY, CANARY)];
    let role = fields.required("role", "stable or canary", |cx, n| {
        values::word(cx, n, "a role", &roles)
    });
    let model = fields.required("model", "the model's name", values::text);
    let endpoint = fields.optional("endpoint", endpoint);
    let api_key_env = fields.optional("api_key_env", api_key_env);
    let features = fields.optional("features", features);
    let rate_limit = fields.optional("rate_limit", limits::rate_limit);
    let price = fields.optional("price", |cx, n| prices::price(cx, n, prices));
    fields.finish();
    let version = VersionConfig {
        name: name?,
        model: model?,
        endpoint,
        api_key_env,
        // What is not restricted is offered.
        features: features.unwrap_or(Features::ALL),
        rate_limit,
        price,
    };
    Some((version, role?))
}

/// A version's name. It gets into response headers, tables and pictures, so that nothing is allowed
/// that means something there.
fn name(cx: Cx<'_>, entry: &Entry) -> Option<String> {
    let name = &entry.key;
    let is_fine = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let is_name = (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(is_fine);
    if !is_name {
        let message = format!("`{}` is not the name of a version", head(name));
        let expected = "at most 64 letters, digits, dots, dashes and underscores, like v2";
        return cx.error(cx.at(entry.place, message).expected(expected));
    }
    if name == "all" {
        let message = "no version can be called `all`";
        let hint = "timeline.csv uses this word for all versions together";
        return cx.error(cx.at(entry.place, message).hint(hint));
    }
    Some(name.clone())
}

fn endpoint(cx: Cx<'_>, node: &Node) -> Option<String> {
    let expected = "a base URL, like http://127.0.0.1:9001/v1";
    let text = cx.text(node, "a URL", expected)?;
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    if text.contains('@') {
        // Whatever stands before the sign; a password may hold any character.
        let message = "the URL holds a user name or password";
        let hint = "put the key into an environment variable and name it in api_key_env";
        let diagnostic = cx.at(node.place, message).without_line();
        return cx.error(diagnostic.expected(expected).hint(hint));
    }
    let Some(rest) = rest else {
        return cx.wrong(node, "a URL", expected);
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || "?#".contains(c);
    let (host, port) = host_and_port(authority);
    if host.is_empty() || rest.contains(is_odd) {
        return cx.wrong(node, "a base URL", expected);
    }
    if port.is_some_and(|p| p.parse::<u16>().ok().is_none_or(|p| p == 0)) {
        let what = "a URL with a port from 1 to 65535";
        return cx.wrong(node, what, expected);
    }
    Some(text.trim_end_matches('/').to_owned())
}

/// `host:port`, `[::1]:port`, or a host alone.
fn host_and_port(authority: &str) -> (&str, Option<&str>) {
    // The colons of an IPv6 address stand in brackets.
    let bracket = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[bracket..].split_once(':') {
        Some((rest, port)) => (&authority[..bracket + rest.len()], Some(port)),
        None => (authority, None),
    }
}

fn features(cx: Cx<'_>, node: &Node) -> Option<Features> {
    let words = [("streaming", true), ("tools", false)];
    let mut features = Features::default();
    for item in cx.list(node, "[streaming, tools]")? {
        match values::word(cx, item, "a feature", &words)? {
            true => features.streaming = true,
            false => features.tools = true,
        }
    }
    Some(features)
}

fn api_key_env(cx: Cx<'_>, node: &Node) -> Option<String> {
    let expected = "the name of an environment variable, like CANARY_API_KEY";
    let text = cx.text(node, "a variable's name", expected)?;
    let is_name = is_variable_name(text);
    if looks_like_key(text) || (!is_name && text.chars().count() >= MAYBE_KEY) {
        let message = "this looks like a key, not like the name of a variable";
        let hint = "keys do not belong into files: export the key and name the variable here";
        let diagnostic = cx.at(node.place, message).without_line();
        return cx.error(diagnostic.expected(expected).hint(hint));
    }
    if !is_name {
        let diagnostic = cx.at(node.place, "this is not the name of a variable");
        return cx.error(diagnostic.expected(expected));
    }
    Some(text.to_owned())
}

/// A version by its name. Without any names (the versions themselves are wrong) nothing is said.
pub fn version_name(cx: Cx<'_>, node: &Node, names: &[String]) -> Option<VersionId> {
    let text = cx.text(node, "a version", "the name of a version")?;
    find_version(cx, text, node.place, names)
}

/// A version by the name that stands at `place`.
pub fn find_version(cx: Cx<'_>, name: &str, place: Place, names: &[String]) -> Option<VersionId> {
    if names.is_empty() {
        return None;
    }
    if let Some((id, _)) = (0..).zip(names).find(|(_, n)| *n == name) {
        return Some(VersionId(id));
    }
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    let diagnostic = cx
        .at(place, format!("there is no version `{}`", head(name)))
        .expected(format!("one of {}", listed(&known)));
    cx.error(match closest(name, &known) {
        Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
        None => diagnostic,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::diagnostic::{Problems, Source};
    use crate::config::yaml;

    /// What is said about a file with these versions; nothing when all is well.
    fn said(text: &str) -> String {
        let source = Source::new("r.yaml", text);
        let problems = Problems::default();
        let cx = Cx {
            source: &source,
            problems: &problems,
        };
        let versions = read(cx, &yaml::parse(&source).unwrap(), &Names::Unset);
        assert!(versions.is_some() || problems.has_errors(), "{text}");
        problems.into_diagnostics().to_string()
    }

    fn with(canary: &str) -> String {
        said(&format!(
            "v1: {{role: stable, model: a}}\nv2: {{role: canary, model: b, {canary}}}\n"
        ))
    }

    #[test]
    fn names_hold_nothing_that_means_something_elsewhere() {
        let named = |name: &str| {
            said(&format!(
                "v1: {{role: stable, model: a}}\n{name}: {{role: canary, model: b}}\n"
            ))
        };
        let longest = "x".repeat(64);
        for fine in ["v2", "gpt-4.1_new", "2026.1", &longest, "All"] {
            assert_eq!(named(fine), "", "{fine}");
        }
        let long = "x".repeat(65);
        for odd in ["\"a b\"", "\"a\\nb\"", "größe", "a/b", "\"\"", &long] {
            let said = named(odd);
            assert!(
                said.contains("is not the name of a version"),
                "{odd}: {said}"
            );
        }
        assert!(named("all").contains("timeline.csv"));
    }

    #[test]
    fn there_are_two_versions_however_many_are_written() {
        for n in [0, 1, 3, 255, 256, 257, 2_000] {
            let versions = (0..n).map(|i| format!("v{i}: {{role: canary, model: a}}\n"));
            let text: String = match n {
                0 => "{}".to_owned(),
                _ => versions.collect(),
            };
            let said = said(&text);
            assert!(said.contains("one with role: canary"), "{n}: {said}");
            assert!(n < 3 || said.contains(&format!("there are {n} versions")));
        }
    }

    #[test]
    fn an_endpoint_is_an_address_without_secrets() {
        for fine in [
            "http://127.0.0.1:9001/v1",
            "http://localhost",
            "https://example.test:65535/v1/",
            "http://[::1]:80/v1",
        ] {
            assert_eq!(with(&format!("endpoint: '{fine}'")), "", "{fine}");
        }
        for odd in [
            "http://host:0/v1",
            "http://host:65536/v1",
            "http://host:/v1",
            "http://host:http/v1",
            "http://:80/v1",
            "http://[::1]:/v1",
            "http://a b/v1",
            "http://host/v1?x=1",
            "ftp://host/v1",
            "http://",
        ] {
            let said = with(&format!("endpoint: '{odd}'"));
            assert!(said.contains("expected: a base URL"), "{odd}: {said}");
        }
        for secret in [
            "http://me:hunter2@host/v1",
            "http://hunter2@host",
            "http://me:hun/ter2@host",
            "me:hunter2@host",
        ] {
            let said = with(&format!("endpoint: '{secret}'"));
            assert!(said.contains("user name or password"), "{secret}: {said}");
            assert!(!said.contains("ter2"), "{said}");
        }
    }

    #[test]
    fn a_key_in_the_place_of_its_variable_is_not_shown() {
        assert_eq!(with("api_key_env: CANARY_API_KEY_2"), "");
        assert_eq!(with("api_key_env: _KEY"), "");
        for odd in ["canary_key", "2_KEYS", "MY-KEY", "\"\"", "A KEY"] {
            let said = with(&format!("api_key_env: {odd}"));
            assert!(said.contains("the name of a variable"), "{odd}: {said}");
        }
        for key in [
            "sk-abcdefabcdef0123456789",
            "AIzaSyA1234567890abcdefghij",
            "\"eyJhbGciOi.eyJzdWIi.SflKxwRJSMeKKF2QT4=\"",
            "0123456789abcdef0123456789abcdef",
        ] {
            // A mistake beside it shows the same line.
            for more in ["", ", modle: c"] {
                let said = with(&format!("api_key_env: {key}{more}"));
                assert!(said.contains("looks like a key"), "{key}: {said}");
                let inner = key.trim_matches('"');
                assert!(!said.contains(&inner[4..12]), "{said}");
            }
        }
    }
}
