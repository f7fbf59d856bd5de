//! How the slow router judges: every sample is looked at again, every time.

use super::*;

impl ReferenceRouter {
    /// The samples of the canary that the window still holds, by brute force.
    pub(super) fn look(&mut self, now: Timestamp, is_tick: bool) {
        if self.closed {
            return;
        }
        let JudgeConfig::Literal(judge) = self.config.judge.clone() else {
            return;
        };
        let slot = judge.window.as_nanos() as u64 / 60;
        let canary = self.config.canary;
        let in_window: Vec<(Outcome, Duration)> = self
            .samples
            .iter()
            .filter(|s| s.version == canary && s.at.0 / slot + 60 > now.0 / slot)
            .filter(|s| class(s.outcome).2 != "no")
            .map(|s| (s.outcome, s.latency))
            .collect();
        let mut decisive = None;
        for (i, threshold) in judge.thresholds.iter().enumerate() {
            let evidence = evidence(&judge, i, canary, &in_window);
            if is_tick || evidence.violated != self.violated[i] {
                self.events.push_back(Event::Judged(evidence));
            }
            self.violated[i] = evidence.violated;
            let is_decisive = evidence.violated && threshold.action == ThresholdAction::Rollback;
            decisive = decisive.or(is_decisive.then_some(evidence));
        }
        if let Some(reason) = decisive {
            self.closed = true;
            self.samples.clear();
            self.events.push_back(Event::RolledBack(Rollback {
                id: format!("rb-{}-1-{}", self.config.name(self.config.canary), now.0),
                from: canary,
                to: self.config.stable,
                reason: Reason::Judged(reason),
                at: now,
                unix_ms: None,
                revision: 1,
                step: None,
                restored: None,
                sha256: String::new(),
                affected_requests: self.given_to_canary,
            }));
            self.clear_the_canary(now);
        }
    }

    /// Nobody waits for a closed canary, and attempts there are taken back if so configured.
    pub(super) fn clear_the_canary(&mut self, now: Timestamp) {
        let canary = self.config.canary;
        let there = |(id, r): (&RequestId, &Request)| (r.version == canary).then_some(*id);
        let there: Vec<RequestId> = self.requests.iter().filter_map(there).collect();
        for id in &there {
            let request = &self.requests[id];
            let is_out = request.out_since.is_some() && !request.forwarded;
            if is_out && self.config.rollback.in_flight == InFlight::Cancel {
                self.cancel(now, *id, Outcome::Shutdown);
                self.note(*id, Outcome::Shutdown, None);
                self.fall_back(now, *id);
            }
        }
        for id in there {
            // One that was taken back may be over: stable had no slot in time.
            let waits = |r: &Request| r.version == canary && r.queued.is_some();
            if self.requests.get(&id).is_some_and(waits) {
                self.turn_away(now, id);
            }
        }
    }
}

fn evidence(
    judge: &LiteralConfig,
    index: usize,
    version: VersionId,
    samples: &[(Outcome, Duration)],
) -> Evidence {
    let threshold = judge.thresholds[index];
    let n = samples.len();
    let good = samples
        .iter()
        .filter(|(o, _)| *o == Outcome::Success)
        .count();
    let rate = |x: usize| (n > 0).then(|| x as f64 / n as f64);
    let mut latencies: Vec<Duration> = samples.iter().map(|(_, l)| *l).collect();
    latencies.sort();
    let p99 = (n > 0).then(|| latencies[(99 * n).div_ceil(100) - 1]);
    let (value, crossed) = match threshold.limit {
        Limit::ErrorRate(bound) => (rate(n - good), rate(n - good).is_some_and(|r| r > bound)),
        Limit::SuccessRate(bound) => (rate(good), rate(good).is_some_and(|r| r < bound)),
        Limit::P99(bound) => (p99.map(|l| l.as_secs_f64()), p99.is_some_and(|l| l > bound)),
    };
    Evidence {
        version,
        measure: threshold.limit.measure(),
        value,
        bound: threshold.limit.bound(),
        samples: n as u64,
        min_samples: judge.min_requests,
        action: threshold.action,
        violated: crossed && n as u64 >= judge.min_requests,
    }
}
