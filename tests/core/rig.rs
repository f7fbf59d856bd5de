//! What all tests of the core share: configurations, and a core with its outputs.

use std::sync::Arc;
use std::time::Duration;

use graygate::id::{AttemptId, PerVersion, RequestId, RequestKey, Seed, VersionId};
use graygate::protocol::outcome::Outcome;
use graygate::router::config::{
    Condition, FallbackPolicy, Features, JudgeConfig, Limit, LiteralConfig, RetryPolicy,
    RollbackConfig, Route, RouterConfig, SplitConfig, Threshold, ThresholdAction, Timeouts,
    VersionConfig,
};
use graygate::router::control::{Control, ControlId, Order, Refusal};
use graygate::router::core::Core;
use graygate::router::deployment::Change;
use graygate::router::gray::GrayRouter;
use graygate::router::io::{Action, AnswerTraits, Event, Input, RequestFacts, Standing};
use graygate::time::Timestamp;

pub(crate) const STABLE: VersionId = VersionId(0);
pub(crate) const CANARY: VersionId = VersionId(1);
pub(crate) const SEED: Seed = Seed(11);

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Two versions with keys of their own, half and half; premium users go to the canary.
pub(crate) fn config() -> RouterConfig {
    let version = |name: &str| VersionConfig {
        name: name.to_owned(),
        model: format!("model-{name}"),
        endpoint: None,
        api_key_env: Some(format!("{name}_KEY")),
        features: Features::ALL,
        rate_limit: None,
        price: None,
    };
    let threshold = |limit, action| Threshold { limit, action };
    RouterConfig {
        versions: [version("v1"), version("v2")].into_iter().collect(),
        stable: STABLE,
        canary: CANARY,
        routes: vec![Route {
            when: vec![Condition::Tier("premium".to_owned())],
            to: CANARY,
        }],
        split: SplitConfig {
            weights: PerVersion::from_fn(2, |_| 50.0),
            sticky: None,
        },
        retry: RetryPolicy {
            max_retries: 2,
            base: ms(100),
            factor: 2.0,
            jitter: 0.5,
            max_wait: ms(2_000),
            budget: None,
        },
        timeouts: Timeouts {
            connect: ms(500),
            attempt: ms(1_000),
            escalation: None,
            first_token: None,
            idle: None,
            request: ms(3_000),
        },
        fallback: FallbackPolicy::Immediately,
        overrides: None,
        ramp: None,
        rollback: RollbackConfig::default(),
        judge: JudgeConfig::Literal(LiteralConfig {
            window: ms(6_000),
            max_samples: 1_000_000,
            min_requests: 5,
            every: ms(500),
            thresholds: vec![
                threshold(Limit::ErrorRate(0.4), ThresholdAction::Rollback),
                threshold(Limit::SuccessRate(0.3), ThresholdAction::Alert),
                threshold(Limit::P99(ms(700)), ThresholdAction::Alert),
            ],
        }),
    }
}

pub(crate) fn facts(premium: bool) -> Arc<RequestFacts> {
    Arc::new(RequestFacts {
        tier: premium.then(|| "premium".to_owned()),
        model: "m".to_owned(),
        ..RequestFacts::default()
    })
}

/// A core with everything it ever said. What it asks to keep is kept at once, unless told otherwise.
pub(crate) struct Rig {
    pub(crate) core: Box<dyn Core>,
    pub(crate) now: Timestamp,
    pub(crate) actions: Vec<Action>,
    pub(crate) events: Vec<Event>,
    /// What it asked to keep.
    pub(crate) kept: Vec<Change>,
    /// Does the store work? None leaves it to the test to answer.
    pub(crate) store: Option<bool>,
    /// What was asked to be kept and not answered.
    pub(crate) waiting: Vec<(u64, Change)>,
    pub(crate) answers: Vec<(ControlId, Result<Standing, Refusal>)>,
    /// The configurations that came into force after the first.
    pub(crate) adopted: Vec<Arc<RouterConfig>>,
    next_id: u64,
}

impl Rig {
    pub(crate) fn new(config: RouterConfig) -> Self {
        Self::of(Box::new(GrayRouter::new(
            Arc::new(config),
            SEED,
            Timestamp::ZERO,
        )))
    }

    pub(crate) fn of(core: Box<dyn Core>) -> Self {
        Self {
            core,
            now: Timestamp::ZERO,
            actions: Vec::new(),
            events: Vec::new(),
            kept: Vec::new(),
            store: Some(true),
            waiting: Vec::new(),
            answers: Vec::new(),
            adopted: Vec::new(),
            next_id: 0,
        }
    }

    /// A request arrives; returns its id.
    pub(crate) fn arrive(&mut self, premium: bool) -> RequestId {
        self.arrive_as(facts(premium))
    }

