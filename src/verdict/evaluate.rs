//! All gates of a run together.

use crate::id::VersionId;
use crate::observe::event::{RunEvent, What};
use crate::observe::join::Joined;
use crate::observe::meta::{Ending, FaultMeta};
use crate::observe::story::Story;
use crate::observe::summary::Summary;
use crate::verdict::gates::after_rollback::AfterRollbackGate;
use crate::verdict::gates::attribution::AttributionGate;
use crate::verdict::gates::budget::BudgetGate;
use crate::verdict::gates::contract::ContractGate;
use crate::verdict::gates::cost::CostGate;
use crate::verdict::gates::fallback::FallbackGate;
use crate::verdict::gates::generator::GeneratorGate;
use crate::verdict::gates::join::{JoinGate, is_leaky, strays};
use crate::verdict::gates::log::LogGate;
use crate::verdict::gates::memory::MemoryGate;
use crate::verdict::gates::no_rollback::NoRollbackGate;
use crate::verdict::gates::notification::NotificationGate;
use crate::verdict::gates::orders::OrdersGate;
use crate::verdict::gates::policy::PolicyGate;
use crate::verdict::gates::ramp::RampGate;
use crate::verdict::gates::rate_limit::RateLimitGate;
use crate::verdict::gates::requests::RequestsGate;
use crate::verdict::gates::retries::RetriesGate;
use crate::verdict::gates::rollback::RollbackGate;
use crate::verdict::gates::sample::SampleGate;
use crate::verdict::gates::split::SplitGate;
use crate::verdict::gates::stickiness::StickinessGate;
use crate::verdict::gates::stream::StreamGate;
use crate::verdict::gates::unsupported::UnsupportedGate;
use crate::verdict::gates::{End, Gate, SoFar};
use crate::verdict::result::{GateResult, Status, Verdict};
use crate::verdict::spec::{GateSpec, GeneratorSpec};

/// Largest probability that chance alone fails a correct router, over all statistical gates of a
/// scenario together.
pub const FLAKE: f64 = 1e-4;

/// Gates at work on one run.
pub struct Evaluator {
    gates: Vec<Box<dyn Gate>>,
    canary: VersionId,
    flake: f64,
    planned: Option<u64>,
    has_log_changed: bool,
    so_far: SoFar,
}

impl Evaluator {
    /// The gates of a scenario with this canary (and its share, 0 to 1) and these faults, and those
    /// that every run has: `generator` (unless it is asked for, or a log is audited), `join` and `sample`. `policy`, which
    /// every run has, too, needs the router's configuration: the runner puts it among the specs.
    pub fn new(
        specs: &[GateSpec],
        (canary, canary_share): (VersionId, f64),
        faults: &[FaultMeta],
    ) -> Self {
        let mut gates: Vec<Box<dyn Gate>> = specs.iter().map(|s| gate(s, canary)).collect();
        let has_pace = |s: &GateSpec| matches!(s, GateSpec::Generator(_) | GateSpec::Log(_));
        if !specs.iter().any(has_pace) {
            gates.push(Box::new(GeneratorGate::new(GeneratorSpec::default())));
        }
        gates.push(Box::new(JoinGate::new(faults)));
        gates.push(Box::new(SampleGate::new(canary_share, faults)));
        Self {
            gates,
            canary,
            flake: flake_per_gate(specs),
            planned: None,
            has_log_changed: false,
            so_far: SoFar::default(),
        }
    }

    /// These gates alone, for a run that was judged before: what every run is asked has been answered.
    pub fn only(specs: &[GateSpec], canary: VersionId) -> Self {
        Self {
            gates: specs.iter().map(|spec| gate(spec, canary)).collect(),
            canary,
            flake: flake_per_gate(specs),
            planned: None,
            has_log_changed: false,
            so_far: SoFar::default(),
        }
    }

    /// The same for a run that has so many requests to send.
    #[must_use]
    pub fn planned(self, planned: Option<u64>) -> Self {
        Self { planned, ..self }
    }

    /// The recorded log is another one than before the run.
    pub fn log_changed(&mut self) {
        self.has_log_changed = true;
    }

    /// Takes an event in, with what the join made of it.
    pub fn event(&mut self, event: &RunEvent, joined: &Joined) {
        if let What::RolledBack(record) = &event.what
            && self.so_far.rollback.is_none()
        {
            self.so_far.rollback = Some(record.clone());
        }
        for gate in &mut self.gates {
            gate.event(event, joined);
        }
        if let Some(story) = &joined.story {
            self.story(story);
        }
    }

