//! The gray router: chooses a version, sees the request through, judges the canary, ramps it up,
//! rolls it back.
//!
//! `requests` is the life of a request, `judging` the watch over the canary. The release is
//! changed by `orders`, `ramping` and `rolling_back`, and `keeping` has changes written.
//! `unknown` is the start without what an earlier process kept.

mod judging;
mod keeping;
mod limiting;
mod orders;
mod ramping;
mod requests;
mod rolling_back;
mod unknown;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::id::{IdMap, PerVersion, RequestId, Seed};
use crate::router::budget::BudgetAccount;
use crate::router::config::{JudgeConfig, RouterConfig};
use crate::router::core::{Core, Footprint};
use crate::router::deployment::Deployment;
use crate::router::door::CanaryDoor;
use crate::router::gray::requests::End;
use crate::router::health::{HealthWindow, WindowBounds};
use crate::router::io::{Action, Cause, Event, Input};
use crate::router::judge::guard::GuardedJudge;
use crate::router::keeper::Keeper;
use crate::router::limit::Limiter;
use crate::router::ramp::{Held, Phase};
use crate::router::request::RequestMachine;
use crate::router::split;
use crate::router::timers::Timers;
use crate::time::Timestamp;

use unknown::Awaited;

/// How often the time that a step has been held is kept: a restart loses no more of it.
const KEEP_EVERY: Duration = Duration::from_secs(10);

/// The built-in router core. See [`Core`] for how to drive it.
pub struct GrayRouter {
    seed: Seed,
    /// The time of the driver's last call. What was due before is handled as of then, but whatever is
    /// sent is sent now.
    clock: Timestamp,
    /// Milliseconds since 1970 at time 0; none in virtual time.
    unix_zero: Option<u64>,
    /// The release in force. Its `held` is only valid together with `held`.
    deployment: Deployment,
    held: Held,
    door: CanaryDoor,
    /// Set while it is not known what an earlier process kept.
    awaited: Option<Awaited>,
    keeper: Keeper,
    /// When the ramp looks whether its step is over.
    ramp_due: Option<Timestamp>,
    /// When the time held is kept next.
    keep_due: Option<Timestamp>,
    /// Was the step found inconclusive?
    is_inconclusive: bool,
    sticky_salt: u64,
    requests: IdMap<RequestId, RequestMachine>,
    timers: Timers,
    health: Option<PerVersion<HealthWindow>>,
    judge: GuardedJudge,
    limits: PerVersion<Option<Limiter>>,
    budget: Option<BudgetAccount>,
    given_to_canary: u64,
    actions: VecDeque<Action>,
    events: VecDeque<Event>,
}

impl GrayRouter {
    /// A router at work from `now` on. `seed` decides every random draw.
    pub fn new(config: Arc<RouterConfig>, seed: Seed, now: Timestamp) -> Self {
        Self::resume(Deployment::first(config), seed, now, None)
    }

    /// A router that goes on with a release. `unix_zero` is time 0 in milliseconds since 1970.
    pub fn resume(
        deployment: Deployment,
        seed: Seed,
        now: Timestamp,
        unix_zero: Option<u64>,
    ) -> Self {
        let config = deployment.config.clone();
        let mut door = CanaryDoor::of(deployment.release);
        if deployment.phase == Phase::RolledBack {
            door.close();
        }
        let mut router = Self {
            judge: GuardedJudge::new(&config, now),
            health: windows(&config),
            limits: limits(&config),
            budget: budget(&config),
            sticky_salt: split::salt(&config, deployment.salt),
            held: held(&deployment, now),
            awaited: None,
            keeper: Keeper::default(),
            ramp_due: None,
            keep_due: None,
            is_inconclusive: false,
            requests: IdMap::default(),
            timers: Timers::default(),
            given_to_canary: 0,
            actions: VecDeque::new(),
            events: VecDeque::new(),
            door,
            deployment,
            seed,
            clock: now,
            unix_zero,
        };
        router.begin_step(now);
        router
    }

    /// The same, and has the driver keep the release as it begins.
    #[must_use]
    pub fn kept_from_the_start(mut self) -> Self {
        self.keep_beginning(Timestamp::ZERO);
        self.events.push_back(Event::Standing(
            self.standing(Timestamp::ZERO, Cause::Started),
        ));
        self
    }

    fn config(&self) -> &Arc<RouterConfig> {
        &self.deployment.config
    }

    /// `now` in milliseconds since 1970.
    fn unix_ms(&self, now: Timestamp) -> Option<u64> {
        let since = u64::try_from(now.elapsed().as_millis()).ok()?;
        self.unix_zero?.checked_add(since)
    }

