//! Rules that pin requests to a version: first match wins.

use crate::id::VersionId;
use crate::router::config::{Condition, Route};
use crate::router::io::RequestFacts;

/// The first rule whose conditions all hold, with its position.
pub fn find(routes: &[Route], facts: &RequestFacts) -> Option<(u16, VersionId)> {
    routes
        .iter()
        .position(|route| route.when.iter().all(|c| holds(c, facts)))
        // More than 65,535 rules do not exist: the configuration refuses them.
        .map(|i| (i as u16, routes[i].to))
}

fn holds(condition: &Condition, facts: &RequestFacts) -> bool {
    match condition {
        Condition::Tier(tier) => facts.tier.as_deref() == Some(tier),
        Condition::Tenant(tenant) => facts.tenant.as_deref() == Some(tenant),
        Condition::Model(model) => facts.model == *model,
        Condition::Header { name, value } => facts.header(name) == Some(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(tier: Option<&str>, model: &str) -> RequestFacts {
        RequestFacts {
            tier: tier.map(str::to_owned),
            model: model.to_owned(),
            headers: vec![("x-test-version".to_owned(), "v2".to_owned())],
            ..RequestFacts::default()
        }
    }

    #[test]
    fn the_first_rule_that_holds_in_full_wins() {
        let tier = |t: &str| Condition::Tier(t.to_owned());
        let header = Condition::Header {
            name: "x-test-version".to_owned(),
            value: "v2".to_owned(),
        };
        let routes = [
            Route {
                when: vec![tier("premium"), Condition::Model("big".to_owned())],
                to: VersionId(0),
            },
            Route {
                when: vec![tier("premium")],
                to: VersionId(1),
            },
            Route {
                when: vec![header],
                to: VersionId(1),
            },
        ];
        let found = |tier, model| find(&routes, &facts(tier, model)).map(|(i, _)| i);
        assert_eq!(found(Some("premium"), "big"), Some(0));
        assert_eq!(found(Some("premium"), "small"), Some(1));
        assert_eq!(found(None, "small"), Some(2));
        assert_eq!(find(&routes[..2], &facts(None, "big")), None);
    }
}
