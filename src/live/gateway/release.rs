//! The configuration that requests belong to, with the upstreams it leads to. Another one comes with
//! the core's word; requests under way keep theirs.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::header::HeaderValue;

use crate::id::PerVersion;
use crate::live::gateway::driver::Adopted;
use crate::live::gateway::upstream::UpstreamClient;
use crate::live::gateway::{Choosers, Endpoint, GatewayConfig};
use crate::router::config::{RouterConfig, VersionConfig};

/// Finds the addresses and keys of a configuration's versions.
#[derive(Clone)]
pub struct FindEndpoints(Arc<Find>);

type Find = dyn Fn(&RouterConfig) -> PerVersion<Endpoint> + Send + Sync;

impl FindEndpoints {
    /// By this function.
    pub fn by(
        find: impl Fn(&RouterConfig) -> PerVersion<Endpoint> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(find))
    }

    /// These, whatever the configuration.
    pub fn fixed(endpoints: PerVersion<Endpoint>) -> Self {
        Self::by(move |_| endpoints.clone())
    }

    fn find(&self, config: &RouterConfig) -> PerVersion<Endpoint> {
        (self.0)(config)
    }
}

impl fmt::Debug for FindEndpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FindEndpoints")
    }
}

/// What a request belongs to.
#[derive(Debug)]
pub(super) struct Release {
    /// The revision it came with.
    pub(super) revision: u64,
    /// The configuration.
    pub(super) router: Arc<RouterConfig>,
    /// Its upstreams.
    pub(super) upstream: Arc<UpstreamClient>,
    /// The versions' names, as they stand in answers.
    pub(super) names: PerVersion<Option<HeaderValue>>,
    /// Who may choose a version by a key.
    pub(super) choosers: Choosers,
}

impl Release {
    fn first(config: &GatewayConfig) -> Self {
        let upstream = upstream(config, &config.router);
        let choosers = config.choosers.find(&config.router);
        Self::new(0, config.router.clone(), upstream, choosers)
    }

    fn new(
        revision: u64,
        router: Arc<RouterConfig>,
        upstream: Arc<UpstreamClient>,
        choosers: Choosers,
    ) -> Self {
        let names = router.versions.values();
        let names = names.map(|v| HeaderValue::from_str(&v.name).ok()).collect();
        Self {
            revision,
            router,
            upstream,
            names,
            choosers,
        }
    }

    /// The release after another configuration was adopted. Connections are kept where they lead to
    /// the same places.
    fn next(&self, adopted: &Adopted, config: &GatewayConfig) -> Self {
        let router = adopted.config.clone();
        let upstream = match same_places(&self.router, &router) {
            true => self.upstream.clone(),
            false => upstream(config, &router),
        };
        let choosers = match same_keys(&self.router, &router) {
            true => self.choosers.clone(),
            false => config.choosers.find(&router),
        };
        Self::new(adopted.revision, router, upstream, choosers)
    }
}

fn upstream(config: &GatewayConfig, router: &RouterConfig) -> Arc<UpstreamClient> {
    let endpoints = config.endpoints.find(router);
    Arc::new(UpstreamClient::new(router, &endpoints, &config.trust))
}

fn same_places(one: &RouterConfig, other: &RouterConfig) -> bool {
    let place = |v: &VersionConfig| (v.name.clone(), v.endpoint.clone(), v.api_key_env.clone());
    let places = |config: &RouterConfig| config.versions.values().map(place).collect::<Vec<_>>();
    places(one) == places(other) && one.timeouts.connect == other.timeouts.connect
}

fn same_keys(one: &RouterConfig, other: &RouterConfig) -> bool {
    let keys = |config: &RouterConfig| config.overrides.clone().map(|policy| policy.key_envs);
    keys(one) == keys(other)
}

/// The release that new requests belong to.
#[derive(Debug)]
pub(super) struct Current(Mutex<Arc<Release>>);

impl Current {
    pub(super) fn new(config: &GatewayConfig) -> Self {
        Self(Mutex::new(Arc::new(Release::first(config))))
    }

    /// The release there is.
    pub(super) fn get(&self) -> Arc<Release> {
        let current = self.0.lock();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The release of what was adopted, which is the present one from now on unless a newer one is.
    pub(super) fn adopt(&self, adopted: &Adopted, config: &GatewayConfig) -> Arc<Release> {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if current.revision == adopted.revision {
            return current.clone();
        }
        let next = Arc::new(current.next(adopted, config));
        if next.revision > current.revision {
            *current = next.clone();
        }
        next
    }
}
