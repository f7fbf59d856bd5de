//! Callers under sticky assignment: who has had which event, and who has come at all.
//!
//! All requests of a caller go to one version, so what befalls one caller again and again is one
//! observation, not many. Only a caller's first event of each metric is evidence.

use super::metric::Events;
use crate::id::IdMap;

/// The callers that are remembered, at most so many of each kind.
#[derive(Clone, Debug)]
pub(super) struct Callers {
    most: usize,
    had: IdMap<u64, Events>,
    came: IdMap<u64, ()>,
    overflowed: bool,
}

impl Callers {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            had: IdMap::default(),
            came: IdMap::default(),
            overflowed: false,
        }
    }

    /// Which of these events are the caller's first. A request without a caller stands for itself.
    pub(super) fn first(&mut self, caller: Option<u64>, events: Events) -> Events {
        let Some(caller) = caller.filter(|_| !events.is_empty()) else {
            return events;
        };
        if self.had.len() >= self.most && self.had.get(caller).is_none() {
            self.overflowed = true;
            return Events::NONE;
        }
        let had = self.had.get_or_insert_with(caller, || Events::NONE);
        let new = events.without(*had);
        *had = had.with(events);
        new
    }

    /// Has this caller never come before? No longer known of new ones once too many have come.
    pub(super) fn is_new(&mut self, caller: Option<u64>) -> bool {
        let Some(caller) = caller else {
            return true;
        };
        self.came.len() < self.most && self.came.insert(caller, ()).is_none()
    }

    /// Could an event not be remembered?
    pub(super) fn overflowed(&self) -> bool {
        self.overflowed
    }

    pub(super) fn bytes(&self) -> usize {
        self.had.capacity() * size_of::<(u64, Events)>() + self.came.capacity() * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::super::metric::Metric;
    use super::*;

    #[test]
    fn only_the_first_event_of_a_caller_and_metric_counts() {
        let (error, slow) = (Events::of(Metric::Error), Events::of(Metric::Slow));
        let mut callers = Callers::new(10);
        assert_eq!(callers.first(Some(7), error), error);
        assert_eq!(callers.first(Some(7), error.with(slow)), slow);
        assert_eq!(callers.first(Some(8), error), error);
        assert_eq!(callers.first(None, error), error);
        assert_eq!(callers.first(None, error), error);
    }

    #[test]
    fn memory_is_bounded() {
        let error = Events::of(Metric::Error);
        let mut callers = Callers::new(2);
        for caller in 0..2 {
            callers.first(Some(caller), error);
            assert!(callers.is_new(Some(caller)));
        }
        assert!(!callers.overflowed());
        assert_eq!(callers.first(Some(2), Events::NONE), Events::NONE);
        assert!(!callers.overflowed(), "nothing was to be remembered");
        assert_eq!(callers.first(Some(2), error), Events::NONE);
        assert!(callers.overflowed());
        assert_eq!(
            callers.first(Some(1), Events::of(Metric::Slow)),
            Events::of(Metric::Slow)
        );
        assert!(!callers.is_new(Some(2)));
    }
}
