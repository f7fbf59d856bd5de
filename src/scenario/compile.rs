//! A scenario file, put together from its parts.

use std::path::Path;
use std::sync::Arc;

use crate::config::diagnostic::{Diagnostics, Problems, Source};
use crate::config::fields::Cx;
use crate::config::node::{Node, Value};
use crate::config::{prices, router_file, values, yaml};
use crate::experiment::external::External;
use crate::experiment::{Experiment, Traffic};
use crate::fault::inject::Upstreams;
use crate::id::Seed;
use crate::observe::meta::Engine;
use crate::pricing::PriceTable;
use crate::router::config::RouterConfig;
use crate::scenario::distributions::Files;
use crate::scenario::load::{Loader, beside, named_here};
use crate::scenario::traffic::TrafficSpec;
use crate::scenario::upstreams::UpstreamSpecs;
use crate::scenario::{
    Scenario, advice, external, faults, gates, orders, real, recorded, requires, traffic, upstreams,
};
use crate::traffic::body::Bodies;
use crate::traffic::caller::Caller;

/// The seed of scenarios that name none.
pub const DEFAULT_SEED: Seed = Seed(1);

/// A scenario file, read: the scenario with warnings, or every mistake in it.
///
/// # Errors
/// All mistakes of the file and of the files it refers to.
pub fn file(path: &Path) -> Result<(Scenario, Diagnostics), Diagnostics> {
    let loader = Loader::default();
    let source = loader.yaml(path)?;
    let node = yaml::parse(&source)?;
    let problems = Problems::default();
    let cx = Cx {
        source: &source,
        problems: &problems,
    };
    let scenario = scenario(cx, &node, path, &loader);
    finish(scenario, problems, path)
}

/// A scenario if nothing is wrong with it.
pub fn finish(
    scenario: Option<Scenario>,
    problems: Problems,
    path: &Path,
) -> Result<(Scenario, Diagnostics), Diagnostics> {
    match scenario {
        Some(scenario) if !problems.has_errors() => {
            let name = path.display().to_string();
            let warnings = advice::warnings(&name, &scenario.experiment, &scenario.gates);
            warnings.into_iter().for_each(|w| problems.add(w));
            Ok((scenario, problems.into_diagnostics()))
        }
        _ => Err(problems.into_diagnostics()),
    }
}

fn scenario(cx: Cx<'_>, node: &Node, path: &Path, loader: &Loader) -> Option<Scenario> {
    let fields = cx.fields(node, "a scenario")?;
    let title = fields.required("name", "what the scenario is called", values::text);
    let description = fields.optional("description", values::text);
    let engine = fields.optional("engine", engine);
    let seed = fields.optional("seed", values::count);
    let duration = fields.optional("duration", values::positive_duration);
    let requires = fields.optional("requires", requires::read);
    let tested = fields.required("router", "the path of a router file", |cx, n| {
        tested(cx, n, path, loader)
    });
    let (router, gateway) = tested.unzip();
    let mut gateway = gateway.flatten();
    let router_place = fields.node("router").map(|node| node.place);
    let names = router.as_ref().map(version_names).unwrap_or_default();
    let files = Files { from: path, loader };
    let mut upstreams = fields.optional("upstreams", |cx, n| upstreams::read(cx, n, &names, files));
    let has_duration = fields.node("duration").is_some();
    let traffic = fields.required("traffic", "{synthetic: {arrivals: …}}", |cx, n| {
        let length = traffic::Length {
            duration,
            is_given: has_duration,
        };
        traffic::read(cx, n, length, &names, path, loader)
    });
    let faults = fields.optional("faults", |cx, n| faults::read(cx, n, &names));
    let faults = faults.unwrap_or_default();
    let orders = fields.optional("orders", |cx, n| {
        // Without what is tested, its own mistakes are enough.
        router.as_ref()?;
        orders::read(cx, n, &names, gateway.as_ref())
    });
    if let (Some(gateway), Some(orders)) = (&mut gateway, orders) {
        gateway.orders = orders;
    }
    let budget = fields.optional("budget", real::budget);
    if fields.node("upstreams").is_none() {
        upstreams = Some(upstreams::default(names.len()));
    }
    if let (Some(upstreams), Some(router)) = (&mut upstreams, &router) {
        upstreams::check_servers(cx, upstreams, &faults);
        if let Some(spec) = &traffic {
            upstreams::check_recorded(cx, upstreams, spec.log.is_some());
        }
        let setting = real::Setting {
            real: &upstreams.real_places,
            router,
            engine,
            budget,
            prompts: traffic.as_ref().map_or(&[], |spec| &spec.templates),
        };
        real::check(cx, &setting);
        if let (Some(_), Some(place)) = (&gateway, router_place) {
            let setting = external::Setting {
                place,
                engine,
                real: &upstreams.real_places,
                faults: &faults,
            };
            external::check_setting(cx, &setting);
        }
        upstreams.budget = budget.map(|(budget, _)| budget).unwrap_or_default();
    }
    let expect = fields.required("expect", "a list of gates", |cx, n| {
        // Gates depend on the router; without one, its own mistakes are enough.
        let setting = gates::Setting {
            router: router.as_ref()?,
            names: &names,
            faults: &faults,
            external: gateway.as_ref(),
        };
        gates::read(cx, n, setting)
    });
    fields.finish();
    let traffic = traffic?;
    let is_real = upstreams
        .as_ref()
        .is_some_and(|u| u.real.values().any(Option::is_some));
    let parts = Parts {
        seed: seed.map_or(DEFAULT_SEED, Seed),
        upstreams: upstreams?,
        router: router?,
        gateway,
        faults,
    };
    let mut log = traffic.log.clone();
    let experiment = parts.experiment(traffic);
    if let (Some(_), Some(place)) = (&experiment.gateway, router_place)
        && external::has_forced(&experiment)
    {
        let message = "another gateway is tested: nobody can force its requests to a version";
        cx.problems.add(cx.at(place, message));
    }
    if let Some(log) = &mut log {
        // What is in a sample hangs on the seed.
        recorded::recount(log, &experiment.traffic);
    }
    Some(Scenario {
        path: path.to_owned(),
        name: file_stem(path),
        title: title?,
        description,
        engine,
        requires: requires.unwrap_or_default(),
        log,
        experiment,
        gates: expect?,
        sha256: loader.sha256(),
        is_named_by_sha256: false,
        command: command(&file_name(path), is_real),
        command_here: command(&path.display().to_string(), is_real),
    })
}

