//! From a healthy upstream and a list of faults to what really happens to one attempt.

use crate::fault::schedule::Fault;
use crate::id::{PerVersion, Seed};
use crate::rng::{Purpose, draw};
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
}

impl Upstreams {
    /// The response to an attempt that is taken at `at`.
    pub fn respond(&self, ask: &Ask, at: Timestamp) -> Response {
        let healthy = self.profiles[ask.version].plan(self.seed, ask, at);
        match self.fault_for(ask, at, &healthy) {
            None => Response {
                plan: healthy,
                fault: None,
            },
            Some(index) => Response {
                plan: self.faults[usize::from(index)].kind.apply(healthy),
                fault: Some(index),
            },
        }
    }

    fn fault_for(&self, ask: &Ask, at: Timestamp, healthy: &ResponsePlan) -> Option<u16> {
        // The configuration refuses more than 65,535 faults.
        (0_u16..).zip(&self.faults).find_map(|(index, fault)| {
            let hits = || {
                let drawn = draw(
                    self.seed,
                    Purpose::Fault(index),
                    ask.key,
                    ask.version,
                    ask.nth,
                );
                drawn.unit() < fault.share
            };
            let can = fault.is_on(ask.version, at) && fault.kind.concerns(healthy);
            (can && hits()).then_some(index)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fault::kind::FaultKind;
    use crate::id::{RequestKey, VersionId};
    use crate::protocol::outcome::Outcome;
    use crate::upstream::profile::{Distribution, Timing};
    use crate::upstream::stream::Breakage;

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
            kind,
            on: vec![VersionId(1)],
            from: Timestamp::from_secs_f64(10.0),
            until: Some(Timestamp::from_secs_f64(20.0)),
            share,
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

    #[test]
    fn every_kind_has_its_outcome() {
        let after = Some(Duration::from_secs(5));
        let table = [
            (FaultKind::Unauthorized, Some(Outcome::Unauthorized)),
            (FaultKind::Timeout, None),
            (
                FaultKind::RateLimited { retry_after: after },
                Some(Outcome::RateLimited),
            ),
            (FaultKind::ModelNotFound, Some(Outcome::ModelNotFound)),
            (
                FaultKind::ServerError { status: 503 },
                Some(Outcome::Overloaded),
            ),
            (FaultKind::Reset, Some(Outcome::Reset)),
            (
                FaultKind::Slow {
                    delay: Duration::from_secs(2),
                },
                Some(Outcome::Success),
            ),
        ];
        let names = table.map(|(kind, _)| kind.name());
        let of_streams = Breakage::ALL.map(Breakage::name);
        let names: Vec<_> = names.into_iter().chain(of_streams).collect();
        assert_eq!(names, FaultKind::NAMES);
        for (kind, outcome) in table {
            let world = upstreams(vec![fault(kind, 1.0)]);
            let response = world.respond(&ask(1, 1), Timestamp::from_secs_f64(12.0));
            assert_eq!(response.plan.outcome(), outcome, "{}", kind.name());
        }
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
