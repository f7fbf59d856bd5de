//! Where the versions' upstreams are, from the router file, and the keys they want, from the environment
//! or a `.env` file. The keys of those who may choose a version, and the addresses of those who are told
//! of a rollback.

use std::path::Path;

use crate::cli::env;
use crate::cli::serve::dotenv::DotEnv;
use crate::cli::serve::keys::KeyRule;
use crate::config::diagnostic::{Diagnostic, Diagnostics, Problems};
use crate::id::{PerVersion, VersionId};
use crate::live::gateway::{Choosers, Endpoint, FindChoosers, FindEndpoints, Secret};
use crate::live::store::post;
use crate::router::config::{RouterConfig, VersionConfig};

/// The endpoints of all versions; none when one of them, or anybody else who is named, lacks what it
/// needs.
pub(super) fn collect(
    path: &Path,
    router: &RouterConfig,
    rule: KeyRule,
    problems: &Problems,
) -> Option<PerVersion<Endpoint>> {
    let search = Search::new(path, router, rule, problems);
    // Collected before it is judged, so that every mistake is told.
    let found = search.endpoints(router);
    let choosers = search.choosers(router);
    let are_receivers_known = search.receivers(router);
    choosers?;
    found.filter(|_| are_receivers_known)
}

/// Where these versions of a router are, with their keys.
///
/// # Errors
/// What is missing, of all of them.
pub(in crate::cli) fn of_some(
    path: &Path,
    router: &RouterConfig,
    is_wanted: impl Fn(VersionId) -> bool,
) -> Result<PerVersion<Option<Endpoint>>, Diagnostics> {
    let problems = Problems::default();
    let search = Search::new(path, router, KeyRule::Any, &problems);
    let all = router.versions.iter();
    let found = all.map(|(id, version)| match is_wanted(id) {
        true => search.endpoint(version),
        false => None,
    });
    let found = found.collect();
    match problems.has_errors() {
        true => Err(problems.into_diagnostics()),
        false => Ok(found),
    }
}

/// A variable of the environment, or of a `.env` file near the router file as it is now.
pub(super) fn variable(path: &Path, name: &str) -> Option<String> {
    env::variable(name).or_else(|| DotEnv::near(path, &Problems::default()).variable(name))
}

/// Finds the endpoints of whatever configuration comes into force. What it lacks was told when it was
/// applied; a checkpoint's may be from another day, and is served as far as it can be.
pub(super) fn finder(path: &Path, rule: KeyRule) -> FindEndpoints {
    let path = path.to_owned();
    FindEndpoints::by(move |router| {
        let problems = Problems::default();
        let search = Search::new(&path, router, rule, &problems);
        search.endpoints(router).unwrap_or_else(|| {
            tracing::error!(
                "the configuration in force lacks addresses or keys: {}",
                problems.into_diagnostics()
            );
            bare(router)
        })
    })
}

/// Finds who may choose a version under whatever configuration comes into force: nobody, when a key is
/// missing.
pub(super) fn chooser_finder(path: &Path) -> FindChoosers {
    let path = path.to_owned();
    FindChoosers::by(move |router| {
        let problems = Problems::default();
        let search = Search::new(&path, router, KeyRule::Any, &problems);
        let keys = search.choosers(router);
        if keys.is_none() {
            let why = problems.into_diagnostics();
            tracing::error!("nobody may choose a version by a key: {why}");
        }
        Choosers::with(keys.unwrap_or_default())
    })
}

/// The addresses alone.
fn bare(router: &RouterConfig) -> PerVersion<Endpoint> {
    let endpoint = |version: &VersionConfig| Endpoint {
        base: version.endpoint.clone().unwrap_or_default(),
        api_key: None,
    };
    router.versions.values().map(endpoint).collect()
}

/// The variables that hold addresses of those who are told of a rollback, each with its list.
fn receivers(router: &RouterConfig) -> impl Iterator<Item = (&'static str, &str)> {
    let policy = &router.rollback;
    let webhooks = policy.webhooks.iter().map(|entry| ("webhooks", entry));
    let peers = policy.peers.iter().map(|entry| ("peers", entry));
    let all = webhooks
        .chain(peers)
        .map(|(list, entry)| (list, entry.as_str()));
    all.filter(|(_, entry)| !post::is_url(entry))
}

struct Search<'p> {
    file: String,
    dotenv: DotEnv,
    rule: KeyRule,
    problems: &'p Problems,
}

