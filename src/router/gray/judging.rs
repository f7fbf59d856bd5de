//! The watch over the canary.

use crate::router::gray::GrayRouter;
use crate::router::io::{Event, Reason};
use crate::router::judge::{Occasion, Promotion};
use crate::time::Timestamp;

impl GrayRouter {
    /// Lets the judge look at the canary, and does what it finds.
    pub(super) fn look(&mut self, now: Timestamp, occasion: Occasion) {
        if self.door.is_rolled_back() {
            return;
        }
        let canary = self.config().canary;
        let Some(health) = &mut self.health else {
            return;
        };
        let window = &mut health[canary];
        window.advance(now);
        let events = &mut self.events;
        let decisive = self.judge.look(now, occasion, window, |evidence| {
            events.push_back(Event::Judged(evidence));
        });
        if let Some(evidence) = decisive {
            self.roll_back(now, Reason::Judged(evidence), Vec::new());
        }
    }

    /// Has the judge seen enough of a good canary for the next step?
    pub(super) fn promotion(&mut self, now: Timestamp) -> Promotion {
        let canary = self.config().canary;
        let Some(health) = &mut self.health else {
            return Promotion::No("nobody judges");
        };
        let window = &mut health[canary];
        window.advance(now);
        self.judge.promotion(window)
    }

    /// When the judge looks by itself.
    pub(super) fn next_tick(&self) -> Option<Timestamp> {
        let next = self.judge.next_tick();
        next.filter(|_| !self.door.is_rolled_back())
    }
}
