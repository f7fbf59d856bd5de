//! The rate limiters: who must wait before an attempt, and who goes next.

use std::time::Duration;

use crate::id::{RequestId, VersionId};
use crate::protocol::outcome::Outcome;
use crate::router::config::RouterConfig;
use crate::router::gray::{GrayRouter, budget};
use crate::router::limit::{Limiter, RateLimit};
use crate::router::request::{RequestMachine, Stage};
use crate::time::Timestamp;

impl GrayRouter {
    /// Sends the next attempt of a request to the machine's version, once the version's limit lets it.
    /// Whoever would wait in vain is told at once: as the limits stand, it would be told so later.
    pub(super) fn send(&mut self, now: Timestamp, request: RequestId, mut machine: RequestMachine) {
        if let Some(limiter) = &mut self.limits[machine.version] {
            if !limiter.try_take(now) {
                if limiter.is_hopeless(now, machine.expires) {
                    self.judge.queued(now, request);
                    return self.is_limited(now, request, machine);
                }
                let until = limiter.enqueue(now, request);
                machine.stage = Stage::Queued { until };
                self.judge.queued(now, request);
                return self.keep(request, machine);
            }
            limiter.sent_at(self.clock);
        }
        self.dispatch(now, request, machine);
    }

    /// Lets through whoever's turn it is.
    pub(super) fn let_through(&mut self, now: Timestamp) {
        for version in self.versions() {
            while let Some(request) = self.next_through(now, version) {
                if let Some(machine) = self.requests.remove(request) {
                    self.dispatch(now, request, machine);
                }
            }
        }
    }

    fn versions(&self) -> Vec<VersionId> {
        self.limits.iter().map(|(version, _)| version).collect()
    }

    fn next_through(&mut self, now: Timestamp, version: VersionId) -> Option<RequestId> {
        let limiter = self.limits[version].as_mut()?;
        let request = limiter.pop_ready(now)?;
        limiter.sent_at(self.clock);
        Some(request)
    }

    /// Nobody waits at a door that has been closed.
    pub(super) fn clear_queue(&mut self, now: Timestamp) {
        let is_queued = |m: &RequestMachine| matches!(m.stage, Stage::Queued { .. });
        for request in self.requests.sorted_keys() {
            let machine = self.requests.get(request);
            if machine.is_some_and(|m| is_queued(m) && self.is_shut_out(m))
                && let Some(machine) = self.requests.remove(request)
            {
                self.leave_queue(request, &machine);
                self.turn_away(now, request, machine);
            }
        }
    }

    /// Takes a request out of the queue it waits in, if it does.
    pub(super) fn leave_queue(&mut self, request: RequestId, machine: &RequestMachine) {
        if let (Stage::Queued { .. }, Some(limiter)) =
            (machine.stage, &mut self.limits[machine.version])
        {
            limiter.remove(request);
        }
    }

    /// A request has waited as long as it may, or would in vain.
    pub(super) fn is_limited(
        &mut self,
        now: Timestamp,
        request: RequestId,
        mut machine: RequestMachine,
    ) {
        self.leave_queue(request, &machine);
        let free = self.limits[machine.version]
            .as_ref()
            .and_then(Limiter::free_at);
        machine.retry_after = free.map(|free| free.since(now));
        self.fail(now, request, &machine, Outcome::Limited, false);
    }

    /// Takes over what another configuration allows: its retry budget and its limits.
    /// An account goes on that has the same terms as `before`.
    pub(super) fn take_means_over(&mut self, now: Timestamp, before: &RouterConfig) {
        let config = self.config().clone();
        if config.retry.budget != before.retry.budget {
            self.budget = budget(&config);
        }
        self.take_limits_over(now, &config);
    }

    /// Takes over the limits of another configuration. What was let through still counts.
    /// Who waits under a limit that is gone, or higher now, waits no longer.
    fn take_limits_over(&mut self, now: Timestamp, config: &RouterConfig) {
        for (version, limiter) in self.limits.iter_mut() {
            let wanted = config.versions[version].rate_limit.clone();
            match (limiter.as_mut(), wanted) {
                (Some(limiter), wanted) => limiter.reconfigure(wanted.unwrap_or(UNLIMITED)),
                (None, wanted) => *limiter = wanted.map(Limiter::new),
            }
        }
        self.let_through(now);
        for (version, limiter) in self.limits.iter_mut() {
            limiter.take_if(|_| config.versions[version].rate_limit.is_none());
        }
    }
}

/// Lets everybody through who still waits under a limit that is gone.
const UNLIMITED: RateLimit = RateLimit {
    requests: u32::MAX,
    window: Duration::ZERO,
    max_wait: Duration::ZERO,
    guard: Duration::ZERO,
};