/// Fewest characters of a key that lets callers choose: a shorter one can be guessed.
const LEAST: usize = 16;

impl<'p> Search<'p> {
    fn new(path: &Path, router: &RouterConfig, rule: KeyRule, problems: &'p Problems) -> Self {
        let of_versions = router.versions.values().any(|v| v.api_key_env.is_some());
        let overrides = router.overrides.as_ref();
        let of_callers = overrides.is_some_and(|policy| !policy.key_envs.is_empty());
        let of_receivers = receivers(router).next().is_some();
        Self {
            file: path.display().to_string(),
            // A file that nobody needs may hold what it likes.
            dotenv: match of_versions || of_callers || of_receivers {
                true => DotEnv::near(path, problems),
                false => DotEnv::default(),
            },
            rule,
            problems,
        }
    }

    /// The keys of those who may choose a version; none when one of them is missing or no key.
    fn choosers(&self, router: &RouterConfig) -> Option<Vec<Secret>> {
        let variables = router.overrides.iter().flat_map(|policy| &policy.key_envs);
        let keys: Vec<_> = variables.map(|name| self.chooser(name)).collect();
        keys.into_iter().collect()
    }

    fn chooser(&self, variable: &str) -> Option<Secret> {
        let found = env::variable(variable).or_else(|| self.dotenv.variable(variable));
        let hint = "export a key of your own making under this name, or take it out of `overrides`";
        let Some(key) = found else {
            let message = format!("overrides: the variable {variable} is not set");
            self.problem(message, hint);
            return None;
        };
        let flaw = KeyRule::Any.flaw(&key).map(|flaw| flaw.what);
        let is_short = key.len() < LEAST;
        let short =
            is_short.then(|| format!("has fewer than {LEAST} characters: it can be guessed"));
        if let Some(what) = flaw.or(short) {
            self.problem(format!("overrides: the key in {variable} {what}"), hint);
            return None;
        }
        Some(Secret::new(key))
    }

    fn problem(&self, message: String, hint: &str) {
        let problem = Diagnostic::file(&self.file, message).hint(hint);
        self.problems.add(problem);
    }

    /// Can everybody be told of a rollback whose address is in a variable?
    fn receivers(&self, router: &RouterConfig) -> bool {
        let missing = receivers(router).filter(|(list, name)| !self.is_receiver(list, name));
        missing.count() == 0
    }

    fn is_receiver(&self, list: &str, variable: &str) -> bool {
        let found = env::variable(variable).or_else(|| self.dotenv.variable(variable));
        // The address itself may be a secret.
        let what = match found.as_deref().map(post::address) {
            Some(Some(_)) => return true,
            Some(None) => "holds no http:// or https:// URL",
            None => "is not set",
        };
        let hint = "export the address under this name, or write it into a .env file beside the \
                    router file; else nobody there is told of a rollback";
        let message = format!("rollback.{list}: the variable {variable} {what}");
        self.problem(message, hint);
        false
    }

    fn endpoints(&self, router: &RouterConfig) -> Option<PerVersion<Endpoint>> {
        let all = router.versions.values();
        let found: Vec<_> = all.map(|version| self.endpoint(version)).collect();
        let found: Option<Vec<_>> = found.into_iter().collect();
        Some(found?.into_iter().collect())
    }

    fn endpoint(&self, version: &VersionConfig) -> Option<Endpoint> {
        let base = version.endpoint.clone();
        if base.is_none() {
            let message = format!("`{}` has no endpoint to send requests to", version.name);
            let hint = "add endpoint: http://127.0.0.1:9001/v1 to the version";
            self.problem(message, hint);
        }
        let api_key = match version.api_key_env.as_deref() {
            None => None,
            Some(variable) => Some(self.key(&version.name, variable)?),
        };
        Some(Endpoint {
            base: base?,
            api_key,
        })
    }

    fn key(&self, name: &str, variable: &str) -> Option<Secret> {
        let found = env::variable(variable).or_else(|| self.dotenv.variable(variable));
        let Some(key) = found else {
            let message = format!("`{name}`: the variable {variable} is not set");
            let hint = "export the version's API key under this name, or write it into a .env file \
                        beside the router file";
            self.problem(message, hint);
            return None;
        };
        if let Some(flaw) = self.rule.flaw(&key) {
            let message = format!("`{name}`: the key in {variable} {}", flaw.what);
            self.problem(message, flaw.hint);
            return None;
        }
        Some(Secret::new(key))
    }
}
