//! The watch over the canary.

use crate::id::{RequestId, VersionId};
use crate::protocol::outcome::Outcome;
use crate::router::gray::GrayRouter;
use crate::router::health::HealthWindow;
use crate::router::io::{Event, Reason};
use crate::router::judge::sequential::{HoldReason, Step};
use crate::router::judge::{Found, Occasion, Promotion};
use crate::router::ramp::Phase;
use crate::time::Timestamp;

impl GrayRouter {
    /// Tells the judge which weight is in force.
    pub(super) fn tell_weight(&mut self, now: Timestamp) {
        let share = match self.door.is_open() {
            true => self.deployment.share(),
            false => 0.0,
        };
        let held = self.held.until(now);
        let hold = self.deployment.step_config().map(|step| step.hold);
        let hold = hold.map(|hold| hold.saturating_sub(held));
        let horizon = self.config().judge.horizon();
        let planned_hold = match self.deployment.phase {
            Phase::Progressing | Phase::Paused => hold.unwrap_or(horizon),
            Phase::Pending | Phase::Promoted | Phase::RolledBack => horizon,
        };
        let step = Step {
            index: self.deployment.step,
            canary_share: share,
            planned_hold,
            has_control: share < 1.0,
        };
        self.judge.begin_step(now, step);
    }

    /// Tells the judge that chance gave a request to a version.
    pub(super) fn tell_assigned(
        &mut self,
        now: Timestamp,
        request: RequestId,
        caller: Option<u64>,
        version: VersionId,
    ) {
        self.judge.assigned(now, request, caller, version);
    }

    /// Lets the judge look, if what ended makes it want to.
    pub(super) fn look_after(&mut self, now: Timestamp, outcome: Outcome, is_canary: bool) {
        if let Some(occasion) = self.judge.wants_look(now, outcome, is_canary) {
            self.look(now, occasion);
        }
    }

    /// The judge's own time has come, if it has.
    pub(super) fn judge_due(&mut self, now: Timestamp) {
        if self.next_tick().is_some_and(|due| due <= now)
            && let Some(occasion) = self.judge.handle_timeout(now)
        {
            self.look(now, occasion);
        }
    }

    /// Lets the judge look at the canary, and does what it finds.
    fn look(&mut self, now: Timestamp, occasion: Occasion) {
        if self.door.is_rolled_back() {
            return;
        }
        let canary = self.config().canary;
        let window = self.health.as_mut().map(|health| &mut health[canary]);
        let window = window.map(|window| {
            window.advance(now);
            &*window
        });
        let events = &mut self.events;
        let decisive = self.judge.look(now, occasion, window, |found| {
            events.push_back(match found {
                Found::Evidence(evidence) => Event::Judged(evidence),
                Found::Held(reason) => Event::Held(reason),
            });
        });
        if let Some(evidence) = decisive {
            self.roll_back(now, Reason::Judged(evidence), Vec::new());
        }
    }

    /// A judge that broke down holds, which is told once.
    pub(super) fn tell_judge_failure(&mut self) {
        if self.judge.failure_to_tell() {
            let held = Some(HoldReason::JudgeFailed);
            self.events.push_back(Event::Held(held));
        }
    }

    /// What the windows hold by now is not of the step that begins.
    pub(super) fn begin_windows(&mut self) {
        let windows = self.health.iter_mut().flat_map(|health| health.iter_mut());
        windows.for_each(|(_, window)| HealthWindow::begin_step(window));
    }

    /// Has the judge seen enough of a good canary for the next step?
    pub(super) fn promotion(&self, now: Timestamp) -> Promotion {
        let canary = self.config().canary;
        let window = self.health.as_ref().map(|health| &health[canary]);
        self.judge.promotion(now, window)
    }

    /// Lets go of what is too old at `now` to speak for the canary.
    pub(super) fn age_window(&mut self, now: Timestamp) {
        let canary = self.config().canary;
        if let Some(health) = &mut self.health {
            health[canary].advance(now);
        }
    }

