//! What `graygate mock` is told: models with their profiles, and faults on them, by arguments, by a file, and
//! while it serves.

use std::path::Path;

use crate::config::diagnostic::{Diagnostic, Diagnostics, Problems, Source};
use crate::config::fields::Cx;
use crate::config::node::{Node, Value};
use crate::config::{values, yaml};
use crate::fault::inject::Upstreams;
use crate::fault::schedule::Fault;
use crate::id::{Seed, VersionId};
use crate::scenario::compile::DEFAULT_SEED;
use crate::scenario::distributions::Files;
use crate::scenario::faults;
use crate::scenario::load::Loader;
use crate::scenario::replay::argument;
use crate::scenario::upstreams::{MOST_MODELS, default_profile, read_models, read_profile};
use crate::upstream::profile::Profile;

/// Most faults at once.
const MOST_FAULTS: usize = 1_000;

/// A list of faults.
const LIST: &str = "- {kind: rate_limited, share: 30%, for: 30s}";

/// What a stand-alone mock was asked for.
#[derive(Clone, Copy, Debug)]
pub struct MockRequest<'a> {
    /// The models, when there is no file.
    pub models: &'a [String],
    /// Their profiles: none, one for all, or one for each.
    pub profiles: &'a [String],
    /// A file of models.
    pub file: Option<&'a Path>,
    /// Faults on top of those of the file.
    pub faults: &'a [String],
    /// Wins over the file's.
    pub seed: Option<u64>,
}

/// The models of a mock by name, and how they behave.
#[derive(Clone, Debug)]
pub struct MockSpec {
    /// The models, in the order of their versions.
    pub models: Vec<String>,
    /// How they behave.
    pub upstreams: Upstreams,
}

/// What was written of it so far.
struct Parts {
    models: Vec<(String, Profile)>,
    faults: Vec<Fault>,
    seed: Option<u64>,
}

/// Reads all that a mock was asked for.
///
/// # Errors
/// Every mistake of the arguments and of the file.
pub fn read(request: MockRequest<'_>) -> Result<MockSpec, Diagnostics> {
    let problems = Problems::default();
    let parts = match request.file {
        Some(path) => file(path, &problems),
        None => by_arguments(request, &problems),
    };
    let names: Vec<String> = parts
        .iter()
        .flat_map(|p| &p.models)
        .map(|m| m.0.clone())
        .collect();
    let more = request.faults.iter();
    let more: Vec<_> = more
        .filter_map(|text| argument("--fault", text, &problems, |cx, n| fault(cx, n, &names)))
        .collect();
    match parts {
        Some(parts) if !problems.has_errors() => Ok(MockSpec {
            upstreams: Upstreams {
                seed: request.seed.or(parts.seed).map_or(DEFAULT_SEED, Seed),
                profiles: parts
                    .models
                    .into_iter()
                    .map(|(_, profile)| profile)
                    .collect(),
                faults: parts.faults.into_iter().chain(more).collect(),
            },
            models: names,
        }),
        _ => Err(problems.into_diagnostics()),
    }
}

/// Reads a list of faults on these models, or a single one.
///
/// # Errors
/// Every mistake in it, with its place.
pub fn faults(text: &str, models: &[String]) -> Result<Vec<Fault>, Diagnostics> {
    let problems = Problems::default();
    if text.trim().is_empty() {
        let nothing = Diagnostic::file("the body", "there is no list of faults in it");
        problems.add(nothing.expected(LIST).hint("DELETE clears the faults"));
        return Err(problems.into_diagnostics());
    }
    let source = Source::new("the body", text);
    let cx = Cx {
        source: &source,
        problems: &problems,
    };
    let list = match yaml::parse(&source) {
        Ok(node) => match &node.value {
            Value::Map(_) => fault(cx, &node, models).map(|fault| vec![fault]),
            _ => fault_list(cx, &node, models),
        },
        Err(diagnostic) => cx.error(diagnostic),
    };
    match list {
        Some(list) if !problems.has_errors() => Ok(list),
        _ => Err(problems.into_diagnostics()),
    }
}

