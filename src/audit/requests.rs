//! Which attempts of a log are one request.
//!
//! What may follow what is decided where replays decide it ([`Attempt::follows`]). A replay takes requests whole, and holds back what
//! comes behind one that may go on; an audit tells all attempts in order of time, and only wants to know of each which one
//! it continues.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use smallvec::SmallVec;

use crate::audit::tried::Tried;
use crate::time::nanos;
use crate::traffic::log::requests::Attempt;

/// Failed attempts that may be followed by another one, at once: beyond that, the oldest are not waited for.
pub const MOST_OPEN: usize = 200_000;

/// Finds what an attempt continues. `T` is what is remembered of a failed attempt.
#[derive(Debug)]
pub struct Requests<T> {
    /// An attempt that begins later than this after the end of another one does not continue it.
    within: Duration,
    open: BTreeMap<u64, SmallVec<[Attempt<T>; 1]>>,
    /// The same by their ends, as they came.
    queue: VecDeque<(i64, u64)>,
    /// Failed attempts that were not waited for, because too many others were open.
    pub forgotten: u64,
    /// Attempts that began before a failed one of their trace was over.
    pub overlapping: u64,
}

impl<T: Copy> Requests<T> {
    /// Nothing so far.
    pub fn new(within: Duration) -> Self {
        Self {
            within,
            open: BTreeMap::new(),
            queue: VecDeque::new(),
            forgotten: 0,
            overlapping: 0,
        }
    }

    /// What an attempt continues, if anything. Attempts come in order of time.
    pub fn continues(&mut self, tried: &Tried) -> Option<T> {
        self.forget_before(tried.at);
        let open = self.open.get_mut(&tried.trace?)?;
        let next = tried.attempt(());
        let is_before = |failed: &Attempt<T>| next.follows(failed, self.within);
        let Some(position) = open.iter().rposition(is_before) else {
            let is_over = |failed: &Attempt<T>| failed.ended_at() <= tried.at;
            self.overlapping += u64::from(!open.iter().all(is_over));
            return None;
        };
        let failed = open.remove(position);
        if open.is_empty() {
            self.open.remove(&tried.trace?);
        }
        Some(failed.of)
    }

    /// An attempt failed, and may be followed by another one.
    pub fn failed(&mut self, tried: &Tried, what: T) {
        let Some(trace) = tried.trace else {
            return;
        };
        let over_at = tried.over_at();
        let open = self.open.entry(trace).or_default();
        open.push(tried.attempt(what));
        self.queue.push_back((over_at, trace));
        if self.queue.len() > MOST_OPEN
            && let Some((over_at, trace)) = self.queue.pop_front()
        {
            self.forgotten += u64::from(self.forget(over_at, trace));
        }
    }

    fn forget_before(&mut self, now: i64) {
        let within = nanos(self.within);
        let is_past = |over_at: i64| over_at.saturating_add_unsigned(within) < now;
        while let Some((over_at, trace)) = self.queue.front().copied()
            && is_past(over_at)
        {
            self.queue.pop_front();
            self.forget(over_at, trace);
        }
        // Who took short may stand behind who took long, and is looked at when it is asked for.
    }

    /// Forgets an attempt, if nothing continued it. Says whether there was one.
    fn forget(&mut self, over_at: i64, trace: u64) -> bool {
        let Some(open) = self.open.get_mut(&trace) else {
            return false;
        };
        let before = open.len();
        open.retain(|failed| failed.ended_at() != over_at);
        let is_changed = open.len() < before;
        if open.is_empty() {
            self.open.remove(&trace);
        }
        is_changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::VersionId;
    use crate::protocol::outcome::Outcome;

    fn tried(at: i64, took: u64, trace: u64) -> Tried {
        Tried {
            at,
            took: Duration::from_nanos(took),
            first_token: None,
            end: Outcome::ServerError,
            version: VersionId(1),
            usage: None,
            cost: None,
            is_stream: false,
            by_chance: true,
            user: None,
            trace: Some(trace),
            session: None,
            contents: None,
            input_tokens: None,
        }
    }

    fn requests() -> Requests<u8> {
        Requests::new(Duration::from_secs(60))
    }

    #[test]
    fn what_comes_after_a_failure_in_its_trace_continues_it_once() {
        let mut all = requests();
        assert_eq!(all.continues(&tried(0, 5, 1)), None);
        all.failed(&tried(0, 5, 1), 7);
        assert_eq!(all.continues(&tried(9, 1, 2)), None, "another trace");
        assert_eq!(all.continues(&tried(9, 1, 1)), Some(7));
        assert_eq!(all.continues(&tried(9, 1, 1)), None, "once");
    }

    #[test]
    fn nobody_is_followed_who_is_still_under_way_or_long_gone() {
        let s = 1_000_000_000;
        let mut all = requests();
        all.failed(&tried(0, 2 * s as u64, 1), 7);
        assert_eq!(all.continues(&tried(s, 1, 1)), None, "under way");
        assert_eq!(all.continues(&tried(2 * s, 1, 1)), Some(7));
        all.failed(&tried(2 * s, 0, 1), 8);
        assert_eq!(all.continues(&tried(62 * s + 1, 1, 1)), None, "long gone");
        assert!(all.open.is_empty() && all.queue.is_empty(), "and forgotten");
    }

    #[test]
    fn other_messages_or_another_conversation_are_another_request() {
        let with = |change: fn(&mut Tried)| {
            let mut next = tried(9, 1, 1);
            change(&mut next);
            let mut all = requests();
            let mut first = tried(0, 5, 1);
            first.contents = Some(3);
            first.session = Some(4);
            first.input_tokens = Some(5);
            all.failed(&first, 7);
            all.continues(&next)
        };
        assert_eq!(with(|_| {}), Some(7), "nothing contradicts it");
        assert_eq!(with(|next| next.contents = Some(3)), Some(7));
        assert_eq!(with(|next| next.contents = Some(9)), None);
        assert_eq!(with(|next| next.session = Some(9)), None);
        assert_eq!(with(|next| next.input_tokens = Some(9)), None);
    }

    #[test]
    fn too_many_at_once_are_counted() {
        let mut all = requests();
        for n in 0..=MOST_OPEN as u64 {
            all.failed(&tried(0, 1, n), 0);
        }
        assert_eq!((all.forgotten, all.open.len()), (1, MOST_OPEN));
        assert_eq!(
            all.continues(&tried(2, 1, 0)),
            None,
            "the oldest is not waited for"
        );
    }
}
