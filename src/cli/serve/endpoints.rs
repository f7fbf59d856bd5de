//! Where the versions' upstreams are, from the router file, and the keys they want, from the environment
//! or a `.env` file.

use std::path::Path;

use crate::cli::env;
use crate::cli::serve::dotenv::DotEnv;
use crate::cli::serve::keys::KeyRule;
use crate::config::diagnostic::{Diagnostic, Problems};
use crate::id::PerVersion;
use crate::live::gateway::{Endpoint, FindEndpoints, Secret};
use crate::router::config::{RouterConfig, VersionConfig};

/// The endpoints of all versions; none when one of them lacks what it needs.
pub(super) fn collect(
    path: &Path,
    router: &RouterConfig,
    rule: KeyRule,
    problems: &Problems,
) -> Option<PerVersion<Endpoint>> {
    let needs_keys = router.versions.values().any(|v| v.api_key_env.is_some());
    let search = Search {
        file: path.display().to_string(),
        // A file that nobody needs may hold what it likes.
        dotenv: match needs_keys {
            true => DotEnv::near(path, problems),
            false => DotEnv::default(),
        },
        rule,
        problems,
    };
    let all = router.versions.values();
    // Collected before it is judged, so that every mistake is told.
    let found: Vec<_> = all.map(|version| search.endpoint(version)).collect();
    let found: Option<Vec<_>> = found.into_iter().collect();
    Some(found?.into_iter().collect())
}

/// Finds the endpoints of whatever configuration comes into force. What it lacks was told when it was
/// applied; a checkpoint's may be from another day, and is served as far as it can be.
pub(super) fn finder(path: &Path, rule: KeyRule) -> FindEndpoints {
    let path = path.to_owned();
    FindEndpoints::by(move |router| {
        let problems = Problems::default();
        collect(&path, router, rule, &problems).unwrap_or_else(|| {
            tracing::error!(
                "the configuration in force lacks addresses or keys: {}",
                problems.into_diagnostics()
            );
            bare(router)
        })
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

struct Search<'p> {
    file: String,
    dotenv: DotEnv,
    rule: KeyRule,
    problems: &'p Problems,
}

impl Search<'_> {
    fn problem(&self, message: String, hint: &str) {
        let problem = Diagnostic::file(&self.file, message).hint(hint);
        self.problems.add(problem);
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
