//! Runs a scenario on an engine and leaves a run directory behind.
//!
//! [`Recorder`] folds the events of a run into rows, totals and gates as they
//! come; [`RunDir`] is where files go; [`run`] puts both around an engine. [`repeat`] runs the same over
//! many seeds, and keeps only figures.

pub mod audit;
pub mod judge;
pub mod recorder;
pub mod repeat;
mod repeat_dir;
pub mod run_dir;
pub mod tune;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::canonical;
use crate::config::redact::redact;
use crate::experiment::external::External;
use crate::experiment::external::admin::Order;
use crate::experiment::{Experiment, Traffic};
use crate::id::PerVersion;
use crate::live::real::RealEndpoints;
use crate::live::{self, Subject};
use crate::observe::closing::Closing;
use crate::observe::event::Sink;
use crate::observe::meta::{Ending, Engine, FaultMeta, OrderMeta, RunMeta, VersionMeta};
use crate::observe::orders::{OrderFacts, OrderKind};
use crate::protocol::chat::{self, Forward};
use crate::report::Report;
use crate::router::budget::RetryBudget;
use crate::router::config::{InFlight, RouterConfig};
use crate::router::core::Core;
use crate::router::gray::GrayRouter;
use crate::router::limit::RateLimit;
use crate::scenario::Scenario;
use crate::sim::engine;
use crate::time::Timestamp;
use crate::verdict::gates::machine::bearable_stall;
use crate::verdict::spec::{BudgetSpec, GateSpec, GeneratorSpec, OrdersSpec, PolicySpec};

use recorder::{Keep, Recorder};
use run_dir::{OutputError, RunDir};

/// Which rows `requests.csv` and `attempts.csv` get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Records {
    /// Every request.
    All,
    /// Requests that failed, or of which any attempt did.
    Failures,
    /// None.
    None,
}

/// From this many requests on, only failures are recorded unless all are asked for.
pub const ALL_RECORDS_BELOW: u64 = 1_000_000;

/// What another gateway printed.
const GATEWAY_LOG: &str = "gateway.log";

/// How late a timer of a live run may be for a router that keeps its limits.
const LATENESS: Duration = Duration::from_secs(1);

/// Makes the core that a run is about. Tests put broken ones here.
pub type CoreFactory = Arc<dyn Fn(&Experiment) -> Box<dyn Core> + Send + Sync>;

/// How a scenario is run.
#[derive(Clone)]
pub struct RunOptions {
    /// The driver.
    pub engine: Engine,
    /// Where run directories go; nowhere when absent.
    pub out: Option<PathBuf>,
    /// Which rows are kept; by default all below a million requests, else failures.
    pub records: Option<Records>,
    /// The core; the built-in router when absent.
    pub core: Option<CoreFactory>,
    /// How the gateway turns a caller's body into an upstream's.
    pub forward: Forward,
    /// Where the real upstreams are, when they may be asked.
    pub real: Option<RealEndpoints>,
}

impl RunOptions {
    /// The built-in router on this engine, with no files written.
    pub fn new(engine: Engine) -> Self {
        Self {
            engine,
            out: None,
            records: None,
            core: None,
            forward: chat::forward,
            real: None,
        }
    }
}

/// What a run leaves behind.
#[derive(Debug)]
pub struct RunOutput {
    /// Everything about it.
    pub report: Report,
    /// Where its files are.
    pub folder: Option<PathBuf>,
    /// Why some of its files are missing. The verdict stands all the same.
    pub output_error: Option<OutputError>,
}

/// Why a scenario could not be run.
#[derive(Debug)]
pub enum RunError {
    /// The run directory cannot be written.
    Output(OutputError),
    /// Gateway, mocks or client could not be started.
    Live(live::StartError),
    /// It has upstreams that are real, and nobody said that they may be asked, or there is no real time.
    NotReal,
    /// Another gateway is tested, and virtual time has none.
    NoRealTime,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Output(error) => error.fmt(f),
            Self::Live(error) => error.fmt(f),
            Self::NoRealTime => {
                f.write_str("another gateway is tested, and there is none in virtual time")
            }
            Self::NotReal => {
                f.write_str("its upstreams are real, and may not be asked in this run")
            }
        }
    }
}

impl std::error::Error for RunError {}

