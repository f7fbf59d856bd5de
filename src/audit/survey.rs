//! The first pass through a log: what has to be known before it is told.

use std::time::Duration;

use crate::audit::order::Sorter;
use crate::audit::requests::Requests;
use crate::audit::tried::Tried;
use crate::id::{PerVersion, VersionId};
use crate::observe::audit::ClosedInLog;
use crate::stats::proportion::draws_to_meet;
use crate::time::Timestamp;
use crate::traffic::log::survey;

/// How improbable it is that chance alone keeps requests from an open canary for so long.
const SILENCE: f64 = 0.001;
const SECOND: i64 = 1_000_000_000;

/// What of a log is audited.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cut {
    /// Requests that begin from this time on, counted from the beginning of the log.
    pub from: Duration,
    /// And before this time.
    pub to: Option<Duration>,
    /// An attempt that begins later than this after the end of another one does not continue its request.
    pub within: Duration,
}

/// One attempt in its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// When, counted from the beginning of what is audited.
    pub at: Timestamp,
    /// The attempt.
    pub tried: Tried,
    /// The request that it belongs to, numbered as they begin.
    pub request: u64,
    /// Which of its attempts, from 0.
    pub n: u32,
    /// The number of the failed attempt that it follows.
    pub follows: Option<u64>,
    /// Its own number among failed attempts that others may follow.
    pub failure: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    request: Option<u64>,
    n: u32,
    failure: u64,
}

/// The way through a log: attempts as they stand in it go in, attempts in order of time with their requests come out.
#[derive(Debug)]
pub struct Walk {
    cut: Cut,
    sorter: Sorter,
    requests: Requests<Link>,
    /// Where time begins, on the log's own clock: at a whole second.
    zero: Option<i64>,
    numbered: u64,
    failures: u64,
    /// Attempts of requests that began before what is audited, and after it.
    pub left_out: (u64, u64),
}

impl Walk {
    /// The beginning of the way.
    pub fn new(cut: Cut) -> Self {
        Self {
            cut,
            sorter: Sorter::default(),
            requests: Requests::new(cut.within),
            zero: None,
            numbered: 0,
            failures: 0,
            left_out: (0, 0),
        }
    }

    /// Takes the next attempt of the file in.
    pub fn push(&mut self, tried: Tried, each: &mut dyn FnMut(Step)) {
        if let Some(tried) = self.sorter.push(tried) {
            self.place(tried, each);
        }
    }

    /// The file is over.
    pub fn finish(&mut self, each: &mut dyn FnMut(Step)) {
        while let Some(tried) = self.sorter.pop() {
            self.place(tried, each);
        }
    }

    /// Where time begins, on the log's own clock; none before the first attempt was placed.
    pub fn zero(&self) -> Option<i64> {
        self.zero
    }

    /// Attempts that stood too far from their place.
    pub fn too_late(&self) -> u64 {
        self.sorter.too_late
    }

    /// Failed attempts that were not waited for.
    pub fn forgotten(&self) -> u64 {
        self.requests.forgotten
    }

    fn place(&mut self, tried: Tried, each: &mut dyn FnMut(Step)) {
        let start = *self
            .zero
            .get_or_insert_with(|| tried.at.div_euclid(SECOND) * SECOND);
        // A log whose first rows stand too late is told of; nothing comes before the beginning.
        let since = Duration::from_nanos(tried.at.saturating_sub(start).max(0).unsigned_abs());
        let before = self.requests.continues(&tried);
        let (request, n) = match before {
            Some(link) => (link.request, link.n + 1),
            None => (self.begins(since), 0),
        };
        let failure = self.failure(&tried, request, n);
        let Some(request) = request else {
            return;
        };
        each(Step {
            at: Timestamp::from(since.saturating_sub(self.cut.from)),
            tried,
            request,
            n,
            follows: before.map(|link| link.failure),
            failure,
        });
    }

    /// The number of a request that begins now; none when it is not audited.
    fn begins(&mut self, since: Duration) -> Option<u64> {
        if since < self.cut.from {
            self.left_out.0 += 1;
            return None;
        }
        if self.cut.to.is_some_and(|to| since >= to) {
            self.left_out.1 += 1;
            return None;
        }
        self.numbered += 1;
        Some(self.numbered - 1)
    }

    fn failure(&mut self, tried: &Tried, request: Option<u64>, n: u32) -> Option<u64> {
        if tried.end.is_success() || tried.trace.is_none() {
            return None;
        }
        let failure = self.failures;
        self.failures += 1;
        let link = Link {
            request,
            n,
            failure,
        };
        self.requests.failed(tried, link);
        Some(failure)
    }
}

/// Yes or no for many numbers, a bit each.
#[derive(Clone, Debug, Default)]
pub struct Bits(Vec<u64>);

impl Bits {
    /// Says yes to a number.
    pub fn set(&mut self, number: u64) {
        let (word, bit) = ((number / 64) as usize, number % 64);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << bit;
    }

    /// Was it said?
    pub fn get(&self, number: u64) -> bool {
        let word = self.0.get((number / 64) as usize);
        word.is_some_and(|word| word >> (number % 64) & 1 == 1)
    }
}

/// What the first pass found.
#[derive(Clone, Debug)]
pub struct Survey {
    /// Requests.
    pub requests: u64,
    /// Attempts by version.
    pub attempts: PerVersion<u64>,
    /// Failed attempts that another one followed.
    pub followed: Bits,
    /// How the requests are spaced.
    pub spacing: survey::Survey,
    /// Did any ask for a stream?
    pub has_streams: bool,
    /// When the last attempt was over.
    pub end: Timestamp,
    canary: VersionId,
    last_canary: Option<(Timestamp, Timestamp)>,
    later: u64,
}