/// The command that runs a file, without engine and seed.
fn command(file: &str, is_real: bool) -> String {
    let allowed = if is_real { " --allow-real" } else { "" };
    format!("graygate run {}{allowed}", shell_word(file))
}

/// What an experiment is put together from, besides its traffic.
pub struct Parts {
    /// The seed.
    pub seed: Seed,
    /// The router's configuration.
    pub router: RouterConfig,
    /// Another gateway that is tested instead of the built-in one.
    pub gateway: Option<External>,
    /// Who answers.
    pub upstreams: UpstreamSpecs,
    /// What goes wrong.
    pub faults: Vec<crate::fault::schedule::Fault>,
}

impl Parts {
    /// The experiment with this traffic.
    pub fn experiment(self, spec: TrafficSpec) -> Experiment {
        // Callers ask for the model they always asked for: stable's.
        let model = self.router.versions[self.router.stable].model.clone();
        let callers = match &spec.traffic {
            Traffic::Synthetic(config) => config.users.callers(self.seed),
            Traffic::Replay { .. } => vec![Caller::default()],
        };
        let traffic = match spec.traffic {
            Traffic::Replay {
                log,
                speed,
                duration,
            } => Traffic::Replay {
                log: Arc::new((*log).clone().with_seed(self.seed)),
                speed,
                duration,
            },
            synthetic => synthetic,
        };
        Experiment {
            seed: self.seed,
            upstreams: Upstreams {
                seed: self.seed,
                profiles: self.upstreams.profiles,
                faults: self.faults,
            },
            servers: self.upstreams.servers,
            real: self.upstreams.real,
            budget: self.upstreams.budget,
            callers,
            bodies: Bodies::new(spec.templates, model),
            traffic,
            router: Arc::new(self.router),
            gateway: self.gateway.map(Arc::new),
        }
    }
}

/// The versions' names, in the order of their ids.
pub fn version_names(router: &RouterConfig) -> Vec<String> {
    router.versions.values().map(|v| v.name.clone()).collect()
}

