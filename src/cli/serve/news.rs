//! What the log tells people of the canary.

use std::sync::Arc;

use crate::live::gateway::driver::Driver;
use crate::observe::event::{Finding, Missing, RunEvent, Sink, StandingFacts, What};
use crate::router::config::RouterConfig;

/// Tells the log what happens to the canary.
pub(super) struct News {
    /// The configuration in force, for the versions' names.
    pub(super) router: Arc<RouterConfig>,
    /// It knows when that is another one.
    pub(super) driver: Arc<Driver>,
    /// What the step lacked when that was told last, by code: figures change at every look.
    pub(super) lacked: Vec<&'static str>,
}

impl News {
    /// What it tells of: the few events that are not about a single request.
    pub(super) fn hears(what: &What) -> bool {
        let of_release = matches!(what, What::RolledBack(_) | What::Standing(_));
        of_release || matches!(what, What::Judged(_) | What::Held(_) | What::NotPromoted(_))
    }

    fn not_promoted(&mut self, missing: &[Missing]) {
        let codes: Vec<&str> = missing.iter().map(|one| one.code).collect();
        if codes != self.lacked {
            let words = Missing::in_words(missing);
            tracing::info!("the next step waits: {words}");
            self.lacked = codes;
        }
    }

    fn stands(&mut self, standing: &StandingFacts) {
        self.lacked.clear();
        self.router = self.driver.adopted().config;
        tracing::info!(
            revision = standing.revision,
            share = standing.share,
            step = standing.step,
            "the release is {} ({})",
            standing.phase,
            standing.cause
        );
        if (standing.phase, standing.cause) == ("paused", "weights") {
            tracing::warn!(
                "the ramp is paused, because weights were set by hand: `resume` goes back to the \
                 step's own"
            );
        }
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
            What::Standing(standing) => self.stands(standing),
            What::NotPromoted(missing) => self.not_promoted(missing),
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
            | What::Gaps(_)
            | What::Told(_)
            | What::HeldBack { .. }
            | What::Purse(_)
            | What::Ordered(_)
            | What::OrderEnded(_)
            | What::OutOfFiles
            | What::ClockJumped(_)
            | What::Machine(_)
            | What::Keys(_)
            | What::Memory { .. } => {}
        }
    }
}
