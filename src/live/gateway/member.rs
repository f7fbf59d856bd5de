//! A version's upstream, as it is asked before callers come: whether it serves its model, what is wrong if it
//! does not, and what to do about it.

use crate::id::VersionId;
use crate::live::gateway::Endpoint;
use crate::live::gateway::probe::{Finding, Prober};
use crate::router::config::RouterConfig;

/// A version to be asked.
#[derive(Clone, Debug)]
pub struct Member {
    name: String,
    model: String,
    endpoint: Endpoint,
    /// The variable of its key.
    variable: Option<String>,
}

impl Member {
    /// The upstream of a version.
    pub fn of(router: &RouterConfig, version: VersionId, endpoint: Endpoint) -> Self {
        let config = &router.versions[version];
        Self {
            name: config.name.clone(),
            model: config.model.clone(),
            endpoint,
            variable: config.api_key_env.clone(),
        }
    }

    /// The version's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks it whether it serves its model.
    pub async fn ask(&self, prober: &Prober) -> Finding {
        prober.ask(&self.endpoint, &self.model).await
    }

    /// `the upstream of v1 at http://…`
    fn place(&self) -> String {
        format!("the upstream of `{}` at {}", self.name, self.endpoint.base)
    }

    /// Why requests could not be served, if that is certain.
    pub fn trouble(&self, finding: &Finding) -> Option<String> {
        let place = self.place();
        Some(match finding {
            Finding::Listed | Finding::NotOffered(_) | Finding::Unclear(_) => return None,
            Finding::Missing(others) => {
                let model = &self.model;
                let others = match others.is_empty() {
                    true => "it lists no models".to_owned(),
                    false => format!("it lists {}", others.join(", ")),
                };
                format!("{place} does not serve the model `{model}`: {others}")
            }
            Finding::Refused(status) => match &self.variable {
                Some(variable) => format!("{place} refuses the key in {variable} ({status})"),
                None => format!("{place} wants an API key ({status})"),
            },
            Finding::Unreachable(why) => format!("cannot reach {place}: {why}"),
        })
    }

    /// What is to be done about it.
    pub fn hint(&self, finding: &Finding) -> String {
        match (finding, &self.variable) {
            (Finding::Refused(_), Some(variable)) => {
                format!("put a key of this provider into {variable}")
            }
            (Finding::Refused(_), None) => {
                "name the variable that holds its key in api_key_env".to_owned()
            }
            (Finding::Missing(_), _) => {
                "correct the version's model in the router file, or wait until it is deployed"
                    .to_owned()
            }
            _ => "start it first, or correct its endpoint in the router file".to_owned(),
        }
    }

    /// Tells what was found, of an upstream that is let through.
    pub fn mention(&self, finding: &Finding) {
        let (place, model) = (self.place(), &self.model);
        match finding {
            Finding::NotOffered(status) => tracing::warn!(
                "{place} does not say what it serves ({status}): whether that is `{model}` shows \
                 with the first requests"
            ),
            Finding::Unclear(why) => tracing::warn!(
                "{place} was asked whether it serves `{model}`, without a clear answer: {why}"
            ),
            _ => tracing::debug!("{place} serves `{model}`"),
        }
    }
}
