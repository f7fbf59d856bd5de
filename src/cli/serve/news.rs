//! What the log tells people of the canary.

use std::sync::Arc;

use crate::live::gateway::driver::Driver;
use crate::observe::event::{Finding, RunEvent, Sink, What};
use crate::router::config::RouterConfig;

/// Tells the log what happens to the canary.
pub(super) struct News {
    /// The configuration in force, for the versions' names.
    pub(super) router: Arc<RouterConfig>,
    /// It knows when that is another one.
    pub(super) driver: Arc<Driver>,
}

impl News {
    /// What it tells of: the few events that are not about a single request.
    pub(super) fn hears(what: &What) -> bool {
        let of_release = matches!(what, What::RolledBack(_) | What::Standing(_));
        of_release || matches!(what, What::Judged(_) | What::Held(_))
    }

    fn finding(&self, finding: &Finding) -> String {
        format!(
            "{}: {}",
            self.router.name(finding.version),
            finding.in_words()
        )
    }
}

impl Sink for News {
    fn event(&mut self, event: &RunEvent) {
        if matches!(event.what, What::Standing(_)) {
            self.router = self.driver.adopted().config;
        }
        match &event.what {
            What::RolledBack(record) => tracing::error!(
                id = record.id,
                affected_requests = record.affected_requests,
                "rolled back from {} to {}: {}",
                self.router.name(record.from),
                self.router.name(record.to),
                record.because()
            ),
            What::Held(Some(reason)) => tracing::warn!(reason, "the judge holds"),
            What::Held(None) => tracing::info!("the judge no longer holds"),
            What::Standing(standing) => tracing::info!(
                revision = standing.revision,
                share = standing.share,
                step = standing.step,
                "the release is {} ({})",
                standing.phase,
                standing.cause
            ),
            What::Judged(finding) => {
                if finding.violated {
                    tracing::warn!(action = finding.action, "{}", self.finding(finding));
                }
            }
            What::Sent(_)
            | What::Assigned { .. }
            | What::Dispatched { .. }
            | What::Cancelled { .. }
            | What::Accepted(_)
            | What::UpstreamEnded(_)
            | What::Booked(_)
            | What::Settled(_)
            | What::Answered(_)
            | What::Fault { .. }
            | What::Memory { .. } => {}
        }
    }
}
