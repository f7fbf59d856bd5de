//! From a healthy upstream and a list of faults to what really happens to one attempt.

use crate::fault::recorded;
use crate::fault::schedule::Fault;
use crate::id::{PerVersion, Seed, VersionId};
use crate::time::Timestamp;
use crate::upstream::plan::ResponsePlan;
use crate::upstream::profile::{Ask, Profile};

/// All upstreams of a run and the faults on them: a pure function from an attempt to its response.
/// The simulator and every mock server play what it says.
#[derive(Clone, Debug)]
pub struct Upstreams {
    /// The seed of every draw.
    pub seed: Seed,
    /// How each version behaves in good health.
    pub profiles: PerVersion<Profile>,
    /// The faults, in the order of the file: the first that hits an attempt decides.
    pub faults: Vec<Fault>,
}

/// What an upstream does with one attempt, and which fault made it so.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// The script.
    pub plan: ResponsePlan,
    /// The position of the fault that hit, if one did.
    pub fault: Option<u16>,
    /// Where a log is asked for its answers: does it tell of this one? Otherwise the profile stands in. None where no log is
    /// asked, or a fault decided.
    pub is_told: Option<bool>,
}

impl Upstreams {
    /// The response to an attempt that is taken at `at`.
    pub fn respond(&self, ask: &Ask, at: Timestamp) -> Response {
        let profile = &self.profiles[ask.version];
        let healthy = profile.plan(self.seed, ask, at);
        let Some(told) = profile.answers.told(self.seed, ask) else {
            return self.spoil(healthy, ask, at);
        };
        let answer = match told.failure() {
            Some(failure) => recorded::failed(healthy, &told, failure),
            None => healthy,
        };
        let response = self.spoil(answer, ask, at);
        let is_told = response.fault.is_none().then_some(told.is_told());
        Response {
            is_told,
            ..response
        }
    }

    /// What the faults make of a response in good health to an attempt that is taken at `at`.
    pub fn spoil(&self, healthy: ResponsePlan, ask: &Ask, at: Timestamp) -> Response {
        match self.fault_for(ask, at, &healthy) {
            None => Response {
                plan: healthy,
                fault: None,
                is_told: None,
            },
            Some(index) => Response {
                plan: self.faults[usize::from(index)].kind.apply(healthy),
                fault: Some(index),
                is_told: None,
            },
        }
    }

    fn fault_for(&self, ask: &Ask, at: Timestamp, healthy: &ResponsePlan) -> Option<u16> {
        // The configuration refuses more than 65,535 faults. A door that is shut comes before all that could
        // happen behind it.
        let numbered = || (0_u16..).zip(&self.faults);
        let doors = numbered().filter(|(_, fault)| fault.kind.keeps_out());
        let others = numbered().filter(|(_, fault)| !fault.kind.keeps_out());
        doors
            .chain(others)
            .find(|(index, fault)| {
                fault.kind.concerns(healthy) && fault.hits(self.seed, *index, ask, at)
            })
            .map(|(index, _)| index)
    }

