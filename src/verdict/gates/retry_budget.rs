//! Retries against the retry budget: a part of `policy`.
//!
//! A budget remembers for `memory`, which is cut into [`SLOTS`] slots of time, and allows a retry only
//! while, over the slots that are remembered,
//!
//! `retries ≤ share × first attempts + reserve`
//!
//! Here the same is counted from outside. A first attempt counts when the driver sends it; a retry (an
//! attempt at the version that was tried just before) counts in the slot in which the attempt before it was
//! over, since that is when a router decides on it. A slot with retries is judged by all that was remembered
//! at its end: first attempts that came after its last retry are taken for earlier ones, and retries that
//! were granted and never sent are not seen, so a router that keeps its budget is never red. One that does
//! not is allowed, at most, a slot's first attempts too much.
//!
//! In a live run what is seen may be off by a slot, either way: then retries are counted over two slots less,
//! and first attempts over four more.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::{IdMap, RequestKey, VersionId};
use crate::observe::event::{RunEvent, What};
use crate::time::{Timestamp, nanos};
use crate::verdict::gates::policy::Rule;
use crate::verdict::spec::PolicySpec;

/// Slots that the memory is cut into.
const SLOTS: u64 = 10;
/// Millionths of a retry, in which the sums are kept: every machine decides alike.
const RETRY: u128 = 1_000_000;

/// Counts retries and first attempts, slot by slot.
pub(super) struct BudgetWatch {
    policy: PolicySpec,
    /// What a first attempt is worth.
    earned: u128,
    /// What is there without any.
    reserve: u128,
    slot_nanos: u64,
    /// By how many slots what is seen may be off.
    slack: u64,
    slots: BTreeMap<u64, Slot>,
    /// The attempt that each request under way made last.
    last: IdMap<RequestKey, Last>,
    /// The first slot that is not judged yet.
    next: u64,
    rule: Rule,
}

/// What happened in one slot of time.
#[derive(Clone, Copy, Default)]
struct Slot {
    firsts: u64,
    retries: u64,
    /// The last request that was tried again.
    retried: Option<RequestKey>,
}

#[derive(Clone, Copy)]
struct Last {
    n: u32,
    version: VersionId,
    /// How many attempts of its request went to this version before.
    ordinal: u32,
    since: Timestamp,
    over_at: Option<Timestamp>,
}

impl BudgetWatch {
    /// A watch that has seen nothing; none where any number of retries is allowed.
    pub(super) fn new(policy: &PolicySpec) -> Option<Self> {
        let budget = policy.budget?;
        let reserve = budget.reserve_per_second * budget.memory.as_secs_f64();
        Some(Self {
            earned: millionths(budget.share),
            reserve: millionths(reserve),
            slot_nanos: (nanos(budget.memory) / SLOTS).max(1),
            slack: u64::from(policy.tolerance > Duration::ZERO),
            policy: policy.clone(),
            slots: BTreeMap::new(),
            last: IdMap::default(),
            next: 0,
            rule: Rule::default(),
        })
    }

    pub(super) fn event(&mut self, event: &RunEvent) {
        let at = event.at;
        match &event.what {
            What::Dispatched { key, n, version } => self.dispatched(at, *key, *n, *version),
            What::Cancelled { key, n } => self.over(at, *key, *n, true),
            What::Booked(booked) => self.over(at, booked.key, booked.n, false),
            What::Answered(answered) => {
                self.last.remove(answered.key);
            }
            _ => {}
        }
    }

    /// What was found out until now: of the slots that were judged, and of those that are left.
    pub(super) fn rule(&self) -> Rule {
        let mut rule = self.rule.clone();
        self.judge(self.next..u64::MAX, &mut rule);
        rule
    }

    fn dispatched(&mut self, at: Timestamp, key: RequestKey, n: u32, version: VersionId) {
        let before = self.last.get(key).copied();
        let same = before.filter(|last| last.version == version);
        match same {
            _ if n == 0 => self.slot(at).firsts += 1,
            Some(last) => {
                let slot = self.slot(last.over_at.unwrap_or(at));
                slot.retries += 1;
                slot.retried = Some(key);
            }
            None => {}
        }
        let last = Last {
            n,
            version,
            ordinal: same.map_or(0, |last| last.ordinal.saturating_add(1)),
            since: at,
            over_at: None,
        };
        self.last.insert(key, last);
        self.judge_until(at);
    }

    /// The attempt is over. One that ran into its limit was over then, however late the timer rang.
    fn over(&mut self, at: Timestamp, key: RequestKey, n: u32, is_given_up: bool) {
        let policy = &self.policy;
        if let Some(last) = self.last.get_mut(key).filter(|last| last.n == n) {
            let limit = last.since + policy.limit(last.ordinal);
            let over_at = if is_given_up { at.min(limit) } else { at };
            last.over_at.get_or_insert(over_at);
        }
    }

    /// The slot of a moment. What comes for one that was judged already counts for nothing.
    fn slot(&mut self, at: Timestamp) -> &mut Slot {
        self.slots.entry(at.0 / self.slot_nanos).or_default()
    }

    /// Judges all slots that no retry can be added to any more: it would be after its request's deadline.
    fn judge_until(&mut self, now: Timestamp) {
        let settled = now.0.saturating_sub(nanos(self.policy.request)) / self.slot_nanos;
        let end = settled.saturating_sub(2 * self.slack);
        if end <= self.next {
            return;
        }
        let mut rule = std::mem::take(&mut self.rule);
        self.judge(self.next..end, &mut rule);
        self.rule = rule;
        self.next = end;
        let oldest = end.saturating_sub(SLOTS + 2 * self.slack);
        self.slots = self.slots.split_off(&oldest);
    }

    fn judge(&self, ticks: std::ops::Range<u64>, rule: &mut Rule) {
        for (tick, slot) in self.slots.range(ticks).filter(|(_, slot)| slot.retries > 0) {
            rule.look(slot.retried, self.is_kept(*tick));
        }
    }

    fn is_kept(&self, tick: u64) -> bool {
        let slack = self.slack;
        let from = |slots: u64| (tick + 1).saturating_sub(slots);
        let retries = self.slots.range(from(SLOTS - 2 * slack)..=tick);
        let retries: u64 = retries.map(|(_, slot)| slot.retries).sum();
        let firsts = from(SLOTS + 2 * slack)..=tick + 2 * slack;
        let firsts: u64 = self.slots.range(firsts).map(|(_, s)| s.firsts).sum();
        let credit = self.earned.saturating_mul(u128::from(firsts));
        u128::from(retries) * RETRY <= credit.saturating_add(self.reserve)
    }
}

/// A float-to-integer `as` saturates and maps NaN to 0: what is no number allows nothing.
fn millionths(value: f64) -> u128 {
    (value * RETRY as f64).round() as u128
}
