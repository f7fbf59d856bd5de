//! The rate limiter: who finds no slot waits for one.

use std::collections::VecDeque;

use graygate::id::RequestId;
use graygate::router::limit::RateLimit;
use graygate::time::Timestamp;

use super::flaws::Flaw;

/// `RateLimitedGrayRouter.acquire`.
#[derive(Debug)]
pub(super) struct RateLimiter {
    limit: RateLimit,
    flaw: Option<Flaw>,
    /// When the last ones went.
    requests: VecDeque<Timestamp>,
    waiting: VecDeque<(Timestamp, RequestId)>,
}

impl RateLimiter {
    pub(super) fn new(limit: RateLimit, flaw: Option<Flaw>) -> Self {
        Self {
            limit,
            flaw,
            requests: VecDeque::new(),
            waiting: VecDeque::new(),
        }
    }

    /// When the next slot is free.
    fn free_at(&self) -> Option<Timestamp> {
        let most = self.limit.requests as usize;
        let last = self.requests.len().checked_sub(most)?;
        Some(self.requests[last] + self.limit.window + self.limit.guard)
    }

    /// Takes a slot; or says when to look again, and waits in line.
    pub(super) fn acquire(&mut self, now: Timestamp, request: RequestId) -> Result<(), Timestamp> {
        let free_at = self.free_at().unwrap_or(now);
        let has_line = !self.waiting.is_empty() && self.flaw.is_none();
        if free_at <= now && !has_line {
            self.take(now);
            return Ok(());
        }
        let at = free_at.max(now);
        self.waiting.push_back((at, request));
        Err(at)
    }

    fn take(&mut self, now: Timestamp) {
        self.requests.push_back(now);
        if self.requests.len() > self.limit.requests as usize {
            self.requests.pop_front();
        }
    }

    /// Whose wait is over. Who does not look again goes when the time is up that was worked out on coming.
    pub(super) fn release(&mut self, now: Timestamp) -> Option<RequestId> {
        let (at, request) = self.waiting.front().copied()?;
        let may_go = match self.flaw {
            Some(Flaw::LimiterDoesNotLookAgain) => at <= now,
            _ => self.free_at().is_none_or(|free| free <= now),
        };
        if !may_go {
            return None;
        }
        self.waiting.pop_front();
        self.take(now);
        Some(request)
    }

    /// When to look again.
    pub(super) fn next(&self) -> Option<Timestamp> {
        let (at, _) = self.waiting.front()?;
        Some(match self.flaw {
            Some(Flaw::LimiterDoesNotLookAgain) => *at,
            _ => self.free_at().unwrap_or(*at),
        })
    }

    /// Leaves the line.
    pub(super) fn leave(&mut self, request: RequestId) {
        self.waiting.retain(|(_, waiting)| *waiting != request);
    }

    pub(super) fn is_limited_by(&self, request: RequestId) -> bool {
        self.waiting.iter().any(|(_, waiting)| *waiting == request)
    }

    pub(super) fn max_wait(&self) -> std::time::Duration {
        self.limit.max_wait
    }
}
