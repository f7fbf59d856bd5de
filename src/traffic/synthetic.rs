//! Made-up traffic: arrivals, callers and prompts, all from the seed.

use std::time::Duration;

use crate::id::{RequestKey, Seed, VersionId};
use crate::rng::{Draw, Purpose, draw};
use crate::time::Timestamp;
use crate::traffic::arrivals::{Arrivals, Schedule};
use crate::traffic::body::Prompt;
use crate::traffic::caller::Caller;
use crate::traffic::source::{Next, Planned, Source};

/// The tier of premium users, as sent in the tier header.
pub const PREMIUM: &str = "premium";

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

/// Who sends synthetic requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Users {
    /// How many named users there are; everybody is anonymous when absent.
    pub count: Option<u32>,
    /// Share of premium users (of premium requests, when everybody is anonymous), 0 to 1.
    pub premium: f64,
}

impl Users {
    /// The list of callers that [`Synthetic`] refers to. Every seed has users of its own: sticky
    /// assignment depends on nothing but their names.
    pub fn callers(&self, seed: Seed) -> Vec<Caller> {
        let tier = |is_premium: bool| is_premium.then(|| PREMIUM.to_owned());
        match self.count {
            None => [false, true]
                .map(|is_premium| Caller {
                    tier: tier(is_premium),
                    user: None,
                })
                .to_vec(),
            Some(count) => (0..count)
                .map(|i| Caller {
                    tier: tier(user_draw(seed, u64::from(i)).unit() < self.premium),
                    user: Some(format!("user-{}-{i}", seed.0)),
                })
                .collect(),
        }
    }

    fn pick(&self, drawn: Draw) -> u32 {
        match self.count {
            None => u32::from(drawn.unit() < self.premium),
            Some(count) => drawn.below(u64::from(count)) as u32,
        }
    }
}

fn user_draw(seed: Seed, number: u64) -> Draw {
    // The nth try 1 keeps the users' own draws apart from the requests' (try 0).
    draw(
        seed,
        Purpose::User,
        RequestKey(number),
        VersionId::default(),
        1,
    )
}

/// A source of synthetic requests.
#[derive(Debug)]
pub struct Synthetic {
    seed: Seed,
    end: Timestamp,
    limit: u64,
    users: Users,
    stream: f64,
    forced: Forced,
    prompts: u64,
    made: u64,
    moments: Moments,
}

#[derive(Debug)]
enum Moments {
    Open(Schedule),
    Closed { free: u32, now: Timestamp },
}

impl Synthetic {
    /// A source that chooses among `prompts` templates.
    pub fn new(config: &SyntheticConfig, prompts: usize, seed: Seed) -> Self {
        let moments = match &config.arrivals {
            Arrivals::Open(stages) => Moments::Open(Schedule::new(stages.clone(), seed)),
            Arrivals::Closed(concurrency) => Moments::Closed {
                free: *concurrency,
                now: Timestamp::ZERO,
            },
        };
        Self {
            seed,
            end: Timestamp::from(config.duration),
            limit: config.requests.unwrap_or(u64::MAX),
            users: config.users,
            stream: config.stream,
            forced: config.forced.clone(),
            prompts: prompts as u64,
            made: 0,
            moments,
        }
    }

    fn plan(&mut self, at: Timestamp) -> Planned {
        let key = RequestKey(self.made);
        self.made += 1;
        let drawn = |purpose| draw(self.seed, purpose, key, VersionId::default(), 0);
        Planned {
            key,
            at,
            caller: self.users.pick(drawn(Purpose::User)),
            prompt: Prompt::Template(drawn(Purpose::Prompt).below(self.prompts) as u32),
            stream: drawn(Purpose::Stream).unit() < self.stream,
            forced: self.forced.pick(drawn(Purpose::Forced)),
        }
    }
}

impl Source for Synthetic {
    fn next(&mut self) -> Next {
        if self.made >= self.limit {
            return Next::Done;
        }
        let at = match &mut self.moments {
            Moments::Open(schedule) => schedule.next(),
            Moments::Closed { free: 0, .. } => return Next::AfterAnswer,
            Moments::Closed { free, now } => {
                *free -= 1;
                Some(*now)
            }
        };
        match at.filter(|at| *at < self.end) {
            Some(at) => Next::Request(self.plan(at)),
            None => Next::Done,
        }
    }

    fn answered(&mut self, at: Timestamp) {
        if let Moments::Closed { free, now } = &mut self.moments {
            *free += 1;
            *now = at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::arrivals::{Spacing, Stage};

    fn config(arrivals: Arrivals, users: Users) -> SyntheticConfig {
        SyntheticConfig {
            arrivals,
            duration: Duration::from_secs(10),
            requests: None,
            users,
            stream: 0.0,
            forced: Forced::default(),
        }
    }

    const ANYBODY: Users = Users {
        count: None,
        premium: 0.0,
    };

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
            rate: 20.0,
            length: None,
        };
        let users = Users {
            count: None,
            premium: 0.25,
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
        let mut source = Synthetic::new(&config(Arrivals::Closed(2), ANYBODY), 1, Seed(1));
        assert!(matches!(source.next(), Next::Request(p) if p.at == Timestamp::ZERO));
        assert!(matches!(source.next(), Next::Request(_)));
        assert_eq!(source.next(), Next::AfterAnswer);
        let later = Timestamp::from_secs_f64(3.0);
        source.answered(later);
        assert!(matches!(source.next(), Next::Request(p) if p.at == later));
        source.answered(Timestamp::from_secs_f64(10.0));
        assert_eq!(source.next(), Next::Done, "the time is over");
    }

    #[test]
    fn a_number_of_requests_can_be_set() {
        let mut limited = config(Arrivals::Closed(1), ANYBODY);
        limited.requests = Some(1);
        let mut source = Synthetic::new(&limited, 1, Seed(1));
        assert!(matches!(source.next(), Next::Request(_)));
        source.answered(Timestamp::ZERO);
        assert_eq!(source.next(), Next::Done);
    }

    #[test]
    fn a_share_of_the_requests_is_forced_and_changes_nothing_else() {
        let stage = Stage {
            spacing: Spacing::Constant,
            rate: 1_000.0,
            length: None,
        };
        let free = config(Arrivals::Open(vec![stage]), ANYBODY);
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
    fn named_users_keep_their_tier() {
        let users = Users {
            count: Some(1_000),
            premium: 0.1,
        };
        let callers = users.callers(Seed(4));
        let premium = callers.iter().filter(|c| c.tier.is_some()).count();
        assert!((53..=147).contains(&premium), "{premium} of 1,000");
        assert_eq!(callers[7].user.as_deref(), Some("user-4-7"));
    }
}
