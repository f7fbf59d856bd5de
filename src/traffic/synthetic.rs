//! Made-up traffic: arrivals, callers and prompts, all from the seed.

use std::time::Duration;

use crate::id::{RequestKey, Seed, VersionId};
use crate::rng::{Draw, Purpose, draw};
use crate::time::Timestamp;
use crate::traffic::arrivals::Arrivals;
use crate::traffic::body::Prompt;
use crate::traffic::cancel::Cancel;
use crate::traffic::pace::{Due, Pace, Pacer};
use crate::traffic::source::{Next, Planned, Source};
use crate::traffic::users::Users;

/// What synthetic traffic is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct SyntheticConfig {
    /// When requests arrive.
    pub arrivals: Arrivals,
    /// No request is scheduled at or after this; [`Duration::MAX`] when only a number ends it.
    pub duration: Duration,
    /// At most this many requests.
    pub requests: Option<u64>,
    /// Who sends them.
    pub users: Users,
    /// The share that asks for a stream, 0 to 1.
    pub stream: f64,
    /// Which of them are forced to a version.
    pub forced: Forced,
    /// Which callers hang up; nobody when absent.
    pub cancel: Option<Cancel>,
}

/// The shares of the requests that are forced to a version, 0 to 1; together at most 1. Nobody is forced
/// where it is empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Forced(pub Vec<(VersionId, f64)>);

impl Forced {
    /// The share of all requests that are forced to any version.
    pub fn share(&self) -> f64 {
        self.0.iter().map(|(_, share)| share).sum()
    }

    fn pick(&self, drawn: Draw) -> Option<VersionId> {
        let mut above = drawn.unit();
        let is_here = |(_, share): &&(VersionId, f64)| {
            let is_below = above < *share;
            above -= share;
            is_below
        };
        self.0.iter().find(is_here).map(|(version, _)| *version)
    }
}

/// A source of synthetic requests.
#[derive(Debug)]
pub struct Synthetic {
    seed: Seed,
    users: Users,
    stream: f64,
    forced: Forced,
    cancel: Option<Cancel>,
    prompts: u64,
    pacer: Pacer,
}

impl Synthetic {
    /// A source that chooses among `prompts` templates.
    pub fn new(config: &SyntheticConfig, prompts: usize, seed: Seed) -> Self {
        let end = Timestamp::from(config.duration);
        let limit = config.requests.unwrap_or(u64::MAX);
        Self {
            seed,
            users: config.users.clone(),
            stream: config.stream,
            forced: config.forced.clone(),
            cancel: config.cancel.clone(),
            prompts: prompts as u64,
            pacer: Pacer::new(&config.arrivals, end, limit, seed),
        }
    }

    fn plan(&self, due: Due) -> Planned {
        // All turns of a conversation are one user's, and go through the prompts from the same one on.
        let of = due.turn.map_or(due.key, |turn| RequestKey(turn.session));
        let drawn = |purpose, key| draw(self.seed, purpose, key, VersionId::default(), 0);
        let first = drawn(Purpose::Prompt, of).below(self.prompts) as u32;
        Planned {
            key: due.key,
            at: due.at,
            caller: self
                .users
                .pick(drawn(Purpose::User, of), drawn(Purpose::Tenant, of)),
            prompt: match due.turn {
                None => Prompt::Template(first),
                Some(turn) => Prompt::Turn {
                    first,
                    turn: turn.number,
                },
            },
            forced: self.forced.pick(drawn(Purpose::Forced, due.key)),
            hangs_up: self
                .cancel
                .as_ref()
                .and_then(|c| c.pick(self.seed, due.key)),
            stream: drawn(Purpose::Stream, due.key).unit() < self.stream,
        }
    }
}

impl Source for Synthetic {
    fn peek(&mut self) -> Next {
        match self.pacer.peek() {
            Pace::Due(due) => Next::Request(self.plan(due)),
            Pace::AfterAnswer => Next::AfterAnswer,
            Pace::Done => Next::Done,
        }
    }

    fn take(&mut self) {
        self.pacer.take();
    }

