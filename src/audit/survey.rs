//! The first pass through a log: what has to be known before it is told.

use std::time::Duration;

use crate::audit::order::Sorter;
use crate::audit::requests::Requests;
use crate::audit::tried::Tried;
use crate::audit::{Terms, Weight, share_at};
use crate::id::{PerVersion, VersionId};
use crate::observe::audit::ClosedInLog;
use crate::stats::silence::Silence;
use crate::time::Timestamp;
use crate::traffic::log::survey;

/// How improbable it is that chance alone keeps the last requests of a log from an open canary.
const SILENCE: f64 = 0.001;
/// And so many requests in a row anywhere in the log, over all of it.
const SILENCE_WITHIN: f64 = 1e-6;
/// Attempts of one moment that are looked at for the same line twice.
const MOST_AT_ONCE: usize = 1_000;
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
    earliest: Option<i64>,
    /// The attempts of the latest moment.
    latest: Vec<Tried>,
    /// Lines that stand in the log twice.
    pub duplicates: u64,
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
            earliest: None,
            latest: Vec::new(),
            duplicates: 0,
            numbered: 0,
            failures: 0,
            left_out: (0, 0),
        }
    }

    /// The log has a record of this time, whatever else it says. Time begins with the first of them.
    pub fn saw(&mut self, at: i64) {
        self.earliest = Some(self.earliest.map_or(at, |earliest| earliest.min(at)));
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

    /// Attempts that began before a failed one of their trace was over.
    pub fn overlapping(&self) -> u64 {
        self.requests.overlapping
    }

    /// Failed attempts that were not waited for.
    pub fn forgotten(&self) -> u64 {
        self.requests.forgotten
    }

    fn place(&mut self, tried: Tried, each: &mut dyn FnMut(Step)) {
        if self.is_duplicate(&tried) {
            self.duplicates += 1;
            return;
        }
        let earliest = self.earliest.unwrap_or(tried.at);
        let start = *self
            .zero
            .get_or_insert_with(|| earliest.min(tried.at).div_euclid(SECOND) * SECOND);
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

    /// Is it the same line as one before? Only a trace tells that from two requests of one moment.
    fn is_duplicate(&mut self, tried: &Tried) -> bool {
        if self
            .latest
            .first()
            .is_some_and(|first| first.at != tried.at)
        {
            self.latest.clear();
        }
        if tried.trace.is_none() || self.latest.contains(tried) {
            return tried.trace.is_some();
        }
        if self.latest.len() < MOST_AT_ONCE {
            self.latest.push(*tried);
        }
        false
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
    weights: Vec<Weight>,
    /// Callers who stay where they are are no draws.
    is_sticky: bool,
    /// When the attempts at the canary were over.
    over_at: Timestamp,
    silence: Silence,
    closed: Option<ClosedInLog>,
}

impl Survey {
    /// Nothing so far of a log that is held against this.
    pub fn new(terms: &Terms) -> Self {
        let (versions, canary) = (terms.router.versions.len(), terms.router.canary);
        Self {
            weights: terms.weights.clone(),
            is_sticky: terms.router.split.sticky.is_some(),
            closed: None,
            requests: 0,
            attempts: PerVersion::from_fn(versions, |_| 0),
            followed: Bits::default(),
            spacing: survey::Survey::default(),
            has_streams: false,
            end: Timestamp::ZERO,
            canary,
            over_at: Timestamp::ZERO,
            silence: Silence::default(),
        }
    }

    /// Attempts at the canary.
    pub fn at_canary(&self) -> u64 {
        self.attempts[self.canary]
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
        }
        if step.tried.version == self.canary {
            self.hear_silence(step.at);
            self.over_at = self.over_at.max(over_at);
            self.silence.met(step.at);
        } else if step.n == 0 && step.tried.by_chance {
            let share = share_at(&self.weights, step.at.elapsed());
            self.silence.missed(share);
        }
    }

    /// The canary gets something again. Did it get nothing for longer than chance explains?
    fn hear_silence(&mut self, now: Timestamp) {
        if self.closed.is_some() {
            return;
        }
        let closed = self.closed_beyond(SILENCE_WITHIN / self.requests.max(1) as f64);
        self.closed = closed.map(|closed| ClosedInLog {
            reopened_at: Some(now),
            ..closed
        });
    }

    /// Where the log shows first that the canary was closed: so many requests of chance followed the last one it got that an open
    /// canary would have met one, but for one time in a thousand at the end of the log, in a million anywhere in it.
    pub fn closed(&self) -> Option<ClosedInLog> {
        self.closed.or_else(|| self.closed_beyond(SILENCE))
    }

    fn closed_beyond(&self, improbable: f64) -> Option<ClosedInLog> {
        let last_at = self.silence.since().filter(|_| !self.is_sticky)?;
        self.silence.is_beyond(improbable).then_some(ClosedInLog {
            last_at,
            over_at: self.over_at,
            later_requests: self.silence.length(),
            reopened_at: None,
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
        let mut survey = Survey::new(&terms(0.1));
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

    fn terms(share: f64) -> Terms {
        let text = format!(
            "{{versions: {{v1: {{role: stable, model: a}}, v2: {{role: canary, model: b}}}}, \
             split: {{weights: {{v1: {}, v2: {share}}}}}}}",
            1.0 - share
        );
        let source = crate::config::diagnostic::Source::new("a test", text);
        let problems = crate::config::diagnostic::Problems::default();
        let cx = crate::config::fields::Cx {
            source: &source,
            problems: &problems,
        };
        let node = crate::config::yaml::parse(&source).unwrap();
        let router = crate::config::router_file::read(cx, &node).unwrap();
        Terms {
            router: std::sync::Arc::new(router),
            weights: vec![Weight {
                at: Duration::ZERO,
                share,
            }],
            literal: crate::config::judge::default_literal(),
            sequential: crate::router::judge::sequential::SequentialConfig::default(),
            heeds_sequential: false,
        }
    }

    /// A request each ms, of which the canary gets these.
    fn surveyed(share: f64, n: i64, canary: impl Fn(i64) -> bool) -> Survey {
        let mut survey = Survey::new(&terms(share));
        let version = |ms| if canary(ms) { CANARY } else { STABLE };
        let log: Vec<Tried> = (0..n)
            .map(|ms| tried(ms, version(ms), Outcome::Success, None))
            .collect();
        walked(ALL, &log).0.iter().for_each(|s| survey.take(s));
        survey
    }

    #[test]
    fn a_canary_that_got_nothing_for_long_was_closed() {
        // At 10 %, 66 requests in a row miss it once in a thousand times: 69 do.
        let closed = surveyed(0.1, 100, |ms| ms == 30).closed().unwrap();
        assert_eq!(closed.later_requests, 69);
        assert_eq!(closed.last_at, Timestamp(30_000_000));
        assert_eq!(closed.reopened_at, None);
        let rare = surveyed(0.05, 100, |ms| ms == 30);
        assert_eq!(rare.closed(), None, "135 would be needed");
    }

    #[test]
    fn a_canary_that_was_closed_and_opened_again_was_closed() {
        let open = |ms: i64| ms % 10 == 0;
        let closed = surveyed(0.1, 2_000, |ms| open(ms) && !(500..900).contains(&ms));
        let closed = closed.closed().unwrap();
        assert_eq!(closed.last_at, Timestamp(490_000_000));
        assert_eq!(closed.reopened_at, Some(Timestamp(900_000_000)));
        assert_eq!(closed.later_requests, 409);
        assert_eq!(surveyed(0.1, 2_000, open).closed(), None);
    }

    #[test]
    fn a_line_that_stands_twice_counts_once() {
        let one = tried(10, CANARY, Outcome::Success, Some(1));
        let other = tried(10, CANARY, Outcome::Success, Some(2));
        let (steps, walk) = walked(ALL, &[one, other, one]);
        assert_eq!((steps.len(), walk.duplicates), (2, 1));
        let untraced = tried(10, CANARY, Outcome::Success, None);
        let (steps, walk) = walked(ALL, &[untraced, untraced]);
        assert_eq!((steps.len(), walk.duplicates), (2, 0), "nobody can tell");
    }
}
