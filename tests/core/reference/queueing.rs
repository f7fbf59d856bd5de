//! How the slow router waits for the slots of a rate limit, and who is turned away.

use super::*;

impl ReferenceRouter {
    /// Those who wait for a slot of a version, in the order in which they came.
    pub(super) fn queue(&self, version: VersionId) -> Vec<(u64, Timestamp, RequestId)> {
        let of_version = self.requests.iter().filter(|(_, r)| r.version == version);
        let mut queue: Vec<_> = of_version
            .filter_map(|(id, r)| r.queued.map(|(ticket, since)| (ticket, since, *id)))
            .collect();
        queue.sort();
        queue
    }

    /// The first moment at which fewer attempts than the limit keep their slot; an attempt keeps it for
    /// the window and the guard.
    pub(super) fn free_at(&self, version: VersionId) -> Timestamp {
        let Some(limit) = &self.config.versions[version].rate_limit else {
            return Timestamp::ZERO;
        };
        let frees = |at: &Timestamp| *at + limit.window + limit.guard;
        let there = self.sent.iter().filter(|(_, v)| *v == version);
        let ends: Vec<Timestamp> = there.map(|(at, _)| frees(at)).collect();
        let mut moments = ends.clone();
        moments.push(Timestamp::ZERO);
        moments.sort();
        let is_free =
            |t: &Timestamp| ends.iter().filter(|end| *end > t).count() < limit.requests as usize;
        moments
            .into_iter()
            .find(is_free)
            .expect("a limit above zero")
    }

    /// Will no slot be free before the wait is over, whoever leaves the queue?
    pub(super) fn is_in_vain(&self, now: Timestamp, id: RequestId, until: Timestamp) -> bool {
        let request = &self.requests[&id];
        let expires = request.arrived + self.config.timeouts.request;
        self.free_at(request.version).max(now) >= until.min(expires)
    }

    /// It may not go to the canary any more, and is not there now.
    pub(super) fn turn_away(&mut self, now: Timestamp, id: RequestId) {
        let request = self.requests.get_mut(&id).expect("a request under way");
        request.queued = None;
        if request.attempts.is_empty() {
            request.choice = request.choice.map(|_| ChoiceNote::Refused);
            self.fall_back(now, id);
            return;
        }
        let outcome = request.causes.last().expect("it failed before").1;
        let left = (request.arrived + self.config.timeouts.request).since(now);
        if self.may_fall_back(class(outcome).1, left) {
            self.fall_back(now, id);
        } else {
            self.fail(id, outcome, false);
        }
    }

    /// Everybody whose turn it is.
    pub(super) fn let_through(&mut self, now: Timestamp) {
        for version in [VersionId(0), VersionId(1)] {
            while let Some((_, _, head)) = self.queue(version).first().copied()
                && self.free_at(version) <= now
            {
                self.dispatch(now, head);
            }
        }
    }
}
