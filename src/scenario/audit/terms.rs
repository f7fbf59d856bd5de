//! What a log is held against: versions and their names in it, weights, judges.

use std::sync::Arc;
use std::time::Duration;

use crate::audit::tried::Names;
use crate::audit::{Terms, Weight};
use crate::config::diagnostic::{Diagnostic, Problems, Source};
use crate::config::fields::Cx;
use crate::config::{judge, router_file, yaml};
use crate::id::VersionId;
use crate::router::config::{JudgeConfig, RouterConfig};
use crate::router::judge::sequential::SequentialConfig;
use crate::scenario::audit::AuditRequest;
use crate::scenario::compile;
use crate::scenario::load::Loader;

/// The router that the log is held against. None means that mistakes were reported.
pub(super) fn router(
    request: &AuditRequest,
    problems: &Problems,
    loader: &Loader,
) -> Option<RouterConfig> {
    let router = match &request.router {
        Some(path) => compile::router_from_file(problems, path, loader)?,
        None => said(request, problems)?,
    };
    Some(match request.share {
        Some(share) => router.with_canary_share(share),
        None => router,
    })
}

/// A router of two versions, as the command line says, with the judge that sees few requests, too.
fn said(request: &AuditRequest, problems: &Problems) -> Option<RouterConfig> {
    let (Some(stable), Some(canary), Some(share)) = (
        request.stable.first(),
        request.canary.first(),
        request.share,
    ) else {
        let message = "it is not said who is stable, who is the canary, and what share it has";
        let expected = "--router FILE, or --stable NAME --canary NAME --share 10%";
        let hint = "NAME is what the log calls who served: a model, a deployment, a version";
        problems.add(
            Diagnostic::file("audit", message)
                .expected(expected)
                .hint(hint),
        );
        return None;
    };
    // JSON is YAML: whatever stands in a name, it is quoted.
    let quoted = |name: &str| serde_json::Value::from(name).to_string();
    let text = format!(
        "{{versions: {{stable: {{role: stable, model: {}}}, canary: {{role: canary, model: {}}}}}, \
         split: {{weights: {{stable: {}, canary: {}}}}}, judge: sequential}}",
        quoted(stable),
        quoted(canary),
        100.0 * (1.0 - share),
        100.0 * share,
    );
    let source = Source::new("the command line", text);
    let cx = Cx {
        source: &source,
        problems,
    };
    match yaml::parse(&source) {
        Ok(node) => router_file::read(cx, &node),
        Err(problem) => cx.error(problem),
    }
}

/// The versions by the names that the log may have for them: their names, their models unless two share one, and what the
/// command line says. None means that mistakes were reported.
pub(super) fn names(
    request: &AuditRequest,
    router: &RouterConfig,
    problems: &Problems,
) -> Option<Names> {
    let mut names = Names::new();
    if request.router.is_none() {
        // Its versions were made up here: only what was said is a name.
        return said_names(request, router, names, problems);
    }
    let models = router.versions.values().map(|v| v.model.as_str());
    let models: Vec<&str> = models.collect();
    for (id, version) in router.versions.iter() {
        let is_shared = models.iter().filter(|m| **m == version.model).count() > 1;
        if !is_shared {
            names.insert(version.model.clone(), id);
        }
    }
    for (id, version) in router.versions.iter() {
        names.insert(version.name.clone(), id);
    }
    said_names(request, router, names, problems)
}

/// What the command line says, besides.
fn said_names(
    request: &AuditRequest,
    router: &RouterConfig,
    mut names: Names,
    problems: &Problems,
) -> Option<Names> {
    let both = [
        (router.stable, &request.stable),
        (router.canary, &request.canary),
    ];
    let given = both
        .into_iter()
        .flat_map(|(id, all)| all.iter().map(move |name| (id, name)));
    for (id, name) in given {
        let is_other = |other: VersionId| {
            let other = names.get(name).filter(|before| **before == other);
            other.is_some() && other != Some(&id)
        };
        if is_other(router.stable) || is_other(router.canary) {
            let message = format!("`{name}` is the name of both stable and canary");
            let hint = "name what tells them apart: a deployment, a model with its date";
            problems.add(Diagnostic::file("audit", message).hint(hint));
            return None;
        }
        names.insert(name.clone(), id);
    }
    Some(names)
}

/// The canary's shares over time.
pub(super) fn weights(request: &AuditRequest, router: &RouterConfig) -> Vec<Weight> {
    let later = request.steps.iter();
    let later = later.map(|(at, share)| Weight {
        at: *at,
        share: *share,
    });
    let is_replaced = request.steps.first().is_some_and(|(at, _)| at.is_zero());
    let first = (!is_replaced).then(|| Weight {
        at: Duration::ZERO,
        share: router.canary_share(),
    });
    first.into_iter().chain(later).collect()
}

/// The whole of it.
pub(super) fn terms(request: &AuditRequest, router: RouterConfig) -> Terms {
    let weights = weights(request, &router);
    let literal = match &router.judge {
        JudgeConfig::Literal(config) => config.clone(),
        JudgeConfig::Sequential(_) | JudgeConfig::Off => judge::default_literal(),
    };
    let sequential = match &router.judge {
        JudgeConfig::Sequential(config) => config.clone(),
        JudgeConfig::Literal(_) | JudgeConfig::Off => SequentialConfig::default(),
    };
    Terms {
        heeds_sequential: request.expect.is_none(),
        weights,
        router: Arc::new(router),
        literal,
        sequential,
    }
}
