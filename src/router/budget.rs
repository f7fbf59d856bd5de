//! The retry budget: retries are a share of the first attempts, so that an outage does not become a
//! storm.
//!
//! When an upstream fails, every request wants its retries at once, and multiplies the load on what
//! is down already. A limit per request does not help: three retries each are four times the load.
//! A budget over all requests does. This one is Finagle's `RetryBudget`
//! (`finagle-core/.../service/RetryBudget.scala`; its defaults are these: a memory of 10 s, 20 % of
//! the requests, and 10 retries a second that need no requests): a first attempt deposits, a retry
//! withdraws, and both are forgotten together after the same time. At any moment
//!
//! `retries ≤ share × first attempts + reserve_per_second × memory`
//!
//! holds over the memory, which is cut into [`SLOTS`] slots (Finagle: 10): what is counted is between
//! 9/10 of it and all of it old. Recording and asking are O(1), the memory is constant.
//!
//! The sums are integers, in millionths of a retry, so every machine decides alike.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::{Timestamp, nanos};

/// Slots the memory is cut into.
pub const SLOTS: u64 = 10;

/// How many retries may be made, over all requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetryBudget {
    /// Retries for each first attempt, 0 or more: 0.2 is one for five. Taken to six decimals.
    pub share: f64,
    /// Retries a second that need no first attempts, so that little traffic may retry at all. A
    /// memory's worth of them can be spent at once.
    pub reserve_per_second: f64,
    /// How long attempts and retries are remembered.
    pub memory: Duration,
}

impl Default for RetryBudget {
    /// Finagle's.
    fn default() -> Self {
        Self {
            share: 0.2,
            reserve_per_second: 10.0,
            memory: Duration::from_secs(10),
        }
    }
}

/// Millionths of a retry, in which the sums are kept.
const RETRY: u128 = 1_000_000;

/// First attempts and retries of one slot of time.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    tick: u64,
    deposits: u64,
    withdrawals: u64,
}

/// The account of one version, or of all.
#[derive(Clone, Debug)]
pub struct BudgetAccount {
    slot_nanos: u64,
    /// What a first attempt is worth.
    deposit: u128,
    /// What is there without any.
    reserve: u128,
    slots: VecDeque<Slot>,
    deposits: u64,
    withdrawals: u64,
}

impl BudgetAccount {
    /// An account with nothing in it but its reserve. Negative shares and reserves, and what is no
    /// number, count as 0.
    pub fn new(config: &RetryBudget) -> Self {
        let reserve = config.reserve_per_second * config.memory.as_secs_f64();
        Self {
            slot_nanos: (nanos(config.memory) / SLOTS).max(1),
            deposit: millionths(config.share),
            reserve: millionths(reserve),
            slots: VecDeque::new(),
            deposits: 0,
            withdrawals: 0,
        }
    }

    /// Books a first attempt.
    pub fn deposit(&mut self, now: Timestamp) {
        self.advance(now);
        self.slot(now).deposits += 1;
        self.deposits += 1;
    }

    /// Books a retry, if there is budget for it; books nothing otherwise.
    pub fn try_withdraw(&mut self, now: Timestamp) -> bool {
        self.advance(now);
        let may = self.balance() > 0;
        if may {
            self.slot(now).withdrawals += 1;
            self.withdrawals += 1;
        }
        may
    }

    /// How many retries could be made right now, as of the last booking or question.
    pub fn balance(&self) -> u64 {
        let credit = self.deposit.saturating_mul(u128::from(self.deposits));
        let allowed = credit.saturating_add(self.reserve) / RETRY;
        let left = allowed.saturating_sub(u128::from(self.withdrawals));
        u64::try_from(left).unwrap_or(u64::MAX)
    }

    /// Bytes kept on the heap.
    pub fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }

    /// Lets go of what is too old.
    fn advance(&mut self, now: Timestamp) {
        let oldest_kept = (now.0 / self.slot_nanos).saturating_sub(SLOTS - 1);
        while let Some(old) = self.slots.pop_front_if(|slot| slot.tick < oldest_kept) {
            self.deposits -= old.deposits;
            self.withdrawals -= old.withdrawals;
        }
    }

    /// The slot of this moment. Should a clock go back, the newest one.
    fn slot(&mut self, now: Timestamp) -> &mut Slot {
        let tick = now.0 / self.slot_nanos;
        let is_open = self.slots.back().is_some_and(|slot| slot.tick >= tick);
        if !is_open {
            let slot = Slot {
                tick,
                ..Slot::default()
            };
            self.slots.push_back(slot);
        }
        let newest = self.slots.len() - 1;
        &mut self.slots[newest]
    }
}