    /// Does nobody reach this version at this moment?
    pub fn is_shut(&self, version: VersionId, at: Timestamp) -> bool {
        let numbered = (0_u16..).zip(&self.faults);
        let mut doors = numbered.filter(|(_, fault)| fault.kind.keeps_out());
        doors.any(|(index, fault)| fault.is_on_for_all(self.seed, index, version, at))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fault::kind::FaultKind;
    use crate::id::RequestKey;
    use crate::protocol::outcome::Outcome;
    use crate::upstream::odd::Shape;
    use crate::upstream::profile::{Distribution, Timing};
    use crate::upstream::stream::Breakage;
    use crate::upstream::wish::Wish;

    fn upstreams(faults: Vec<Fault>) -> Upstreams {
        let profile = Profile::of(Timing::Whole(Distribution::Constant(0.05)));
        Upstreams {
            seed: Seed(3),
            profiles: PerVersion::from_fn(2, |_| profile.clone()),
            faults,
        }
    }

    fn fault(kind: FaultKind, share: f64) -> Fault {
        Fault {
            from: Timestamp::from_secs_f64(10.0),
            until: Some(Timestamp::from_secs_f64(20.0)),
            share,
            ..Fault::always(kind, vec![VersionId(1)])
        }
    }

    fn ask(key: u64, version: u8) -> Ask {
        Ask {
            key: RequestKey(key),
            version: VersionId(version),
            nth: 0,
            input_tokens: 1,
            max_tokens: None,
            stream: false,
            is_prefilled: false,
            recorded: None,
        }
    }

    #[test]
    fn a_fault_hits_its_version_during_its_time() {
        let world = upstreams(vec![fault(FaultKind::Unauthorized, 1.0)]);
        let outcome = |version, at: f64| {
            let response = world.respond(&ask(1, version), Timestamp::from_secs_f64(at));
            response.plan.outcome()
        };
        assert_eq!(outcome(1, 9.999), Some(Outcome::Success));
        assert_eq!(outcome(1, 10.0), Some(Outcome::Unauthorized));
        assert_eq!(outcome(0, 10.0), Some(Outcome::Success));
        assert_eq!(outcome(1, 20.0), Some(Outcome::Success));
    }

    #[test]
    fn the_share_is_the_share_and_the_same_requests_are_hit_again() {
        let world = upstreams(vec![fault(FaultKind::Reset, 0.3)]);
        let at = Timestamp::from_secs_f64(15.0);
        let hit: Vec<u64> = (0..10_000)
            .filter(|&k| world.respond(&ask(k, 1), at).fault.is_some())
            .collect();
        // Five standard deviations of Binomial(10,000, 0.3).
        assert!((2_771..=3_229).contains(&hit.len()), "{}", hit.len());
        let again = world.respond(&ask(hit[0], 1), Timestamp::from_secs_f64(11.0));
        assert_eq!(again.fault, Some(0));
    }

    /// Every kind, and how an attempt ends that it hits; none for silence.
    fn table() -> Vec<(FaultKind, Option<Outcome>)> {
        use FaultKind as K;
        let second = Duration::from_secs(1);
        let retry_after = Some(Wish::Seconds(second));
        vec![
            (K::Unauthorized, Some(Outcome::Unauthorized)),
            (K::Forbidden { status: 402 }, Some(Outcome::Forbidden)),
            (K::Timeout, None),
            (K::RequestTimeout, Some(Outcome::Timeout)),
            (K::RateLimited { retry_after }, Some(Outcome::RateLimited)),
            (K::InsufficientQuota, Some(Outcome::QuotaExhausted)),
            (K::ModelNotFound, Some(Outcome::ModelNotFound)),
            (K::BadRequest { status: 413 }, Some(Outcome::BadRequest)),
            (K::ContextLength, Some(Outcome::BadRequest)),
            (
                K::ContentFilter { as_answer: false },
                Some(Outcome::BadRequest),
            ),
            (
                K::Overloaded {
                    status: 529,
                    retry_after,
                },
                Some(Outcome::Overloaded),
            ),
            (K::ServerError { status: 502 }, Some(Outcome::ServerError)),
            (K::Reset, Some(Outcome::Reset)),
            (K::Close, Some(Outcome::Reset)),
            (K::Slow { delay: second }, Some(Outcome::Success)),
            (K::Malformed, Some(Outcome::Malformed)),
            (K::EmptyChoices, Some(Outcome::Malformed)),
            (K::WrongContentType, Some(Outcome::Malformed)),
            (
                K::SchemaDrift {
                    shape: Shape::MissingUsage,
                },
                Some(Outcome::Success),
            ),
            (K::Cut, Some(Outcome::Truncated)),
            (K::WrongContentLength, Some(Outcome::Malformed)),
            (K::SlowBody { over: second }, Some(Outcome::Success)),
            (K::HugeBody, Some(Outcome::Malformed)),
            (K::Redirect { status: 302 }, Some(Outcome::Malformed)),
            (K::Refused, Some(Outcome::Connect)),
            (K::TlsFailure, Some(Outcome::Connect)),
        ]
    }

    #[test]
    fn every_kind_has_its_outcome() {
        let names = table().into_iter().map(|(kind, _)| kind.name());
        let names: Vec<_> = names.chain(Breakage::ALL.map(Breakage::name)).collect();
        assert_eq!(names, FaultKind::NAMES);
        for (kind, outcome) in table() {
            let world = upstreams(vec![fault(kind, 1.0)]);
            let response = world.respond(&ask(1, 1), Timestamp::from_secs_f64(12.0));
            assert_eq!(response.plan.outcome(), outcome, "{}", kind.name());
        }
        let of = |kind: FaultKind| {
            let world = upstreams(vec![fault(kind, 1.0)]);
            world
                .respond(&ask(1, 1), Timestamp::from_secs_f64(12.0))
                .plan
        };
        let gateway_timeout = of(FaultKind::ServerError { status: 504 });
        assert_eq!(gateway_timeout.outcome(), Some(Outcome::Timeout));
        let filtered = of(FaultKind::ContentFilter { as_answer: true });
        assert_eq!(filtered.outcome(), Some(Outcome::Success));
    }

    #[test]
    fn no_kind_leaves_streams_alone() {
        for (kind, whole) in table() {
            let world = upstreams(vec![fault(kind, 1.0)]);
            let ask = Ask {
                stream: true,
                ..ask(1, 1)
            };
            let response = world.respond(&ask, Timestamp::from_secs_f64(12.0));
            assert_eq!(response.fault, Some(0), "{}", kind.name());
            assert_eq!(response.plan.outcome(), whole, "{}", kind.name());
        }
    }

    #[test]
    fn a_correlated_fault_meets_a_request_everywhere_or_nowhere() {
        let both = |is_correlated| {
            upstreams(vec![Fault {
                share: 0.5,
                is_correlated,
                ..Fault::always(FaultKind::Reset, vec![VersionId(0), VersionId(1)])
            }])
        };
        let at = Timestamp::from_secs_f64(1.0);
        let differ = |world: &Upstreams| {
            let hit = |key, version| world.respond(&ask(key, version), at).fault.is_some();
            (0..1_000)
                .filter(|key| hit(*key, 0) != hit(*key, 1))
                .count()
        };
        assert_eq!(differ(&both(true)), 0);
        assert!(differ(&both(false)) > 400);
    }

    #[test]
    fn a_fault_on_prefilled_requests_leaves_all_others_alone() {
        let world = upstreams(vec![Fault {
            only_prefilled: true,
            ..fault(FaultKind::BadRequest { status: 400 }, 1.0)
        }]);
        let at = Timestamp::from_secs_f64(15.0);
        let prefilled = Ask {
            is_prefilled: true,
            ..ask(1, 1)
        };
        assert_eq!(world.respond(&prefilled, at).fault, Some(0));
        assert_eq!(world.respond(&ask(1, 1), at).fault, None);
    }

    #[test]
    fn the_first_fault_that_hits_decides() {
        let world = upstreams(vec![
            fault(FaultKind::ModelNotFound, 0.5),
            fault(FaultKind::Reset, 1.0),
        ]);
        let at = Timestamp::from_secs_f64(15.0);
        let outcomes: Vec<_> = (0..50)
            .map(|k| world.respond(&ask(k, 1), at).plan.outcome())
            .collect();
        assert!(outcomes.contains(&Some(Outcome::ModelNotFound)));
        assert!(outcomes.contains(&Some(Outcome::Reset)));
        assert!(!outcomes.contains(&Some(Outcome::Success)));
    }
}
