//! A mutant as a gateway of its own: this very program, started once more, serves it as `graygate serve` serves the
//! router that has no defect.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use graygate::config::diagnostic::Problems;
use graygate::experiment::external::{Launch, Way};
use graygate::id::Seed;
use graygate::live::clock::Clock;
use graygate::live::gateway::driver::Driver;
use graygate::live::gateway::server::Gateway;
use graygate::live::gateway::{
    Choosers, Endpoint, FindChoosers, FindEndpoints, GatewayConfig, Secret,
};
use graygate::live::http::client::Trust;
use graygate::live::http::server::Limits;
use graygate::live::outbox::outbox;
use graygate::live::{bind, runtime};
use graygate::protocol::chat;
use graygate::router::config::RouterConfig;
use graygate::scenario::Scenario;
use graygate::scenario::compile;
use graygate::scenario::load::Loader;

use crate::broken::{Sound, broken, router};
use crate::catalogue::{Mutant, all};
use crate::support::shipped;

/// How the program is told that it is a gateway, and which one.
const MUTANT: &str = "GRAYGATE_MUTANT";
const ROUTER: &str = "GRAYGATE_MUTANT_ROUTER";
const PORT: &str = "GRAYGATE_MUTANT_PORT";
const SEED: &str = "GRAYGATE_MUTANT_SEED";
/// No mutant at all.
pub(crate) const SOUND: &str = "none";

/// The scenario with this mutant in the place of `graygate serve`.
pub(crate) fn with_mutant(scenario: &Scenario, id: &str) -> Scenario {
    let mut scenario = scenario.clone();
    let gateway = scenario.experiment.gateway.as_mut().map(Arc::make_mut);
    let Some(Way::Launch(launch)) = gateway.map(|gateway| &mut gateway.way) else {
        panic!("{} starts no gateway", scenario.name);
    };
    *launch = in_place_of(launch, id);
    scenario
}

fn in_place_of(launch: &Launch, id: &str) -> Launch {
    let program = std::env::current_exe().expect("this program");
    let command = [
        &program.display().to_string(),
        "--ignored",
        "--exact",
        "live::serving::serve",
        "--nocapture",
    ];
    let told = [
        (MUTANT, id.to_owned()),
        (ROUTER, "{{dir}}/router.yaml".to_owned()),
        (PORT, "{{port}}".to_owned()),
        (SEED, seed_of(&launch.command).to_owned()),
    ];
    let told = told.map(|(name, value)| (name.to_owned(), value));
    Launch {
        command: command.map(str::to_owned).to_vec(),
        env: launch.env.iter().cloned().chain(told).collect(),
        ..launch.clone()
    }
}

/// The seed that the command gives `graygate serve`.
fn seed_of(command: &[String]) -> &str {
    let place = command.iter().position(|word| word == "--seed");
    let seed = place.and_then(|place| command.get(place + 1));
    seed.expect("a gateway with a seed")
}

#[expect(
    clippy::disallowed_methods,
    reason = "a process is told by its environment what it serves; there is no other way to tell a test"
)]
fn told(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[test]
#[ignore = "the process of a gateway, started by the tests that play mutants live"]
fn serve() {
    let Some(id) = told(MUTANT) else {
        return;
    };
    let text = |name| told(name).unwrap_or_else(|| panic!("{name} is not set"));
    let problems = Problems::default();
    let path = text(ROUTER);
    let config = compile::router_from_file(&problems, Path::new(&path), &Loader::default());
    let config = config.unwrap_or_else(|| panic!("{}", problems.into_diagnostics()));
    let seed = Seed(text(SEED).parse().expect("a number"));
    let mutant = all().into_iter().find(|mutant| mutant.id == id);
    assert!(mutant.is_some() || id == SOUND, "there is no mutant `{id}`");
    attend(mutant.as_ref(), Arc::new(config), seed, &text(PORT));
}

/// Serves until the process is ended.
fn attend(mutant: Option<&Mutant>, config: Arc<RouterConfig>, seed: Seed, port: &str) {
    let mut experiment = shipped("healthy-canary").experiment;
    experiment.router = config.clone();
    experiment.seed = seed;
    let options = mutant.map(Mutant::options);
    let core = match options.as_ref().and_then(|options| options.core.clone()) {
        Some(make) => make(&experiment),
        None => Box::new(broken(router((*config).clone(), seed), Sound)),
    };
    let gateway = GatewayConfig {
        router: config.clone(),
        endpoints: FindEndpoints::by(|router| router.versions.values().map(endpoint).collect()),
        choosers: FindChoosers::by(|_| Choosers::default()),
        is_harness: false,
        forward: options.map_or(chat::forward as _, |options| options.forward),
        limits: Limits::default(),
        trust: Trust::nobody(),
    };
    let runtime = runtime().expect("a runtime");
    let listener = runtime.block_on(bind(&format!("127.0.0.1:{port}")));
    let listener = listener.expect("the port that was chosen for it");
    let (outbox, inbox) = outbox();
    let clock = runtime.block_on(async { Clock::starting_now() });
    let driver = Driver::new(core, config, clock, outbox.only(|_| false), false);
    drop(inbox);
    runtime.block_on(Gateway::new(gateway, driver).serve(listener));
}

fn endpoint(version: &graygate::router::config::VersionConfig) -> Endpoint {
    let key = version.api_key_env.as_deref().and_then(told);
    Endpoint {
        base: version.endpoint.clone().expect("an address"),
        api_key: key.map(Secret::new),
    }
}

/// A gateway's process of itself ends without having served anybody.
#[test]
fn nobody_is_served_unless_a_mutant_is_asked_for() {
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    let asked = command.args(["--ignored", "--exact", "live::serving::serve"]);
    let done = asked.output().expect("it runs");
    assert!(done.status.success(), "{done:?}");
}
