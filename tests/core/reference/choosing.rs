//! How the slow router chooses a version.

use super::*;

impl ReferenceRouter {
    /// Who calls, if that decides.
    pub(super) fn caller<'f>(&self, facts: &'f RequestFacts) -> Option<&'f str> {
        let name = match self.config.split.sticky.as_ref()? {
            StickyBy::User => facts.user.as_ref()?,
            StickyBy::Header(header) => &facts.headers.iter().find(|(n, _)| n == header)?.1,
        };
        (!name.is_empty()).then_some(name)
    }

    pub(super) fn choose(&self, key: RequestKey, facts: &RequestFacts) -> (VersionId, Choice) {
        let (stable, canary) = (self.config.stable, self.config.canary);
        let can = |needs: Features| {
            let has = self.config.versions[canary].features;
            (has.streaming || !needs.streaming) && (has.tools || !needs.tools)
        };
        let exists = |v: VersionId| v == stable || v == canary;
        if let Some(forced) = facts.forced.filter(|v| exists(*v)) {
            return match (forced == canary, self.closed, can(facts.needs)) {
                (true, true, _) => (stable, Choice::CanaryClosed),
                (true, false, false) => (stable, Choice::Features),
                _ => (forced, Choice::Forced),
            };
        }
        match facts.chosen {
            Some(Chosen::Version(v)) if v == stable => return (stable, Choice::Override),
            Some(Chosen::Version(v)) if v == canary && !self.closed && can(facts.needs) => {
                return (canary, Choice::Override);
            }
            Some(_) => return (stable, Choice::OverrideRefused),
            None if !can(facts.needs) => return (stable, Choice::Features),
            None => {}
        }
        let holds = |c: &Condition| match c {
            Condition::Tenant(tenant) => facts.tenant.as_ref() == Some(tenant),
            Condition::Tier(t) => facts.tier.as_ref() == Some(t),
            Condition::Model(m) => facts.model == *m,
            Condition::Header { name, value } => {
                facts.headers.contains(&(name.clone(), value.clone()))
            }
        };
        let rule = (0..)
            .zip(&self.config.routes)
            .find(|(_, r)| r.when.iter().all(holds));
        let (version, choice) = match rule {
            Some((i, rule)) => (rule.to, Choice::Route(i)),
            None => {
                let weights = &self.config.split.weights;
                let share = match self.closed {
                    false => weights[canary] / (weights[stable] + weights[canary]),
                    true => 0.0,
                };
                let (place, choice) = match self.caller(facts) {
                    Some(name) => (keyed_hash(salt(&self.config, 0), name), Choice::Sticky),
                    None => {
                        let drawn = draw(self.seed, Purpose::Split, key, VersionId(0), 0);
                        (drawn, Choice::Random)
                    }
                };
                (if place.unit() < share { canary } else { stable }, choice)
            }
        };
        if self.closed && version == self.config.canary {
            (self.config.stable, Choice::CanaryClosed)
        } else {
            (version, choice)
        }
    }
}