impl Survey {
    /// Nothing so far, of so many versions with this canary.
    pub fn new(versions: usize, canary: VersionId) -> Self {
        Self {
            requests: 0,
            attempts: PerVersion::from_fn(versions, |_| 0),
            followed: Bits::default(),
            spacing: survey::Survey::default(),
            has_streams: false,
            end: Timestamp::ZERO,
            canary,
            last_canary: None,
            later: 0,
        }
    }

    /// Takes the next attempt in.
    pub fn take(&mut self, step: &Step) {
        let over_at = step.at + step.tried.took;
        self.end = self.end.max(over_at);
        self.attempts[step.tried.version] += 1;
        self.has_streams |= step.tried.is_stream;
        step.follows.iter().for_each(|n| self.followed.set(*n));
        if step.n == 0 {
            self.requests += 1;
            self.spacing.take(step.at.0);
            self.later += u64::from(step.tried.by_chance);
        }
        if step.tried.version == self.canary {
            let latest = self.last_canary.map_or(over_at, |(_, at)| at.max(over_at));
            self.last_canary = Some((step.at, latest));
            self.later = 0;
        }
    }

    /// Where the log shows that a canary with this share was closed: so many requests of chance followed the last one it got
    /// that an open canary would have met one, but for one time in a thousand.
    pub fn closed(&self, share: f64) -> Option<ClosedInLog> {
        let (last_at, over_at) = self.last_canary?;
        let telling = draws_to_meet(share, SILENCE)?;
        (self.later >= telling).then_some(ClosedInLog {
            last_at,
            over_at,
            later_requests: self.later,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::outcome::Outcome;

    const STABLE: VersionId = VersionId(0);
    const CANARY: VersionId = VersionId(1);
    const ALL: Cut = Cut {
        from: Duration::ZERO,
        to: None,
        within: Duration::from_secs(60),
    };

    fn tried(ms: i64, version: VersionId, end: Outcome, trace: Option<u64>) -> Tried {
        Tried {
            at: 1_700_000_000 * SECOND + ms * 1_000_000,
            took: Duration::from_millis(10),
            first_token: None,
            end,
            version,
            usage: None,
            cost: None,
            is_stream: false,
            by_chance: true,
            user: None,
            trace,
            session: None,
            contents: None,
            input_tokens: None,
        }
    }

    fn walked(cut: Cut, log: &[Tried]) -> (Vec<Step>, Walk) {
        let (mut steps, mut walk) = (Vec::new(), Walk::new(cut));
        log.iter()
            .for_each(|tried| walk.push(*tried, &mut |step| steps.push(step)));
        walk.finish(&mut |step| steps.push(step));
        (steps, walk)
    }

    /// As gateways write them: when they end.
    fn fallback() -> [Tried; 3] {
        [
            tried(1_250, CANARY, Outcome::Unauthorized, Some(1)),
            tried(1_300, STABLE, Outcome::Success, None),
            tried(1_260, STABLE, Outcome::Success, Some(1)),
        ]
    }

    #[test]
    fn attempts_find_their_requests_in_order_of_time() {
        let (steps, _) = walked(ALL, &fallback());
        let seen: Vec<_> = steps
            .iter()
            .map(|s| (s.at.0 / 1_000_000, s.request, s.n))
            .collect();
        // The clock begins at the whole second before the first attempt.
        assert_eq!(seen, [(250, 0, 0), (260, 0, 1), (300, 1, 0)]);
        assert_eq!((steps[0].failure, steps[1].follows), (Some(0), Some(0)));
        let mut survey = Survey::new(2, CANARY);
        steps.iter().for_each(|step| survey.take(step));
        assert_eq!((survey.requests, survey.attempts[STABLE]), (2, 2));
        assert!(survey.followed.get(0) && !survey.followed.get(1));
        assert_eq!(survey.end, Timestamp(310_000_000));
    }

    #[test]
    fn a_request_is_in_or_out_as_a_whole() {
        let from = |from, to| Cut {
            from: Duration::from_millis(from),
            to: Some(Duration::from_millis(to)),
            ..ALL
        };
        let (steps, walk) = walked(from(255, 290), &fallback());
        assert!(steps.is_empty(), "its second attempt alone is no request");
        assert_eq!(walk.left_out, (1, 1));
        let (steps, _) = walked(from(0, 255), &fallback());
        assert_eq!(steps.len(), 2, "and it is not cut in the middle");
        let (steps, _) = walked(from(280, 400), &fallback());
        assert_eq!((steps[0].at, steps[0].request), (Timestamp(20_000_000), 0));
    }

    #[test]
    fn a_canary_that_got_nothing_for_long_was_closed() {
        let mut survey = Survey::new(2, CANARY);
        let log: Vec<Tried> = (0..100)
            .map(|n| match n {
                30 => tried(n, CANARY, Outcome::Success, None),
                _ => tried(n, STABLE, Outcome::Success, None),
            })
            .collect();
        walked(ALL, &log).0.iter().for_each(|s| survey.take(s));
        // At 10 %, 66 requests in a row miss it once in a thousand times: 69 do.
        let closed = survey.closed(0.1).unwrap();
        assert_eq!(closed.later_requests, 69);
        assert_eq!(closed.last_at, Timestamp(30_000_000));
        assert_eq!(survey.closed(0.05), None, "135 would be needed");
    }
}
