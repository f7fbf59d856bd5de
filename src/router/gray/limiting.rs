//! The rate limiters: who must wait before an attempt, and who goes next.

use std::time::Duration;

use crate::id::{RequestId, VersionId};
use crate::protocol::outcome::Outcome;
use crate::router::config::RouterConfig;
use crate::router::gray::GrayRouter;
use crate::router::limit::{Limiter, RateLimit};
use crate::router::request::{RequestMachine, Stage};
use crate::time::Timestamp;

impl GrayRouter {
    /// Sends the next attempt of a request to the machine's version, once the version's limit lets it.
    pub(super) fn send(&mut self, now: Timestamp, request: RequestId, mut machine: RequestMachine) {
        if let Some(limiter) = &mut self.limits[machine.version]
            && !limiter.try_take(now)
        {
            let until = limiter.enqueue(now, request);
            machine.stage = Stage::Queued { until };
            self.keep(request, machine);
        } else {
            self.dispatch(now, request, machine);
        }
    }

    /// Lets through whoever's turn it is.
    pub(super) fn let_through(&mut self, now: Timestamp) {
        for version in self.versions() {
            while let Some(request) = self.next_through(now, version) {
                if let Some(machine) = self.requests.remove(request) {
                    self.turn_has_come(now, request, machine);
                }
            }
        }
    }

    fn versions(&self) -> Vec<VersionId> {
        self.limits.iter().map(|(version, _)| version).collect()
    }

    fn next_through(&mut self, now: Timestamp, version: VersionId) -> Option<RequestId> {
        self.limits[version].as_mut()?.pop_ready(now)
    }

    /// The canary may have been closed meanwhile.
    fn turn_has_come(&mut self, now: Timestamp, request: RequestId, mut machine: RequestMachine) {
        if !machine.is_at_canary() || self.door.admits(machine.release) {
            self.dispatch(now, request, machine);
        } else {
            machine.fall_back();
            self.send(now, request, machine);
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

    /// A request has waited as long as it may.
    pub(super) fn is_limited(
        &mut self,
        now: Timestamp,
        request: RequestId,
        mut machine: RequestMachine,
    ) {
        self.leave_queue(request, &machine);
        let free = self.limits[machine.version]
            .as_ref()
            .and_then(Limiter::next);
        machine.retry_after = free.map(|free| free.since(now));
        self.fail(now, request, &machine, Outcome::Limited, false);
    }

    /// Takes over the limits of another configuration. What was let through still counts.
    pub(super) fn take_limits_over(&mut self, config: &RouterConfig) {
        for (version, limiter) in self.limits.iter_mut() {
            let wanted = config.versions[version].rate_limit.clone();
            match (limiter.as_mut(), wanted) {
                (Some(limiter), wanted) => limiter.reconfigure(wanted.unwrap_or(UNLIMITED)),
                (None, wanted) => *limiter = wanted.map(Limiter::new),
            }
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