/// Runs a scenario to its end, or until `cancel` is set; then what was measured is judged and marked
/// as interrupted. `observer` sees every event.
///
/// # Errors
/// When the run directory cannot be made, or the live machinery cannot be started.
pub fn run(
    scenario: &Scenario,
    options: &RunOptions,
    observer: &mut (dyn Sink + Send),
    cancel: &Arc<AtomicBool>,
) -> Result<RunOutput, RunError> {
    let experiment = &scenario.experiment;
    if experiment.gateway.is_some() && options.engine == Engine::Virtual {
        return Err(RunError::NoRealTime);
    }
    let real = real_endpoints(experiment, options)?;
    let plan = match options.engine {
        Engine::Virtual => None,
        Engine::Live => Some(live::Plan::new(experiment)),
    };
    let played_by = match &plan {
        None => PerVersion::from_fn(experiment.router.versions.len(), |_| "simulated"),
        Some(plan) => plan.players().iter().map(|(_, p)| p.name()).collect(),
    };
    let meta = meta(scenario, options.engine, &played_by);
    let dir = options
        .out
        .as_ref()
        .map(|out| RunDir::create(out, &scenario.name, &run_name(scenario, &meta)))
        .transpose()
        .map_err(RunError::Output)?;
    let keep = match options.records {
        Some(records) => Keep::Asked(records),
        None => Keep::Chosen(default_records(experiment)),
    };
    let gates = all_gates(scenario, options.engine);
    let log = dir.as_ref().map(|dir| dir.path(GATEWAY_LOG));
    let mut recorder =
        Recorder::new(meta, &gates, dir, keep, observer).map_err(RunError::Output)?;
    if let Some(closing) = closing(experiment, &gates) {
        recorder.hears(closing);
    }
    let ending = match plan {
        None => run_virtual(experiment, options, &mut recorder, cancel),
        Some(plan) => {
            let subject = match experiment.gateway {
                Some(_) => Subject::External { log },
                None => Subject::BuiltIn(core(experiment, options), options.forward),
            };
            live::run(experiment, plan, subject, &real, &mut recorder, cancel)
                .map_err(RunError::Live)?
        }
    };
    if let Traffic::Replay { log, .. } = &experiment.traffic
        && log.has_changed()
    {
        recorder.log_changed();
    }
    Ok(recorder.finish(ending))
}

/// Where the real upstreams of an experiment are.
fn real_endpoints(
    experiment: &Experiment,
    options: &RunOptions,
) -> Result<RealEndpoints, RunError> {
    if !experiment.has_real_upstreams() {
        return Ok(experiment.real.values().map(|_| None).collect());
    }
    let given = options.real.as_ref();
    let given = given.filter(|_| options.engine == Engine::Live);
    let is_complete = |given: &&RealEndpoints| {
        let both = experiment.real.values().zip(given.values());
        let mut both = both.map(|(terms, endpoint)| terms.is_some() == endpoint.is_some());
        both.all(|fits| fits) && given.len() == experiment.real.len()
    };
    given.filter(is_complete).cloned().ok_or(RunError::NotReal)
}

fn run_virtual(
    experiment: &Experiment,
    options: &RunOptions,
    sink: &mut dyn Sink,
    cancel: &AtomicBool,
) -> Ending {
    match &options.core {
        // Without an indirection for the router that is measured against a speed target.
        None => {
            let mut core = built_in(experiment);
            engine::run(experiment, &mut core, options.forward, sink, cancel)
        }
        Some(make) => {
            let mut core = make(experiment);
            engine::run(experiment, core.as_mut(), options.forward, sink, cancel)
        }
    }
}

fn core(experiment: &Experiment, options: &RunOptions) -> Box<dyn Core> {
    match &options.core {
        None => Box::new(built_in(experiment)),
        Some(make) => make(experiment),
    }
}

fn built_in(experiment: &Experiment) -> GrayRouter {
    GrayRouter::new(experiment.router.clone(), experiment.seed, Timestamp::ZERO)
}

/// What is expected of a run on this engine: what the scenario says, and what every run must keep to.
fn all_gates(scenario: &Scenario, engine: Engine) -> Vec<GateSpec> {
    let experiment = &scenario.experiment;
    let mut gates = scenario.gates.clone();
    for gate in &mut gates {
        settle(gate, experiment, engine);
    }
    if experiment.has_real_upstreams() {
        gates.push(GateSpec::Budget(experiment.budget));
    }
    match &experiment.gateway {
        None => gates.push(GateSpec::Policy(policy(experiment, engine))),
        // What another gateway promises, nobody here knows; what it is told is known.
        Some(gateway) => gates.extend(orders(gateway, &experiment.router).map(GateSpec::Orders)),
    }
    let is_generator = |gate: &GateSpec| matches!(gate, GateSpec::Generator(_));
    if !gates.iter().any(is_generator) {
        let mut generator = GateSpec::Generator(GeneratorSpec::default());
        settle(&mut generator, experiment, engine);
        gates.push(generator);
    }
    gates
}