    /// A request of a certain caller arrives.
    pub(crate) fn arrive_as(&mut self, facts: Arc<RequestFacts>) -> RequestId {
        let request = RequestId(self.next_id);
        self.next_id += 1;
        self.input(Input::Arrival {
            request,
            key: RequestKey(request.0),
            facts,
        });
        request
    }

    pub(crate) fn input(&mut self, input: Input) {
        self.core.handle(self.now, input);
        self.drain();
    }

    /// The attempt that is out for a request ends.
    pub(crate) fn end(&mut self, request: RequestId, outcome: Outcome) {
        let attempt = self.out(request);
        if outcome.is_success() {
            self.input(Input::FirstContent { attempt });
        }
        self.input(Input::AttemptEnded {
            attempt,
            outcome,
            retry_after: None,
            answer: AnswerTraits::default(),
        });
    }

    /// The end of an attempt that nobody waits for any more.
    pub(crate) fn end_stale(&mut self, attempt: AttemptId) {
        let before = (self.actions.len(), self.events.len());
        self.input(Input::AttemptEnded {
            attempt,
            outcome: Outcome::Success,
            retry_after: None,
            answer: AnswerTraits::default(),
        });
        assert_eq!(before, (self.actions.len(), self.events.len()));
    }

    /// Time passes; everything due happens at its own time.
    pub(crate) fn advance(&mut self, by: Duration) {
        let until = self.now + by;
        while let Some(due) = self.core.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.core.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    /// Time passes, and the driver only looks when it is over.
    pub(crate) fn advance_late(&mut self, by: Duration) {
        self.now = self.now + by;
        self.core.handle_timeout(self.now);
        self.drain();
    }

    /// The attempts that were sent for a request, with their versions.
    pub(crate) fn sent(&self, request: RequestId) -> Vec<(AttemptId, VersionId)> {
        let sends = self.actions.iter().filter_map(|action| match action {
            Action::Send { attempt, version } => Some((*attempt, *version)),
            _ => None,
        });
        sends.filter(|(a, _)| a.request == request).collect()
    }

    /// The versions a request was sent to, in order.
    pub(crate) fn path(&self, request: RequestId) -> Vec<VersionId> {
        self.sent(request).into_iter().map(|(_, v)| v).collect()
    }

    /// The last attempt that was sent for a request.
    pub(crate) fn out(&self, request: RequestId) -> AttemptId {
        self.sent(request).last().expect("an attempt is out").0
    }

    /// How a request ended, if it has.
    pub(crate) fn ended(&self, request: RequestId) -> Option<Outcome> {
        self.events.iter().find_map(|event| match event {
            Event::RequestEnded {
                request: r,
                outcome,
                ..
            } if *r == request => Some(*outcome),
            _ => None,
        })
    }

    pub(crate) fn is_rolled_back(&self) -> bool {
        let is_it = |e: &Event| matches!(e, Event::RolledBack(_));
        self.events.iter().any(is_it)
    }

    fn keep(&mut self, op: u64, change: Change) {
        match self.store {
            None => self.waiting.push((op, change)),
            Some(ok) => {
                if ok {
                    self.kept.push(change);
                }
                self.core.handle(self.now, Input::Persisted { op, ok });
            }
        }
    }

    /// The store answers everything that waits for it, in order.
    pub(crate) fn written(&mut self, ok: bool) {
        for (op, change) in std::mem::take(&mut self.waiting) {
            if ok {
                self.kept.push(change);
            }
            self.input(Input::Persisted { op, ok });
        }
    }

    /// Somebody asks for something; what is answered, if it is answered at once.
    pub(crate) fn order(&mut self, order: Order) -> Option<Result<Standing, Refusal>> {
        self.order_based_on(None, order)
    }

    pub(crate) fn order_based_on(
        &mut self,
        based_on: Option<u64>,
        order: Order,
    ) -> Option<Result<Standing, Refusal>> {
        let id = ControlId(self.next_id);
        self.next_id += 1;
        let control = Control { based_on, order };
        self.input(Input::Control { id, control });
        let mine = |(asker, _): &&(ControlId, _)| *asker == id;
        self.answers
            .iter()
            .find(mine)
            .map(|(_, answer)| answer.clone())
    }

    fn drain(&mut self) {
        while let Some(action) = self.core.poll_action() {
            match action {
                Action::Persist { op, change } => self.keep(op, *change),
                Action::Answer { id, answer } => self.answers.push((id, answer)),
                Action::Adopt { config, .. } => self.adopted.push(config),
                action => self.actions.push(action),
            }
        }
        while let Some(event) = self.core.poll_event() {
            self.events.push(event);
        }
    }
}