    /// Takes a request in that was not over when the run ended, too.
    pub fn story(&mut self, story: &Story) {
        for gate in &mut self.gates {
            gate.story(story, &self.so_far);
        }
    }

    /// The verdict.
    pub fn finish(&self, summary: &Summary, ending: Ending) -> Verdict {
        let interrupted = ending == Ending::Interrupted;
        let cut_short = ending != Ending::Complete;
        let end = End {
            summary,
            canary: self.canary,
            flake: self.flake,
            cut_short,
            planned: self.planned,
            has_log_changed: self.has_log_changed,
            join_is_leaky: is_leaky(strays(summary), summary.ledger_rows),
        };
        let mut gates: Vec<GateResult> = self.gates.iter().map(|g| g.finish(&end)).collect();
        number_namesakes(&mut gates);
        let is_invalid = gates.iter().any(|g| g.status == Status::Invalid);
        if is_invalid {
            // Nothing that was measured badly is shown to hold, or shown not to.
            gates.iter_mut().for_each(|g| g.status = Status::Invalid);
        }
        let worst = gates.iter().map(|g| g.status).max();
        let status = worst.unwrap_or(Status::Inconclusive);
        Verdict {
            // Nothing that was not seen to its end has passed.
            status: match cut_short {
                true => status.max(Status::Inconclusive),
                false => status,
            },
            interrupted,
            gates,
        }
    }
}

/// The part of the error budget that each statistical gate gets.
pub fn flake_per_gate(specs: &[GateSpec]) -> f64 {
    let statistical = specs.iter().filter(|s| s.is_statistical()).count();
    FLAKE / statistical.max(1) as f64
}

fn gate(spec: &GateSpec, canary: VersionId) -> Box<dyn Gate> {
    match spec.clone() {
        GateSpec::Split(spec) => Box::new(SplitGate::new(spec)),
        GateSpec::Fallback(spec) => Box::new(FallbackGate::new(spec, canary)),
        GateSpec::Rollback(spec) => Box::new(RollbackGate::new(spec, canary)),
        GateSpec::NoRollback(spec) => Box::new(NoRollbackGate::new(spec, canary)),
        GateSpec::AfterRollback(spec) => Box::new(AfterRollbackGate::new(spec, canary)),
        GateSpec::Notification => Box::new(NotificationGate::default()),
        GateSpec::Requests(spec) => Box::new(RequestsGate::new(spec)),
        GateSpec::Attribution { min_n } => Box::new(AttributionGate::new(min_n)),
        GateSpec::Stream(spec) => Box::new(StreamGate::new(spec)),
        GateSpec::Generator(spec) => Box::new(GeneratorGate::new(spec)),
        GateSpec::Log(spec) => Box::new(LogGate::new(spec)),
        GateSpec::Retries(spec) => Box::new(RetriesGate::new(spec)),
        GateSpec::RateLimit(spec) => Box::new(RateLimitGate::new(spec)),
        GateSpec::Stickiness(spec) => Box::new(StickinessGate::new(spec, canary)),
        GateSpec::Policy(spec) => Box::new(PolicyGate::new(spec)),
        GateSpec::Ramp(spec) => Box::new(RampGate::new(spec, canary)),
        GateSpec::Contract(spec) => Box::new(ContractGate::new(spec)),
        GateSpec::Cost(spec) => Box::new(CostGate::new(spec)),
        GateSpec::Budget(budget) => Box::new(BudgetGate::new(budget)),
        GateSpec::Orders(spec) => Box::new(OrdersGate::new(spec)),
        GateSpec::Memory { router } => Box::new(MemoryGate::new(router)),
        GateSpec::Unsupported { name, why } => Box::new(UnsupportedGate::new(name, why)),
    }
}

/// Gates of one name get a number, so that reports can tell them apart.
fn number_namesakes(gates: &mut [GateResult]) {
    let names: Vec<String> = gates.iter().map(|g| g.name.clone()).collect();
    for (i, gate) in gates.iter_mut().enumerate() {
        let same = names.iter().filter(|n| **n == gate.name).count();
        if same > 1 {
            let before = names[..i].iter().filter(|n| **n == names[i]).count();
            gate.name = format!("{}#{}", names[i], before + 1);
        }
    }
}