/// The orders that another gateway is given; none when there are none.
fn orders(gateway: &External, router: &RouterConfig) -> Option<OrdersSpec> {
    let admin = gateway.admin.as_ref()?;
    let orders = (1..).zip(&gateway.orders).map(|(number, order)| {
        let kind = OrderKind::for_share(order.what.share_of(router.canary));
        (order.at, OrderFacts { number, kind })
    });
    let orders: Vec<_> = orders.collect();
    (!orders.is_empty()).then_some(OrdersSpec {
        orders,
        within: admin.within,
    })
}

fn ordered(gateway: &External, router: &RouterConfig) -> Vec<OrderMeta> {
    let orders = orders(gateway, router).map_or(Vec::new(), |spec| spec.orders);
    let told = orders.into_iter().map(|(at, order)| OrderMeta {
        order: order.number,
        kind: order.kind.name(),
        canary_share: order.kind.share(),
        at_s: at.as_secs_f64(),
    });
    told.collect()
}

/// Who hears in the ledgers that another gateway closes its canary: nobody where neither a gate nor an order asks about it, for
/// then a canary that is left out is a split that is wrong. The last silence of a run tells only where somebody
/// expects a rollback: of a thousand healthy canaries, one is silent then by chance.
fn closing(experiment: &Experiment, gates: &[GateSpec]) -> Option<Closing> {
    let gateway = experiment.gateway.as_ref()?;
    let router = &experiment.router;
    let is_awaited =
        |gate: &GateSpec| matches!(gate, GateSpec::Rollback(_) | GateSpec::AfterRollback(_));
    let is_asked = |gate: &GateSpec| is_awaited(gate) || matches!(gate, GateSpec::NoRollback(_));
    let share_of = |order: &Order| order.what.share_of(router.canary);
    let is_ordered = |order: &Order| share_of(order).is_none_or(|share| share <= 0.0);
    let is_heard = gates.iter().any(is_asked) || gateway.orders.iter().any(is_ordered);
    (gateway.can_roll_back() && is_heard).then(|| {
        let canary = (router.canary, router.canary_share());
        Closing::new(router.stable, canary).awaited(gates.iter().any(is_awaited))
    })
}

/// What a gate can only know when a run begins: how late engine and machine may be, and who sends.
fn settle(gate: &mut GateSpec, experiment: &Experiment, engine: Engine) {
    match gate {
        GateSpec::Ramp(spec) => spec.tolerance = lateness(engine),
        GateSpec::RateLimit(spec) => spec.tolerance = lateness(engine),
        GateSpec::Stickiness(spec) => spec.callers = experiment.callers_by(&spec.header).into(),
        GateSpec::Generator(spec) => {
            let bearable = bearable_stall(experiment.router.timeouts.shortest());
            spec.stall.get_or_insert(bearable);
        }
        _ => {}
    }
}

/// What the router promises by its configuration.
fn policy(experiment: &Experiment, engine: Engine) -> PolicySpec {
    let router = &experiment.router;
    let (retry, timeouts) = (&router.retry, &router.timeouts);
    PolicySpec {
        max_retries: retry.max_retries,
        base: retry.base,
        factor: retry.factor,
        jitter: retry.jitter,
        max_wait: retry.max_wait,
        attempt: timeouts.attempt,
        escalation: timeouts.escalation,
        first_token: timeouts.first_token,
        idle: timeouts.idle,
        is_only_tokens: !experiment.has_real_upstreams(),
        budget: retry.budget.as_ref().map(budget),
        limits: limits(router),
        recalled: (router.rollback.in_flight == InFlight::Cancel).then_some(router.canary),
        request: timeouts.request,
        tolerance: lateness(engine),
    }
}

fn lateness(engine: Engine) -> Duration {
    match engine {
        Engine::Virtual => Duration::ZERO,
        Engine::Live => LATENESS,
    }
}

fn budget(budget: &RetryBudget) -> BudgetSpec {
    BudgetSpec {
        share: budget.share,
        reserve_per_second: budget.reserve_per_second,
        memory: budget.memory,
    }
}

/// What no upstream may see more of in any window.
fn limits(router: &RouterConfig) -> PerVersion<Option<(u32, Duration)>> {
    let versions = router.versions.values();
    let limit = |limit: &RateLimit| (limit.requests, limit.window);
    versions.map(|v| v.rate_limit.as_ref().map(limit)).collect()
}

fn default_records(experiment: &Experiment) -> Records {
    let expected = experiment.traffic.expected_requests();
    if expected.is_some_and(|n| n >= ALL_RECORDS_BELOW as f64) {
        Records::Failures
    } else {
        Records::All
    }
}

