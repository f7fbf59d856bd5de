//! When counting begins anew, so that old good traffic does not dilute a late break: at each step's
//! first moment, and at tenths of its planned hold. After the planned hold there are no new starts.

use std::time::Duration;

use super::budget::TENTHS;
use super::evidence::StartOfCount;
use crate::time::Timestamp;

/// The starts that were, and those that are planned for the step in force.
#[derive(Clone, Debug)]
pub(super) struct Starts {
    /// So many steps may have starts: the budget is for no more.
    steps: usize,
    begun: Vec<StartOfCount>,
    plan: Option<Plan>,
}

#[derive(Clone, Copy, Debug)]
struct Plan {
    step: usize,
    began: Timestamp,
    a_tenth: Duration,
    next: u8,
}

impl Plan {
    fn next_at(&self) -> Timestamp {
        self.began + self.a_tenth.saturating_mul(u32::from(self.next))
    }
}

impl Starts {
    pub(super) fn new(steps: usize) -> Self {
        Self {
            steps: steps.max(1),
            begun: Vec::new(),
            plan: None,
        }
    }

    /// A step began. One that had its starts before gets no others: its budget is spent.
    pub(super) fn begin_step(&mut self, now: Timestamp, step: usize, hold: Duration) {
        if self.plan.is_some_and(|p| p.step == step) {
            return;
        }
        self.plan = None;
        let firsts = self.begun.iter().filter(|s| s.tenth == 0);
        let is_new = self.begun.iter().all(|s| s.step != step);
        if !is_new || firsts.count() >= self.steps {
            return;
        }
        self.begun.push(StartOfCount { step, tenth: 0 });
        let a_tenth = hold / 10;
        if !a_tenth.is_zero() {
            self.plan = Some(Plan {
                step,
                began: now,
                a_tenth,
                next: 1,
            });
        }
    }

    /// A step without a control began: no start is planned for it.
    pub(super) fn stop(&mut self) {
        self.plan = None;
    }

    /// Begins what is due at `now`.
    pub(super) fn advance(&mut self, now: Timestamp) {
        while let Some(plan) = self.plan.as_mut().filter(|p| p.next_at() <= now) {
            if plan.next > TENTHS {
                self.plan = None;
                return;
            }
            let (step, tenth) = (plan.step, plan.next);
            plan.next += 1;
            self.begun.push(StartOfCount { step, tenth });
        }
    }

    /// Time passed that nobody watched: what is planned comes so much later.
    pub(super) fn shift(&mut self, by: Duration) {
        if let Some(plan) = &mut self.plan {
            plan.began = plan.began + by;
        }
    }

    /// How many have begun.
    pub(super) fn len(&self) -> usize {
        self.begun.len()
    }

    /// Of the starts in this range, which began with no unit between them, the one that needs the
    /// least evidence: a step's first moment, else the first.
    pub(super) fn best(&self, range: std::ops::Range<usize>) -> Option<StartOfCount> {
        let these = self.begun.get(range)?;
        let first = these.iter().find(|s| s.tenth == 0);
        first.or(these.first()).copied()
    }

    pub(super) fn bytes(&self) -> usize {
        self.begun.capacity() * size_of::<StartOfCount>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_secs(100);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from(Duration::from_secs(seconds))
    }

    #[test]
    fn a_step_has_ten_starts() {
        let mut starts = Starts::new(2);
        starts.begin_step(at(0), 0, HOLD);
        assert_eq!(starts.len(), 1);
        starts.advance(at(9));
        assert_eq!(starts.len(), 1);
        starts.advance(at(35));
        assert_eq!(starts.len(), 4);
        starts.advance(at(10_000));
        assert_eq!(starts.len(), 10, "none after the planned hold");
    }

    #[test]
    fn the_budget_is_never_exceeded() {
        let mut starts = Starts::new(2);
        for step in [0, 0, 1, 0, 2, 3, 1] {
            starts.begin_step(at(0), step, HOLD);
            starts.advance(at(50));
        }
        let of = |step| starts.begun.iter().filter(|s| s.step == step).count();
        assert_eq!([of(0), of(1), of(2), of(3)], [6, 6, 0, 0]);
    }

    #[test]
    fn a_hold_of_nothing_has_one_start() {
        let mut starts = Starts::new(1);
        starts.begin_step(at(0), 0, Duration::ZERO);
        starts.advance(at(100));
        assert_eq!(starts.len(), 1);
        assert_eq!(starts.best(0..1).unwrap().tenth, 0);
        assert_eq!(starts.best(1..1), None);
    }
}
