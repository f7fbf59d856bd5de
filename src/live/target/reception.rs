//! Healthy mocks that answer a gateway while it starts, on the ports of the run's upstreams. The clock of a run begins when
//! everything is ready, and some gateways are ready only once they have met their upstreams. What they ask is in no ledger.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::experiment::Experiment;
use crate::fault::inject::Upstreams;
use crate::id::VersionId;
use crate::live::clock::Clock;
use crate::live::http::drain::Drain;
use crate::live::mock::ledger::{Ledger, Underway};
use crate::live::mock::{MockUpstream, native};
use crate::live::outbox::outbox;

/// Those who answer until the run begins.
pub(in crate::live) struct Reception {
    drain: Arc<Drain>,
    serving: Vec<JoinHandle<()>>,
}

impl Reception {
    /// Answers on these listeners from now on.
    pub(in crate::live) fn open(
        experiment: &Experiment,
        listeners: Vec<(VersionId, TcpListener)>,
    ) -> Self {
        let upstreams = Arc::new(Upstreams {
            faults: Vec::new(),
            ..experiment.upstreams.clone()
        });
        let clock = Clock::starting_now();
        let drain = Arc::new(Drain::abrupt());
        let serve = |(version, listener): (VersionId, TcpListener)| {
            let model = experiment.router.versions[version].model.clone();
            // Nobody reads what the ledger says.
            let (nowhere, _) = outbox();
            let ledger = Ledger::new(version, clock, nowhere, Underway::default());
            let mock = MockUpstream::new(version, model, upstreams.clone(), clock, ledger);
            tokio::spawn(native::serve(listener, Arc::new(mock), drain.clone()))
        };
        Self {
            serving: listeners.into_iter().map(serve).collect(),
            drain,
        }
    }

    /// Hands over to the upstreams of the run: whoever has a connection loses it, and finds them by the next.
    pub(in crate::live) async fn close(self) {
        for serving in self.serving {
            // The listener is closed before anybody is told.
            serving.abort();
            let _ = serving.await;
        }
        self.drain.begin();
    }
}