/// `virtual-seed7`, or `live-seed7-20261121T101500Z`. Replays have their fingerprint in between.
fn run_name(scenario: &Scenario, meta: &RunMeta) -> String {
    let mut base = format!("{}-seed{}", meta.driver(), meta.seed);
    if scenario.is_named_by_sha256 {
        base.extend(['-'].into_iter().chain(scenario.sha256.chars().take(8)));
    }
    match meta.engine {
        Some(Engine::Virtual) | None => base,
        Some(Engine::Live) => format!("{base}-{}", live::clock::utc_stamp()),
    }
}

fn meta(scenario: &Scenario, engine: Engine, played_by: &PerVersion<&'static str>) -> RunMeta {
    let experiment = &scenario.experiment;
    let router = &experiment.router;
    let versions = router.versions.iter().map(|(id, version)| VersionMeta {
        name: version.name.clone(),
        model: version.model.clone(),
        price: version.price,
        upstream: played_by[id],
    });
    let faults = experiment.upstreams.faults.iter().map(|fault| FaultMeta {
        kind: fault.kind.name(),
        on: fault.on.clone(),
        from: fault.from,
        until: fault.until,
        share: fault.mean_share(),
        keeps_out: fault.kind.keeps_out(),
        only_delays: fault.kind.only_delays(),
    });
    RunMeta {
        scenario: scenario.name.clone(),
        title: scenario.title.clone(),
        description: scenario.description.clone(),
        engine: Some(engine),
        seed: experiment.seed,
        scenario_sha256: scenario.sha256.clone(),
        router_sha256: canonical::sha256(&**router),
        graygate: env!("CARGO_PKG_VERSION"),
        gateway: experiment.gateway.as_ref().map(|g| redact(&g.label())),
        versions: versions.collect(),
        stable: router.stable,
        canary: router.canary,
        canary_share: router.canary_share(),
        faults: faults.collect(),
        orders: experiment
            .gateway
            .as_ref()
            .map_or(Vec::new(), |g| ordered(g, router)),
        has_streams: experiment.traffic.has_streams(),
        planned_end: experiment.traffic.planned_length().map(Timestamp::from),
        log: scenario.log.clone(),
        command: scenario.command.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::scenario::compile;

    /// What a shipped scenario expects, settled for a run on an engine.
    fn settled(name: &str, engine: Engine) -> Vec<GateSpec> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let (scenario, _) = compile::file(&folder.join(name)).expect("a scenario");
        let mut gates = scenario.gates;
        for gate in &mut gates {
            settle(gate, &scenario.experiment, engine);
        }
        gates
    }

    #[test]
    fn a_live_run_is_given_time() {
        for (engine, expected) in [(Engine::Virtual, Duration::ZERO), (Engine::Live, LATENESS)] {
            let gates = settled("rate-limited-canary.yaml", engine);
            let mut tolerances = gates.iter().filter_map(|gate| match gate {
                GateSpec::RateLimit(spec) => Some(spec.tolerance),
                _ => None,
            });
            assert_eq!(tolerances.next(), Some(expected));
        }
    }

    /// Unless somebody says how long.
    #[test]
    fn a_machine_may_stall_for_half_of_the_shortest_limit() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let (scenario, _) = compile::file(&folder.join("healthy-canary.yaml")).expect("a scenario");
        let stall = |attempt: Duration, asked: Option<Duration>| {
            let mut scenario = scenario.clone();
            Arc::make_mut(&mut scenario.experiment.router)
                .timeouts
                .attempt = attempt;
            if asked.is_some() {
                scenario.gates.push(GateSpec::Generator(GeneratorSpec {
                    stall: asked,
                    ..GeneratorSpec::default()
                }));
            }
            let gates = all_gates(&scenario, Engine::Live);
            let mut generators = gates.iter().filter_map(|gate| match gate {
                GateSpec::Generator(spec) => Some(spec.stall),
                _ => None,
            });
            let first = generators.next().expect("every run has one");
            assert_eq!(generators.next(), None);
            first
        };
        let ms = Duration::from_millis;
        assert_eq!(stall(ms(300), None), Some(ms(150)));
        assert_eq!(stall(ms(5_000), None), Some(ms(250)));
        assert_eq!(stall(ms(300), Some(ms(900))), Some(ms(900)));
    }

    #[test]
    fn who_sends_is_known_when_a_run_begins() {
        let gates = settled("sticky-users-stay.yaml", Engine::Virtual);
        let mut callers = gates.iter().filter_map(|gate| match gate {
            GateSpec::Stickiness(spec) => Some(&spec.callers),
            _ => None,
        });
        let callers = callers.next().expect("the gate");
        assert_eq!((callers.len(), callers[7_999]), (8_000, Some(7_999)));
    }
}
