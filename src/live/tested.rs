//! What is tested: the built-in gateway, or another one.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::net::TcpListener;

use crate::experiment::Experiment;
use crate::live::clock::Clock;
use crate::live::gateway::driver::Driver;
use crate::live::load::client::Asked;
use crate::live::mock::keys::KeyCounts;
use crate::live::outbox::Outbox;
use crate::live::target::desk::Giving;
use crate::live::target::reception::Reception;
use crate::live::target::{self, Target};
use crate::live::upstreams::Servers;
use crate::live::{StartError, Subject, base_url, bind};
use crate::protocol::chat::Forward;
use crate::router::core::Core;

/// What is tested, with its port open.
pub(super) enum Opened {
    BuiltIn(Box<dyn Core>, Forward, TcpListener),
    External(Box<Target>),
}

impl Opened {
    /// Opens the gateway's port, or starts the gateway, or finds it.
    ///
    /// # Errors
    /// When there is no port, or the other gateway does not become ready.
    pub(super) async fn new(
        experiment: &Experiment,
        subject: Subject,
        servers: &Servers,
        cancel: &Arc<AtomicBool>,
    ) -> Result<Self, StartError> {
        let (log, external) = match (subject, &experiment.gateway) {
            (Subject::BuiltIn(core, forward), _) => {
                return Ok(Self::BuiltIn(core, forward, bind("127.0.0.1:0").await?));
            }
            (Subject::External { log }, Some(external)) => (log, external),
            (Subject::External { .. }, None) => {
                let error = io::Error::other("the experiment speaks of no other gateway");
                return Err(StartError::Runtime(error));
            }
        };
        let router = &experiment.router;
        let setting = target::Setting {
            names: router.versions.values().map(|v| v.name.as_str()).collect(),
            upstreams: servers.bases(),
            log,
        };
        let reception = Reception::open(experiment, servers.listeners(experiment));
        let target = Target::start(external, &setting, cancel).await;
        reception.close().await;
        Ok(Self::External(Box::new(target?)))
    }

    /// How requests come to it.
    pub(super) fn asked(&self) -> Result<Asked, StartError> {
        Ok(match self {
            Self::BuiltIn(_, _, listener) => Asked {
                uri: chat_uri(listener)?,
                key: None,
                is_external: false,
            },
            Self::External(target) => Asked {
                uri: target.uri.clone(),
                key: target.key.clone(),
                is_external: true,
            },
        })
    }
}

/// What is tested, at work.
pub(super) enum Tested {
    BuiltIn(Arc<Driver>),
    External {
        target: Box<Target>,
        /// Which keys of requests it lets through.
        keys: KeyCounts,
    },
}

impl Tested {
    /// From now on another gateway is given its orders. Dropped, nobody gives any, or waits for an answer.
    pub(super) fn give_orders(
        &self,
        experiment: &Experiment,
        way: (Clock, &Outbox),
    ) -> Option<Giving> {
        let Self::External { target, .. } = self else {
            return None;
        };
        let desk = target.desk.as_ref()?;
        let orders = &experiment.gateway.as_ref()?.orders;
        Some(Giving::begin(desk, orders, &experiment.router, way))
    }
}

fn chat_uri(listener: &TcpListener) -> Result<hyper::Uri, StartError> {
    let text = format!("{}/chat/completions", base_url(listener)?);
    text.parse()
        .map_err(|e| StartError::Runtime(io::Error::other(e)))
}