/// A float-to-integer `as` saturates and maps NaN to 0: as documented.
fn millionths(value: f64) -> u128 {
    (value * RETRY as f64).round() as u128
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: u64 = 1_000_000_000;

    fn account(share: f64, reserve_per_second: f64) -> BudgetAccount {
        BudgetAccount::new(&RetryBudget {
            share,
            reserve_per_second,
            memory: Duration::from_secs(10),
        })
    }

    fn withdraw_all(account: &mut BudgetAccount, at: u64) -> u64 {
        (0..10_000)
            .take_while(|_| account.try_withdraw(Timestamp(at)))
            .count() as u64
    }

    #[test]
    fn a_fifth_of_the_requests_may_be_retried() {
        let mut account = account(0.2, 0.0);
        for _ in 0..100 {
            account.deposit(Timestamp(0));
        }
        assert_eq!(account.balance(), 20);
        assert_eq!(withdraw_all(&mut account, S), 20);
        (0..4).for_each(|_| account.deposit(Timestamp(S)));
        assert!(!account.try_withdraw(Timestamp(S)), "four fifths of one");
        account.deposit(Timestamp(S));
        assert!(account.try_withdraw(Timestamp(S)));
    }

    #[test]
    fn decimals_are_taken_at_their_word() {
        // 0.29 × 100 is 28.999999999999996 in floating point.
        let mut account = account(0.29, 0.0);
        (0..100).for_each(|_| account.deposit(Timestamp(0)));
        assert_eq!(withdraw_all(&mut account, 0), 29);
    }

    #[test]
    fn the_reserve_needs_no_requests_and_comes_back() {
        let mut account = BudgetAccount::new(&RetryBudget::default());
        assert_eq!(withdraw_all(&mut account, 0), 100, "10 a second for 10 s");
        assert_eq!(withdraw_all(&mut account, 10 * S - 1), 0);
        assert_eq!(withdraw_all(&mut account, 10 * S), 100);
    }

    #[test]
    fn old_requests_earn_nothing() {
        let mut account = account(1.0, 0.0);
        account.deposit(Timestamp(0));
        assert!(!account.try_withdraw(Timestamp(10 * S)));
    }

    #[test]
    fn a_storm_stays_a_share_of_the_traffic() {
        let mut account = account(0.2, 0.0);
        let mut retries = 0;
        // A minute at 50 a second, each of which would like three retries.
        for i in 0..3_000 {
            let now = Timestamp(i * S / 50);
            account.deposit(now);
            retries += (0..3).filter(|_| account.try_withdraw(now)).count();
        }
        assert_eq!(retries, 600);
    }

    #[test]
    fn what_is_no_number_is_nothing() {
        for odd in [f64::NAN, -1.0, f64::NEG_INFINITY] {
            let mut account = account(odd, odd);
            account.deposit(Timestamp(0));
            assert!(!account.try_withdraw(Timestamp(0)), "{odd}");
        }
        let mut endless = account(f64::INFINITY, f64::INFINITY);
        endless.deposit(Timestamp(0));
        assert!(endless.try_withdraw(Timestamp::MAX));
        let no_memory = RetryBudget {
            memory: Duration::ZERO,
            ..RetryBudget::default()
        };
        assert!(!BudgetAccount::new(&no_memory).try_withdraw(Timestamp(0)));
    }

    #[test]
    fn memory_is_constant_and_files_keep_the_figures() {
        let mut account = account(0.2, 1.0);
        (0..100_000).for_each(|i| account.deposit(Timestamp(i * S / 7)));
        assert!(account.bytes() < 1_000, "{}", account.bytes());
        let json = serde_json::to_string(&RetryBudget::default()).unwrap();
        let back: RetryBudget = serde_json::from_str(&json).unwrap();
        assert_eq!(back, RetryBudget::default());
    }

    proptest! {
        /// Brute force: all bookings with their slot, counted afresh each time.
        #[test]
        fn equals_brute_force(
            per_mille in 0..2_000_u64,
            reserve in 0..4_u64,
            calls in prop::collection::vec((0..2_500_u64, any::<bool>()), 1..400),
        ) {
            let mut account = account(per_mille as f64 / 1e3, reserve as f64);
            let mut booked: Vec<(u64, bool)> = Vec::new();
            let mut now = 0;
            for (gap, is_retry) in calls {
                now += gap * 1_000_000;
                let tick = now / S;
                let count = |retries: bool| {
                    let kept = booked.iter().filter(|(at, r)| at + SLOTS > tick && *r == retries);
                    kept.count() as u64
                };
                let (firsts, retries) = (count(false), count(true));
                let expected = (retries + 1) * 1_000 <= per_mille * firsts + reserve * 10 * 1_000;
                if is_retry {
                    prop_assert_eq!(account.try_withdraw(Timestamp(now)), expected);
                } else {
                    account.deposit(Timestamp(now));
                }
                if !is_retry || expected {
                    booked.push((tick, is_retry));
                }
            }
        }
    }
}