    fn answered(&mut self, key: RequestKey, at: Timestamp) -> bool {
        self.pacer.answered(key, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::distribution::Distribution;
    use crate::traffic::arrivals::{Closed, Sessions, Spacing, Stage};
    use crate::traffic::course::Course;
    use crate::traffic::users::Tenants;

    fn config(arrivals: Arrivals, users: Users) -> SyntheticConfig {
        SyntheticConfig {
            arrivals,
            duration: Duration::from_secs(10),
            requests: None,
            users,
            stream: 0.0,
            forced: Forced::default(),
            cancel: None,
        }
    }

    fn closed(callers: u32) -> Arrivals {
        let think = Distribution::Constant(0.0);
        Arrivals::Closed(Closed { callers, think })
    }

    fn drain(mut source: Synthetic) -> Vec<Planned> {
        std::iter::from_fn(|| match source.next() {
            Next::Request(planned) => Some(planned),
            Next::AfterAnswer | Next::Done => None,
        })
        .collect()
    }

    #[test]
    fn an_open_loop_ends_at_its_duration() {
        let stage = Stage {
            spacing: Spacing::Constant,
            course: Course::Flat(20.0),
            length: None,
        };
        let users = Users {
            count: None,
            premium: 0.25,
            tenants: Tenants::default(),
        };
        let arrivals = Arrivals::Open(vec![stage]);
        let all = drain(Synthetic::new(&config(arrivals, users), 3, Seed(1)));
        assert_eq!(all.len(), 200);
        assert!(all.windows(2).all(|w| w[0].key.0 + 1 == w[1].key.0));
        let premium = all.iter().filter(|p| p.caller == 1).count();
        assert!((20..=80).contains(&premium), "{premium} of 200");
        assert!(all.iter().any(|p| p.prompt == Prompt::Template(2)));
    }

    #[test]
    fn a_closed_loop_waits_for_answers() {
        let mut source = Synthetic::new(&config(closed(2), Users::default()), 1, Seed(1));
        assert!(matches!(source.next(), Next::Request(p) if p.at == Timestamp::ZERO));
        assert!(matches!(source.next(), Next::Request(_)));
        assert_eq!(source.next(), Next::AfterAnswer);
        let later = Timestamp::from_secs_f64(3.0);
        source.answered(RequestKey(0), later);
        assert!(matches!(source.next(), Next::Request(p) if p.at == later));
        source.answered(RequestKey(1), Timestamp::from_secs_f64(10.0));
        assert_eq!(source.next(), Next::Done, "the time is over");
    }

    #[test]
    fn a_number_of_requests_can_be_set() {
        let mut limited = config(closed(1), Users::default());
        limited.requests = Some(1);
        let mut source = Synthetic::new(&limited, 1, Seed(1));
        assert!(matches!(source.next(), Next::Request(_)));
        source.answered(RequestKey(0), Timestamp::ZERO);
        assert_eq!(source.next(), Next::Done);
    }

    #[test]
    fn a_share_of_the_requests_is_forced_and_changes_nothing_else() {
        let stage = Stage {
            spacing: Spacing::Constant,
            course: Course::Flat(1_000.0),
            length: None,
        };
        let free = config(Arrivals::Open(vec![stage]), Users::default());
        let (stable, canary) = (VersionId(0), VersionId(1));
        let shares = Forced(vec![(stable, 0.05), (canary, 0.1)]);
        assert!((shares.share() - 0.15).abs() < 1e-12);
        let some = SyntheticConfig {
            forced: shares,
            ..free.clone()
        };
        let all = drain(Synthetic::new(&some, 3, Seed(1)));
        let to = |version| all.iter().filter(|p| p.forced == Some(version)).count();
        // Five standard deviations of 10,000 draws.
        let (stable, canary) = (to(stable), to(canary));
        assert!((391..=609).contains(&stable), "{stable} of 10,000");
        assert!((850..=1_150).contains(&canary), "{canary} of 10,000");
        let unforced = all.into_iter().map(|p| Planned { forced: None, ..p });
        let others = drain(Synthetic::new(&free, 3, Seed(1)));
        assert!(unforced.eq(others));
    }

    #[test]
    fn a_conversation_is_one_users_and_its_prompts_follow_each_other() {
        let stage = Stage {
            spacing: Spacing::Poisson,
            course: Course::Flat(3.0),
            length: None,
        };
        let arrivals = Arrivals::Sessions(Sessions {
            starts: vec![stage],
            turns: Distribution::Constant(3.0),
            think: Distribution::Constant(0.0),
        });
        let users = Users {
            count: Some(1_000_000),
            ..Users::default()
        };
        let mut source = Synthetic::new(&config(arrivals, users), 3, Seed(1));
        let mut all = Vec::new();
        while let Next::Request(planned) = source.next() {
            source.answered(planned.key, planned.at);
            all.push(planned);
        }
        assert!(all.len() > 60, "{}", all.len());
        all.sort_by_key(|p| p.key);
        for turns in all.chunks_exact(3) {
            assert!(turns.iter().all(|t| t.caller == turns[0].caller));
            let numbers = turns.iter().map(|t| match t.prompt {
                Prompt::Turn { first, turn } => Some((first, turn)),
                _ => None,
            });
            let (first, _) = numbers.clone().next().flatten().unwrap();
            assert!(numbers.eq((0..3).map(|turn| Some((first, turn)))));
        }
        let callers: std::collections::BTreeSet<u32> = all.iter().map(|p| p.caller).collect();
        assert!(callers.len() >= all.len() / 3);
    }

    #[test]
    fn tenants_and_hang_ups_change_nothing_else() {
        let stage = Stage {
            spacing: Spacing::Poisson,
            course: Course::Flat(1_000.0),
            length: None,
        };
        let plain = config(Arrivals::Open(vec![stage]), Users::default());
        let more = SyntheticConfig {
            users: Users {
                tenants: Tenants(vec![("acme".to_owned(), 0.6), ("globex".to_owned(), 0.4)]),
                ..Users::default()
            },
            cancel: Some(Cancel {
                share: 0.1,
                after: Distribution::Constant(0.3),
            }),
            ..plain.clone()
        };
        let others = drain(Synthetic::new(&more, 3, Seed(1)));
        let hang_ups = others.iter().filter(|p| p.hangs_up.is_some()).count() as f64;
        let n = others.len() as f64;
        assert!(
            (hang_ups - 0.1 * n).abs() <= 5.0 * (0.09 * n).sqrt(),
            "{hang_ups}"
        );
        let bare = |p: Planned| Planned {
            caller: 0,
            hangs_up: None,
            ..p
        };
        let plain = drain(Synthetic::new(&plain, 3, Seed(1)));
        assert!(plain.into_iter().eq(others.into_iter().map(bare)));
    }
}