    /// Handles what was due before `now`, each at its own time.
    fn catch_up(&mut self, now: Timestamp) {
        self.clock = self.clock.max(now);
        while let Some(due) = self.poll_timeout().filter(|due| *due < now) {
            self.handle_due(due);
        }
    }

    /// Handles what is due at `now`.
    fn handle_due(&mut self, now: Timestamp) {
        while let Some((at, request)) = self.timers.pop_due(now) {
            let is_due = |m: &RequestMachine| m.deadline() == at;
            if self.requests.get(request).is_some_and(is_due) {
                self.request_due(now, request);
            }
        }
        self.let_through(now);
        self.judge_due(now);
        self.release_due(now);
        self.tidy_timers();
    }

    fn tidy_timers(&mut self) {
        let requests = &self.requests;
        self.timers.tidy(requests.len(), |at, request| {
            requests.get(request).is_some_and(|m| m.deadline() == at)
        });
    }
}

/// The windows that the judge looks at; none without a judge.
fn windows(config: &RouterConfig) -> Option<PerVersion<HealthWindow>> {
    let bounds = match &config.judge {
        // The sequential judge keeps its own counts.
        JudgeConfig::Off | JudgeConfig::Sequential(_) => return None,
        JudgeConfig::Literal(literal) => WindowBounds::of(literal),
    };
    let versions = config.versions.len();
    Some(PerVersion::from_fn(versions, |_| {
        HealthWindow::new(bounds.clone())
    }))
}

/// The rate limiters of the versions that have one.
fn limits(config: &RouterConfig) -> PerVersion<Option<Limiter>> {
    let versions = config.versions.values();
    versions
        .map(|v| v.rate_limit.clone().map(Limiter::new))
        .collect()
}

fn budget(config: &RouterConfig) -> Option<BudgetAccount> {
    config.retry.budget.as_ref().map(BudgetAccount::new)
}

/// The time a release has been held, going on or not.
fn held(deployment: &Deployment, now: Timestamp) -> Held {
    match deployment.phase {
        Phase::Progressing => Held::going(deployment.held, now),
        Phase::Pending | Phase::Paused | Phase::Promoted | Phase::RolledBack => {
            Held::standing(deployment.held)
        }
    }
}

impl Core for GrayRouter {
    fn handle(&mut self, now: Timestamp, input: Input) {
        // The judge must see that the clock leapt; what was due meanwhile is made up for step by step.
        self.judge.notice(now);
        self.catch_up(now);
        match input {
            Input::Arrival {
                request,
                key,
                facts,
            } => self.arrive(now, request, key, &facts),
            Input::FirstContent { attempt } => self.first_content(attempt),
            Input::AttemptEnded {
                attempt,
                outcome,
                retry_after,
                answer,
            } => self.attempt_ended(
                now,
                attempt,
                End {
                    outcome,
                    retry_after,
                    answer,
                },
            ),
            Input::ClientGone { request } => self.client_gone(now, request),
            Input::Control { id, control } => self.control(now, id, control),
            Input::Persisted { op, ok } => self.persisted(now, op, ok),
            Input::Found { kept, checkpoints } => self.found(now, kept, checkpoints),
        }
        self.tidy_timers();
        self.tell_judge_failure();
    }

    fn handle_timeout(&mut self, now: Timestamp) {
        self.judge.notice(now);
        self.catch_up(now);
        self.handle_due(now);
        self.tell_judge_failure();
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        let times = [
            self.timers.next(),
            self.next_tick(),
            self.ramp_due,
            self.keep_due,
            self.keeper.next(),
        ];
        let limits = self.limits.values().flatten().map(Limiter::next);
        times.into_iter().chain(limits).flatten().min()
    }

    fn footprint(&self) -> Footprint {
        let machine = size_of::<(RequestId, RequestMachine)>();
        let windows = self.health.iter().flat_map(PerVersion::values);
        Footprint {
            in_flight: self.requests.len(),
            bytes: self.requests.capacity() * machine
                + self.timers.bytes()
                + self.keeper.bytes()
                + self.budget.as_ref().map_or(0, BudgetAccount::bytes)
                + self.judge.bytes()
                + self
                    .limits
                    .values()
                    .flatten()
                    .map(Limiter::bytes)
                    .sum::<usize>()
                + windows.map(HealthWindow::bytes).sum::<usize>()
                + self.actions.capacity() * size_of::<Action>()
                + self.events.capacity() * size_of::<Event>(),
        }
    }
}