/// The short name of a scenario: its file's name without the ending. It names a folder, so what a
/// file system may take for something else is replaced.
pub fn file_stem(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or(path.as_os_str());
    let stem = stem.to_string_lossy();
    let is_odd = |c: char| c.is_control() || "/\\:*?\"<>|\u{fffd}".contains(c);
    let name: String = stem
        .chars()
        .map(|c| if is_odd(c) { '_' } else { c })
        .collect();
    // `.`, `..` and what starts with a dot are folders with a meaning, or hidden ones.
    let bare = name.trim_start_matches('.');
    let dots = name.len() - bare.len();
    match bare.is_empty() {
        true => "_".to_owned(),
        false => format!("{}{bare}", "_".repeat(dots)),
    }
}

/// The name of a file without its folder.
pub fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

/// A word that a shell takes as one, quoted only where it must be.
pub fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=+,:@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn engine(cx: Cx<'_>, node: &Node) -> Option<Engine> {
    let words = [Engine::Virtual, Engine::Live].map(|e| (e.name(), e));
    values::word(cx, node, "an engine", &words)
}

/// What is tested: the built-in router with this configuration, or another gateway.
fn tested(
    cx: Cx<'_>,
    node: &Node,
    path: &Path,
    loader: &Loader,
) -> Option<(RouterConfig, Option<External>)> {
    match &node.value {
        Value::Map(entries) if entries.iter().any(|e| e.key == "external") => {
            let fields = cx.fields(node, "another gateway as the router")?;
            let read = fields.optional("external", |cx, n| external::read(cx, n, path, loader));
            fields.finish();
            read.map(|(router, gateway)| (router, Some(gateway)))
        }
        _ => router(cx, node, path, loader).map(|router| (router, None)),
    }
}

fn router(cx: Cx<'_>, node: &Node, path: &Path, loader: &Loader) -> Option<RouterConfig> {
    match &node.value {
        Value::Scalar(other) => match loader.yaml(&beside(path, other)) {
            Ok(source) => router_from_source(cx.problems, &source, &beside(path, other), loader),
            Err(unreadable) => cx.error(named_here(cx, node, unreadable)),
        },
        _ => router_file::read_with(cx, node, &|cx, n| price_table(cx, n, path, loader)),
    }
}

/// Reads a router file. None means that mistakes were reported.
pub fn router_from_file(problems: &Problems, path: &Path, loader: &Loader) -> Option<RouterConfig> {
    match loader.yaml(path) {
        Ok(source) => router_from_source(problems, &source, path, loader),
        Err(unreadable) => {
            problems.add(unreadable);
            None
        }
    }
}

fn router_from_source(
    problems: &Problems,
    source: &Source,
    path: &Path,
    loader: &Loader,
) -> Option<RouterConfig> {
    let cx = Cx { source, problems };
    match yaml::parse(source) {
        Ok(node) => router_file::read_with(cx, &node, &|cx, n| price_table(cx, n, path, loader)),
        Err(diagnostic) => cx.error(diagnostic),
    }
}

/// Reads the price table that a router file at `path` names. None means that mistakes were reported.
fn price_table(cx: Cx<'_>, node: &Node, path: &Path, loader: &Loader) -> Option<PriceTable> {
    let name = cx.text(node, "a path", "the path of a price table")?;
    let source = match loader.yaml(&beside(path, name)) {
        Ok(source) => source,
        Err(unreadable) => return cx.error(named_here(cx, node, unreadable)),
    };
    price_table_from_source(cx.problems, &source)
}

/// Reads a price table file. None means that mistakes were reported.
pub fn price_table_from_file(
    problems: &Problems,
    path: &Path,
    loader: &Loader,
) -> Option<PriceTable> {
    match loader.yaml(path) {
        Ok(source) => price_table_from_source(problems, &source),
        Err(unreadable) => {
            problems.add(unreadable);
            None
        }
    }
}

fn price_table_from_source(problems: &Problems, source: &Source) -> Option<PriceTable> {
    let cx = Cx { source, problems };
    match yaml::parse(source) {
        Ok(node) => prices::table(cx, &node),
        Err(diagnostic) => cx.error(diagnostic),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_scenario_can_name_a_folder() {
        for (file, name) in [
            ("scenarios/a-b.yaml", "a-b"),
            ("größe 2.yml", "größe 2"),
            ("...yaml", "_"),
            ("..yaml", "_"),
            (".yaml", "_yaml"),
            ("..", "_"),
            ("", "_"),
            ("a<b&\"c\"\n.yaml", "a_b&_c__"),
            ("..hidden.yaml", "__hidden"),
        ] {
            assert_eq!(file_stem(Path::new(file)), name, "{file:?}");
        }
    }
}
