//! A judge that panics is never asked again: it neither promotes nor rolls back, and that is told.
//!
//! The router must go on serving when its judge breaks down, and whatever a broken judge would say is
//! worth nothing. So every question to it is asked here, where a panic ends in "hold": no look, no
//! promotion, and [`GuardedJudge::failure_to_tell`] once. What it was doing when it panicked may be half done,
//! which harms nobody, since nobody looks at it any more; another release gets another judge.
//! (A program built with `panic = "abort"` ends instead; this crate is not.)

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::id::{RequestId, VersionId};
use crate::protocol::outcome::Outcome;
use crate::router::config::RouterConfig;
use crate::router::health::HealthWindow;
use crate::router::io::Evidence;
use crate::router::judge::lack::Lack;
use crate::router::judge::sequential::Step;
use crate::router::judge::{Found, Judge, Occasion, Promotion};
use crate::time::Timestamp;

/// A judge whose panics end here.
#[derive(Debug)]
pub struct GuardedJudge {
    judge: Judge,
    has_failed: Cell<bool>,
    is_told: bool,
    /// Questions until the next one panics; none in service.
    #[cfg(test)]
    pub(crate) fuse: Cell<Option<u32>>,
}

impl GuardedJudge {
    /// See [`Judge::new`].
    pub fn new(config: &RouterConfig, now: Timestamp) -> Self {
        let judge = catch_unwind(AssertUnwindSafe(|| Judge::new(config, now)));
        Self {
            has_failed: Cell::new(judge.is_err()),
            judge: judge.unwrap_or(Judge::Off),
            is_told: false,
            #[cfg(test)]
            fuse: Cell::new(None),
        }
    }

    /// Has it panicked since nobody was told? True once.
    pub fn failure_to_tell(&mut self) -> bool {
        let is_news = self.has_failed.get() && !self.is_told;
        self.is_told |= is_news;
        is_news
    }

    /// Tells the judge something, or asks what changes it.
    fn tell<T>(&mut self, silence: T, tell: impl FnOnce(&mut Judge) -> T) -> T {
        let judge = &mut self.judge;
        guard(&self.has_failed, silence, || {
            #[cfg(test)]
            burn(&self.fuse);
            tell(judge)
        })
    }

    /// Asks the judge something.
    fn ask<T>(&self, silence: T, ask: impl FnOnce(&Judge) -> T) -> T {
        guard(&self.has_failed, silence, || {
            #[cfg(test)]
            burn(&self.fuse);
            ask(&self.judge)
        })
    }

    /// See [`Judge::begin_step`].
    pub fn begin_step(&mut self, now: Timestamp, step: Step) {
        self.tell((), |judge| judge.begin_step(now, step));
    }

    /// See [`Judge::assigned`].
    pub fn assigned(
        &mut self,
        now: Timestamp,
        request: RequestId,
        caller: Option<u64>,
        version: VersionId,
    ) {
        self.tell((), |judge| judge.assigned(now, request, caller, version));
    }

    /// See [`Judge::queued`].
    pub fn queued(&mut self, now: Timestamp, request: RequestId) {
        self.tell((), |judge| judge.queued(now, request));
    }

    /// See [`Judge::sent`].
    pub fn sent(&mut self, now: Timestamp, request: RequestId) {
        self.tell((), |judge| judge.sent(now, request));
    }

    /// See [`Judge::ended`].
    pub fn ended(
        &mut self,
        now: Timestamp,
        request: RequestId,
        outcome: Outcome,
        missing_usage: bool,
    ) {
        self.tell((), |judge| {
            judge.ended(now, request, outcome, missing_usage);
        });
    }

    /// See [`Judge::wants_look`].
    pub fn wants_look(
        &self,
        now: Timestamp,
        outcome: Outcome,
        is_canary: bool,
    ) -> Option<Occasion> {
        self.ask(None, |judge| judge.wants_look(now, outcome, is_canary))
    }

    /// See [`Judge::notice`].
    pub fn notice(&mut self, now: Timestamp) {
        self.tell((), |judge| judge.notice(now));
    }

    /// See [`Judge::next_timeout`].
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.ask(None, Judge::next_timeout)
    }

    /// See [`Judge::handle_timeout`].
    pub fn handle_timeout(&mut self, now: Timestamp) -> Option<Occasion> {
        self.tell(None, |judge| judge.handle_timeout(now))
    }

    /// See [`Judge::every`].
    pub fn every(&self) -> Option<Duration> {
        self.ask(None, Judge::every)
    }

    /// See [`Judge::look`].
    pub fn look(
        &mut self,
        now: Timestamp,
        occasion: Occasion,
        window: Option<&HealthWindow>,
        report: impl FnMut(Found),
    ) -> Option<Evidence> {
        self.tell(None, |judge| judge.look(now, occasion, window, report))
    }

    /// See [`Judge::promotion`].
    pub fn promotion(&self, now: Timestamp, window: Option<&HealthWindow>) -> Promotion {
        let silence = Promotion::No(vec![Lack::JudgeFailed]);
        self.ask(silence, |judge| judge.promotion(now, window))
    }

    /// See [`Judge::bytes`].
    pub fn bytes(&self) -> usize {
        self.ask(0, Judge::bytes)
    }
}

fn guard<T>(has_failed: &Cell<bool>, silence: T, question: impl FnOnce() -> T) -> T {
    if has_failed.get() {
        return silence;
    }
    catch_unwind(AssertUnwindSafe(question)).unwrap_or_else(|_| {
        has_failed.set(true);
        silence
    })
}

#[cfg(test)]
fn burn(fuse: &Cell<Option<u32>>) {
    match fuse.get() {
        Some(0) => panic!("a judge that panics, for a test"),
        left => fuse.set(left.map(|n| n - 1)),
    }
}
