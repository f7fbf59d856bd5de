//! The units in flight, and when each becomes slow.

use super::metric::Arm;
use crate::id::{IdMap, RequestId};
use crate::router::timers::Timers;
use crate::time::Timestamp;

/// A first attempt that is under way: where it is booked, whatever the weight is when it ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unit {
    pub(super) arm: Arm,
    pub(super) caller: Option<u64>,
    pub(super) segment: usize,
    pub(super) cohort: u64,
    /// When it becomes slow; none when that is not asked.
    pub(super) slow_at: Option<Timestamp>,
    pub(super) is_slow: bool,
}

/// All units in flight.
#[derive(Clone, Debug, Default)]
pub(super) struct Flight {
    units: IdMap<RequestId, Unit>,
    timers: Timers,
}

impl Flight {
    pub(super) fn contains(&self, id: RequestId) -> bool {
        self.units.get(id).is_some()
    }

    pub(super) fn take_off(&mut self, id: RequestId, unit: Unit) {
        if let Some(at) = unit.slow_at {
            self.timers.set(at, id);
        }
        self.units.insert(id, unit);
    }

    /// Is it under way, without a time at which it becomes slow?
    pub(super) fn is_queued(&self, id: RequestId) -> bool {
        self.units.get(id).is_some_and(|u| u.slow_at.is_none())
    }

    pub(super) fn set_slow_at(&mut self, id: RequestId, slow_at: Option<Timestamp>) {
        if let Some(unit) = self.units.get_mut(id) {
            unit.slow_at = slow_at;
            if let Some(at) = slow_at {
                self.timers.set(at, id);
            }
            self.tidy();
        }
    }

    pub(super) fn land(&mut self, id: RequestId) -> Option<Unit> {
        let unit = self.units.remove(id);
        self.tidy();
        unit
    }

    /// When the next unit becomes slow.
    pub(super) fn next_slow(&self) -> Option<Timestamp> {
        self.timers.next()
    }

    /// Takes note of the next unit that is slow by `now`.
    pub(super) fn pop_slow(&mut self, now: Timestamp) -> Option<Unit> {
        let (at, id) = self.timers.pop_due(now)?;
        let unit = self.units.get_mut(id).filter(|u| u.slow_at == Some(at));
        let slow = unit.map(|unit| {
            unit.is_slow = true;
            *unit
        });
        self.tidy();
        slow
    }

    /// Everything that is under way, in order; nothing is afterwards.
    pub(super) fn drain(&mut self) -> Vec<Unit> {
        let ids = self.units.sorted_keys();
        ids.into_iter().filter_map(|id| self.land(id)).collect()
    }

    fn tidy(&mut self) {
        let units = &self.units;
        self.timers.tidy(units.len(), |at, id| {
            units.get(id).is_some_and(|u| u.slow_at == Some(at))
        });
    }

    pub(super) fn bytes(&self) -> usize {
        self.units.capacity() * size_of::<(RequestId, Unit)>() + self.timers.bytes()
    }
}