fn fault_list(cx: Cx<'_>, node: &Node, models: &[String]) -> Option<Vec<Fault>> {
    let items = cx.list(node, LIST)?;
    if items.len() > MOST_FAULTS {
        let message = format!("more than {MOST_FAULTS} faults");
        return cx.error(cx.at(node.place, message));
    }
    let faults: Vec<_> = items.iter().map(|n| fault(cx, n, models)).collect();
    faults.into_iter().collect()
}

/// A fault on these models; on all of them, if it does not say.
fn fault(cx: Cx<'_>, node: &Node, models: &[String]) -> Option<Fault> {
    let says_on =
        matches!(&node.value, Value::Map(entries) if entries.iter().any(|e| e.key == "on"));
    if says_on {
        return faults::fault(cx, node, Some(models));
    }
    let fault = faults::fault(cx, node, None)?;
    let on = (0..models.len()).map(|i| VersionId(i as u8)).collect();
    Some(Fault { on, ..fault })
}

fn by_arguments(request: MockRequest<'_>, problems: &Problems) -> Option<Parts> {
    let count = request.models.len();
    let complain = |message: String, expected: &str| {
        let diagnostic = Diagnostic::file("--model", message);
        problems.add(diagnostic.expected(expected));
    };
    if count > MOST_MODELS {
        complain(format!("{count} models"), &format!("at most {MOST_MODELS}"));
    }
    let twice = (1..count).find(|&i| request.models[..i].contains(&request.models[i]));
    if let Some(model) = twice.and_then(|i| request.models.get(i)) {
        complain(format!("`{model}` is there twice"), "every model once");
    }
    let given = request.profiles.len();
    if given > 1 && given != count {
        let message = format!("{given} profiles for {count} models");
        complain(
            message,
            "no --profile, one for all models, or one for each, in their order",
        );
    }
    let loader = Loader::default();
    let profiles: Vec<_> = request
        .profiles
        .iter()
        .map(|text| profile(text, problems, &loader))
        .collect();
    let profiles: Vec<Profile> = profiles.into_iter().collect::<Option<_>>()?;
    let of = |i: usize| profiles.get(i).or(profiles.first()).cloned();
    let models = request.models.iter().enumerate();
    let models = models.map(|(i, name)| (name.clone(), of(i).unwrap_or_else(default_profile)));
    Some(Parts {
        models: models.collect(),
        faults: Vec::new(),
        seed: None,
    })
}

fn profile(text: &str, problems: &Problems, loader: &Loader) -> Option<Profile> {
    // What an argument names is where graygate was started.
    let files = Files {
        from: Path::new(""),
        loader,
    };
    argument("--profile", text, problems, |cx, node| {
        read_profile(cx, node, files)
    })
}

/// A file with `models`, and perhaps `faults` and `seed`.
fn file(path: &Path, problems: &Problems) -> Option<Parts> {
    let loader = Loader::default();
    let read = loader.yaml(path).and_then(|source| {
        let node = yaml::parse(&source)?;
        Ok((source, node))
    });
    let (source, node) = match read {
        Ok(read) => read,
        Err(diagnostic) => {
            problems.add(diagnostic);
            return None;
        }
    };
    let cx = Cx {
        source: &source,
        problems,
    };
    let files = Files {
        from: path,
        loader: &loader,
    };
    let fields = cx.fields(&node, "a file of models")?;
    let seed = fields.optional("seed", values::count);
    let expected = "{gpt-4.1: {latency: 40ms}}";
    let models = fields.required("models", expected, |cx, n| read_models(cx, n, files));
    let names: Vec<String> = models
        .iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect();
    let faults = fields.optional("faults", |cx, n| fault_list(cx, n, &names));
    fields.finish();
    Some(Parts {
        models: models?,
        faults: faults.unwrap_or_default(),
        seed,
    })
}