    /// When the judge wants to be called by itself.
    pub(super) fn next_tick(&self) -> Option<Timestamp> {
        let next = self.judge.next_timeout();
        next.filter(|_| !self.door.is_rolled_back())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::id::{PerVersion, RequestKey, Seed};
    use crate::router::config::{
        FallbackPolicy, Features, JudgeConfig, Limit, LiteralConfig, RetryPolicy, RollbackConfig,
        RouterConfig, SplitConfig, Threshold, ThresholdAction, Timeouts, VersionConfig,
    };
    use crate::router::core::Core;
    use crate::router::io::{Action, AnswerTraits, Cause, Input, RequestFacts};
    use crate::router::judge::sequential::{PromotionLevel, SequentialConfig};
    use crate::router::ramp::{Inconclusive, RampConfig, StepConfig};

    const CANARY: VersionId = VersionId(1);

    fn literal() -> JudgeConfig {
        JudgeConfig::Literal(LiteralConfig {
            window: Duration::from_secs(60),
            max_samples: 10_000,
            min_requests: 10,
            every: Duration::from_secs(1),
            thresholds: vec![Threshold {
                limit: Limit::ErrorRate(0.05),
                action: ThresholdAction::Rollback,
            }],
        })
    }

    fn sequential() -> JudgeConfig {
        JudgeConfig::Sequential(SequentialConfig {
            every: Duration::from_secs(1),
            promotion: vec![PromotionLevel {
                up_to_share: 1.0,
                margin: 0.5,
                min_requests: 10,
            }],
            slo_error_rate: 0.5,
            slow: None,
            ..SequentialConfig::default()
        })
    }

    /// Half of the requests go to the canary for ten seconds, then all but a tenth.
    fn config(judge: JudgeConfig) -> RouterConfig {
        let version = |name: &str| VersionConfig {
            name: name.to_owned(),
            model: name.to_owned(),
            endpoint: None,
            api_key_env: None,
            features: Features::ALL,
            rate_limit: None,
            price: None,
        };
        let step = |name: &str, share, seconds| StepConfig {
            name: name.to_owned(),
            share,
            hold: Duration::from_secs(seconds),
            limit: Duration::from_secs(3_600),
        };
        RouterConfig {
            versions: [version("v1"), version("v2")].into_iter().collect(),
            stable: VersionId(0),
            canary: CANARY,
            routes: Vec::new(),
            split: SplitConfig {
                weights: PerVersion::from_fn(2, |_| 50.0),
                sticky: None,
            },
            retry: RetryPolicy {
                max_retries: 0,
                base: Duration::from_millis(100),
                factor: 2.0,
                jitter: 0.0,
                max_wait: Duration::from_secs(1),
                budget: None,
            },
            timeouts: Timeouts {
                connect: Duration::from_millis(500),
                attempt: Duration::from_secs(1),
                escalation: None,
                first_token: None,
                idle: None,
                request: Duration::from_secs(3),
            },
            fallback: FallbackPolicy::Immediately,
            overrides: None,
            ramp: Some(RampConfig {
                steps: vec![step("half", 0.5, 10), step("most", 0.9, 0)],
                inconclusive: Inconclusive::Hold,
            }),
            rollback: RollbackConfig::default(),
            judge,
        }
    }

    /// What the router said in forty seconds of traffic, with a judge that panics at the question of
    /// this number.
    fn told(judge: JudgeConfig, of_canary: Outcome, fuse: Option<u32>) -> Vec<Event> {
        let mut router = GrayRouter::new(Arc::new(config(judge)), Seed(1), Timestamp::ZERO);
        router.judge.fuse.set(fuse);
        let mut events = Vec::new();
        for i in 0..400 {
            let now = Timestamp::ZERO + Duration::from_millis(100 * i);
            while let Some(due) = router.poll_timeout().filter(|due| *due <= now) {
                router.handle_timeout(due);
                answer(&mut router, due, of_canary, &mut events);
            }
            let arrival = Input::Arrival {
                request: RequestId(i),
                key: RequestKey(i),
                facts: Arc::new(RequestFacts::default()),
            };
            router.handle(now, arrival);
            answer(&mut router, now, of_canary, &mut events);
        }
        events
    }

    /// Everything that is asked for is done at once.
    fn answer(
        router: &mut GrayRouter,
        now: Timestamp,
        of_canary: Outcome,
        events: &mut Vec<Event>,
    ) {
        while let Some(action) = router.poll_action() {
            match action {
                Action::Persist { op, .. } => {
                    router.handle(now, Input::Persisted { op, ok: true });
                }
                Action::Send { attempt, version } => {
                    let outcome = match version {
                        CANARY => of_canary,
                        _ => Outcome::Success,
                    };
                    if outcome.is_success() {
                        router.handle(now, Input::FirstContent { attempt });
                    }
                    let end = Input::AttemptEnded {
                        attempt,
                        outcome,
                        retry_after: None,
                        answer: AnswerTraits::default(),
                    };
                    router.handle(now, end);
                }
                _ => {}
            }
        }
        events.extend(std::iter::from_fn(|| router.poll_event()));
    }

    fn count(events: &[Event], is_it: impl Fn(&Event) -> bool) -> usize {
        events.iter().filter(|event| is_it(event)).count()
    }

    fn is_promotion(event: &Event) -> bool {
        matches!(event, Event::Standing(standing) if standing.cause == Cause::Judged)
    }

    fn is_rollback(event: &Event) -> bool {
        matches!(event, Event::RolledBack(_))
    }

    #[test]
    fn a_judge_in_order_promotes_and_rolls_back() {
        for judge in [literal(), sequential()] {
            let good = told(judge.clone(), Outcome::Success, None);
            assert_eq!(count(&good, is_promotion), 1, "{judge:?}");
            let bad = told(judge, Outcome::ServerError, None);
            assert_eq!(count(&bad, is_rollback), 1);
        }
    }

    #[test]
    fn a_panicking_judge_never_promotes_and_never_rolls_back() {
        let failed = |e: &Event| matches!(e, Event::Held(Some(HoldReason::JudgeFailed)));
        for (judge, fuse) in [literal(), sequential()]
            .into_iter()
            .flat_map(|judge| (0..40).map(move |fuse| (judge.clone(), fuse)))
        {
            for outcome in [Outcome::Success, Outcome::ServerError] {
                let events = told(judge.clone(), outcome, Some(fuse));
                assert_eq!(count(&events, failed), 1, "people are told, once: {fuse}");
                assert_eq!(count(&events, is_promotion), 0, "{fuse}");
                assert_eq!(count(&events, is_rollback), 0, "{fuse}");
                let is_end = |e: &Event| matches!(e, Event::RequestEnded { .. });
                assert_eq!(count(&events, is_end), 400, "everybody is served");
            }
        }
    }
}
