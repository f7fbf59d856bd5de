//! What the router knows of a request.

use serde::{Deserialize, Serialize};

use crate::id::VersionId;
use crate::protocol::headers;
use crate::router::config::{Features, RouterConfig};

/// What the router knows of a request: everything that routing may depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestFacts {
    /// The caller's tier.
    pub tier: Option<String>,
    /// The caller's tenant.
    pub tenant: Option<String>,
    /// Who is calling.
    pub user: Option<String>,
    /// The model that was asked for.
    pub model: String,
    /// The headers that routing looks at: names in lower case.
    pub headers: Vec<(String, String)>,
    /// The version that the gateway's own embedder forces; callers cannot.
    pub forced: Option<VersionId>,
    /// The version that a caller who may choose one asks for.
    pub chosen: Option<Chosen>,
    /// What a version must be able to do to answer it.
    pub needs: Features,
}

/// The version that a caller with the right to choose asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Chosen {
    /// This one.
    Version(VersionId),
    /// One that does not exist.
    Unknown,
}

impl RequestFacts {
    /// Collects what routing may depend on. `header` looks a header up by its lower-case name;
    /// `body_user` is the body's `user`, which counts when no header names the caller.
    pub fn collect<'h>(
        config: &RouterConfig,
        model: &str,
        body_user: Option<&str>,
        header: impl Fn(&str) -> Option<&'h str>,
    ) -> Self {
        let looked_at = config.headers_looked_at();
        let user = header(headers::USER_ID).or(body_user);
        Self {
            tier: header(headers::USER_TIER).map(str::to_owned),
            tenant: header(headers::TENANT).map(str::to_owned),
            user: user.map(str::to_owned),
            model: model.to_owned(),
            headers: looked_at
                .filter_map(|name| Some((name.to_owned(), header(name)?.to_owned())))
                .collect(),
            ..Self::default()
        }
    }

    /// Forces the request to the version of this name, before anything else is asked: override, rules, sticky
    /// place, chance. None when there is no such version, so that a slip of the pen is not served by
    /// whatever comes next.
    ///
    /// This is for the gateway's embedder alone: nothing that a caller sends leads here. What is forced to a
    /// canary that is closed, or that cannot do what the request needs, is served by stable. Chance
    /// has no part in it, so it is no evidence for the sequential judge; the literal judge looks at all of the
    /// canary's attempts, and at these, too.
    #[must_use]
    pub fn forced_to(self, config: &RouterConfig, version: &str) -> Option<Self> {
        let forced = Some(config.version_named(version)?);
        Some(Self { forced, ..self })
    }

    /// Notes the caller's choice of a version, if it makes one and may. `has_key` says whether it
    /// showed one of the keys that may choose. What others ask for is not even looked at, so that it
    /// changes nothing.
    #[must_use]
    pub fn with_choice(
        mut self,
        config: &RouterConfig,
        wanted: Option<&str>,
        has_key: bool,
    ) -> Self {
        let Some((policy, wanted)) = config.overrides.as_ref().zip(wanted) else {
            return self;
        };
        let tier = self.tier.as_ref();
        if has_key || tier.is_some_and(|tier| policy.tiers.contains(tier)) {
            let version = config.version_named(wanted);
            self.chosen = Some(version.map_or(Chosen::Unknown, Chosen::Version));
        }
        self
    }

    /// The value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }
}
