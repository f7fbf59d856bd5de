//! Who sends synthetic requests: named users or anybody, their tiers and tenants.

use crate::id::{RequestKey, Seed, VersionId};
use crate::rng::{Draw, Purpose, draw};
use crate::traffic::caller::Caller;

/// The tier of premium users, as sent in the tier header.
pub const PREMIUM: &str = "premium";

/// Who sends synthetic requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Users {
    /// How many named users there are; everybody is anonymous when absent.
    pub count: Option<u32>,
    /// Share of premium users (of premium requests, when everybody is anonymous), 0 to 1.
    pub premium: f64,
    /// Whose they are.
    pub tenants: Tenants,
}

/// Names of tenants, and their shares of the users (of the requests, when everybody is anonymous), 0 to
/// 1; together at most 1. The rest has none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tenants(pub Vec<(String, f64)>);

impl Tenants {
    /// The share of those who have any.
    pub fn share(&self) -> f64 {
        self.0.iter().map(|(_, share)| share).sum()
    }

    /// The position of the tenant that belongs to a draw; that of nobody, which is the last.
    fn pick(&self, drawn: Draw) -> usize {
        let mut above = drawn.unit();
        let is_here = |(_, share): &(String, f64)| {
            let is_below = above < *share;
            above -= share;
            is_below
        };
        self.0.iter().position(is_here).unwrap_or(self.0.len())
    }

    fn name(&self, position: usize) -> Option<String> {
        self.0.get(position).map(|(name, _)| name.clone())
    }

    /// Positions with their shares, nobody's first.
    fn shares(&self) -> impl Iterator<Item = (usize, f64)> {
        let nobody = (self.0.len(), (1.0 - self.share()).max(0.0));
        let named = self.0.iter().enumerate().map(|(i, (_, share))| (i, *share));
        std::iter::once(nobody).chain(named)
    }
}

impl Users {
    /// The list of callers that requests refer to by number. Every seed has users of its own: sticky
    /// assignment depends on nothing but their names.
    pub fn callers(&self, seed: Seed) -> Vec<Caller> {
        let tier = |is_premium: bool| is_premium.then(|| PREMIUM.to_owned());
        match self.count {
            None => self.anonymous().map(|(caller, _)| caller).collect(),
            Some(count) => (0..count)
                .map(|i| {
                    let drawn = |purpose| user_draw(seed, purpose, u64::from(i));
                    Caller {
                        tier: tier(drawn(Purpose::User).unit() < self.premium),
                        user: Some(format!("user-{}-{i}", seed.0)),
                        tenant: self.tenants.name(self.tenants.pick(drawn(Purpose::Tenant))),
                    }
                })
                .collect(),
        }
    }

    /// The kinds of anonymous callers, with the share of the requests that each sends.
    pub fn anonymous(&self) -> impl Iterator<Item = (Caller, f64)> {
        let tiers = [
            (None, 1.0 - self.premium),
            (Some(PREMIUM.to_owned()), self.premium),
        ];
        self.tenants.shares().flat_map(move |(position, of_all)| {
            let tenant = self.tenants.name(position);
            tiers.clone().map(|(tier, share)| {
                let caller = Caller {
                    tier,
                    user: None,
                    tenant: tenant.clone(),
                };
                (caller, share * of_all)
            })
        })
    }

    /// The number of the caller that belongs to two draws.
    pub fn pick(&self, user: Draw, tenant: Draw) -> u32 {
        match self.count {
            Some(count) => user.below(u64::from(count)) as u32,
            None => {
                let named = self.tenants.0.len();
                // Nobody's are the first, and then those of each tenant: two of each, by tier.
                let position = (self.tenants.pick(tenant) + 1) % (named + 1);
                2 * position as u32 + u32::from(user.unit() < self.premium)
            }
        }
    }
}

fn user_draw(seed: Seed, purpose: Purpose, number: u64) -> Draw {
    // The nth try 1 keeps the users' own draws apart from the requests' (try 0).
    draw(seed, purpose, RequestKey(number), VersionId::default(), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mix() -> Tenants {
        Tenants(vec![("acme".to_owned(), 0.6), ("globex".to_owned(), 0.3)])
    }

    fn drawn(purpose: Purpose, key: u64) -> Draw {
        draw(Seed(1), purpose, RequestKey(key), VersionId::default(), 0)
    }

    #[test]
    fn named_users_keep_their_tier_and_their_tenant() {
        let users = Users {
            count: Some(1_000),
            premium: 0.1,
            tenants: mix(),
        };
        let callers = users.callers(Seed(4));
        let premium = callers.iter().filter(|c| c.tier.is_some()).count();
        assert!((53..=147).contains(&premium), "{premium} of 1,000");
        assert_eq!(callers[7].user.as_deref(), Some("user-4-7"));
        // Five standard deviations: 77, 72 and 47.
        for (name, range) in [
            (Some("acme"), 523..=677),
            (Some("globex"), 228..=372),
            (None, 53..=147),
        ] {
            let found = callers.iter().filter(|c| c.tenant.as_deref() == name);
            let found = found.count();
            assert!(range.contains(&found), "{name:?}: {found} of 1,000");
        }
    }

    #[test]
    fn anonymous_requests_have_the_shares_of_their_tenants_and_tiers() {
        let users = Users {
            count: None,
            premium: 0.25,
            tenants: mix(),
        };
        let kinds: Vec<_> = users.anonymous().collect();
        assert_eq!(kinds.len(), users.callers(Seed(1)).len());
        let mut found = vec![0.0; kinds.len()];
        for key in 0..10_000 {
            let caller = users.pick(drawn(Purpose::User, key), drawn(Purpose::Tenant, key));
            found[caller as usize] += 1.0;
        }
        for ((caller, share), n) in kinds.iter().zip(found) {
            let mean = 10_000.0 * share;
            let error = 5.0 * (mean * (1.0 - share)).sqrt();
            assert!((n - mean).abs() <= error, "{caller:?}: {n}, not {mean}");
        }
    }

    #[test]
    fn without_tenants_callers_are_numbered_by_tier_alone() {
        let users = Users {
            count: None,
            premium: 0.5,
            tenants: Tenants::default(),
        };
        let callers = users.callers(Seed(1));
        assert_eq!(callers.len(), 2);
        assert!(callers.iter().all(|c| c.tenant.is_none()));
        assert!((0..100).all(|k| users.pick(drawn(Purpose::User, k), Draw(u64::MAX)) < 2));
    }
}
