//! One judge over the attempts of a log: when it would have rolled back, and whom the canary had met by then.

use crate::audit::Terms;
use crate::id::{RequestId, VersionId};
use crate::observe::audit::{Decided, Exposure, WouldHave};
use crate::observe::bridge;
use crate::observe::event::What;
use crate::protocol::outcome::Outcome;
use crate::router::config::{JudgeConfig, RouterConfig};
use crate::router::health::{HealthWindow, WindowBounds};
use crate::router::io::Event;
use crate::router::judge::guard::GuardedJudge;
use crate::router::judge::sequential::{HoldReason, Step};
use crate::router::judge::{Found, Occasion};
use crate::time::Timestamp;

/// A judge at work on a log. It is told what the router would tell it.
#[derive(Debug)]
pub struct Bench {
    judge: GuardedJudge,
    window: Option<HealthWindow>,
    /// Fewest attempts that the literal judge acts on, until it has had them.
    needs: Option<u64>,
    canary: VersionId,
    would_have: WouldHave,
    /// What is worth telling of a judge that counts.
    news: Vec<What>,
}

/// The end of an attempt, as far as judges care.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// The request.
    pub request: RequestId,
    /// Is it the first attempt of a request that chance assigned?
    pub is_unit: bool,
    /// Where it went.
    pub version: VersionId,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub took: std::time::Duration,
}

impl Bench {
    /// The judge of this configuration, at work from the beginning of the log on.
    fn new(terms: &Terms, judge: JudgeConfig) -> Self {
        let is_sequential = matches!(judge, JudgeConfig::Sequential(_));
        let is_configured = match (&terms.router.judge, &judge) {
            (JudgeConfig::Literal(_), JudgeConfig::Literal(_))
            | (JudgeConfig::Sequential(_), JudgeConfig::Sequential(_)) => true,
            (JudgeConfig::Off | JudgeConfig::Literal(_) | JudgeConfig::Sequential(_), _) => false,
        };
        let window = match &judge {
            JudgeConfig::Literal(config) => Some(HealthWindow::new(WindowBounds::of(config))),
            JudgeConfig::Sequential(_) | JudgeConfig::Off => None,
        };
        let name = match judge {
            JudgeConfig::Literal(_) => "literal",
            JudgeConfig::Sequential(_) => "sequential",
            JudgeConfig::Off => "off",
        };
        let router = RouterConfig {
            judge,
            ..(*terms.router).clone()
        };
        Self {
            judge: GuardedJudge::new(&router, Timestamp::ZERO),
            window,
            needs: match &router.judge {
                JudgeConfig::Literal(config) => Some(config.min_requests),
                JudgeConfig::Sequential(_) | JudgeConfig::Off => None,
            },
            canary: router.canary,
            would_have: WouldHave {
                judge: name,
                decides: is_configured || (is_sequential && terms.heeds_sequential),
                decided: None,
                held: None,
                until: Exposure::default(),
                after: Exposure::default(),
            },
            news: Vec::new(),
        }
    }

    /// Both judges.
    pub fn both(terms: &Terms) -> [Self; 2] {
        [
            Self::new(terms, JudgeConfig::Literal(terms.literal.clone())),
            Self::new(terms, JudgeConfig::Sequential(terms.sequential.clone())),
        ]
    }

    /// Does its decision count?
    pub fn decides(&self) -> bool {
        self.would_have.decides
    }

    /// What it decided; none when it goes on.
    pub fn decided(&self) -> Option<&Decided> {
        self.would_have.decided.as_ref()
    }

    /// What is new and worth telling, if it counts.
    pub fn take_news(&mut self) -> Vec<What> {
        std::mem::take(&mut self.news)
    }

    /// A weight comes into force.
    pub fn weigh(&mut self, now: Timestamp, step: Step) {
        self.judge.begin_step(now, step);
        if let Some(window) = self.window.as_mut().filter(|_| step.index > 0) {
            window.begin_step();
        }
    }

    /// Chance gave a request to a version, and its first attempt was sent.
    pub fn assigned(
        &mut self,
        now: Timestamp,
        request: RequestId,
        caller: Option<u64>,
        version: VersionId,
    ) {
        if self.decided().is_none() {
            self.judge.assigned(now, request, caller, version);
            self.judge.sent(now, request);
        }
    }

    /// An attempt ended.
    pub fn ended(&mut self, now: Timestamp, ended: &Ended) {
        if self.decided().is_some() {
            return;
        }
        let is_canary = ended.version == self.canary;
        if let Some(window) = self.window.as_mut().filter(|_| is_canary) {
            window.record(now, ended.outcome, ended.took);
            let judged = window.judged();
            self.needs = self.needs.filter(|needs| judged < *needs);
        }
        if ended.is_unit {
            self.judge.ended(now, ended.request, ended.outcome, false);
        }
        if let Some(occasion) = self.judge.wants_look(now, ended.outcome, is_canary) {
            self.look(now, occasion);
        }
    }

    /// When it wants to be called by itself; never again once it decided.
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.judge
            .next_timeout()
            .filter(|_| self.decided().is_none())
    }

    /// Its time has come.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        if let Some(occasion) = self.judge.handle_timeout(now) {
            self.look(now, occasion);
        }
    }

    fn look(&mut self, now: Timestamp, occasion: Occasion) {
        let window = self.window.as_mut().map(|window| {
            window.advance(now);
            &*window
        });
        let (news, held) = (&mut self.news, &mut self.would_have.held);
        let decides = self.would_have.decides;
        let decisive = self.judge.look(now, occasion, window, |found| {
            if let Found::Held(reason) = &found {
                *held = reason.map(HoldReason::name);
            }
            if decides {
                news.push(bridge::fact(event(found), now));
            }
        });
        self.would_have.decided = decisive.map(|evidence| Decided {
            at: now,
            because: bridge::finding(&evidence),
        });
    }

    /// A request is over that met the canary at this time.
    pub fn met_canary(&mut self, at: Timestamp, is_error: bool) {
        let decided = self.would_have.decided.as_ref();
        let side = match decided.is_some_and(|decided| at > decided.at) {
            true => &mut self.would_have.after,
            false => &mut self.would_have.until,
        };
        side.canary_requests += 1;
        side.user_errors += u64::from(is_error);
    }

    /// What it would have done.
    pub fn finish(mut self) -> WouldHave {
        if self.needs.is_some() {
            // It never had enough to look at, which is no opinion.
            self.would_have.held = Some("too_few_attempts");
        }
        self.would_have
    }
}

fn event(found: Found) -> Event {
    match found {
        Found::Evidence(evidence) => Event::Judged(evidence),
        Found::Held(reason) => Event::Held(reason),
    }
}
