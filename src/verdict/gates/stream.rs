//! `stream`: a streamed answer is what one upstream sent for it, and says so when it is not all of it.
//!
//! Of every stream that began: it speaks as one answer; after its first token nothing is asked again; what an
//! upstream broke off is no success; a success has all the tokens that its upstream spent on it, and nothing
//! has more; no `[DONE]` follows a failure, or stands for a finish reason. A census.

use crate::observe::event::Streamed;
use crate::observe::story::{Attempt, Story};
use crate::protocol::outcome::Outcome;
use crate::verdict::gates::{End, Gate, SoFar};
use crate::verdict::result::{Check, GateResult, Offenders, Status, grouped, weaken};
use crate::verdict::spec::StreamSpec;

/// The gate at work.
pub struct StreamGate {
    spec: StreamSpec,
    spliced: Tally,
    cut: Tally,
    doubled: Tally,
    ended_twice: Tally,
}

/// How many streams are guilty of one thing.
#[derive(Clone, Debug, Default)]
struct Tally {
    looked_at: u64,
    found: u64,
    offenders: Offenders,
}

impl Tally {
    fn note(&mut self, story: &Story, is_guilty: bool) {
        self.looked_at += 1;
        if is_guilty {
            self.found += 1;
            self.offenders.note(story.key);
        }
    }

    fn check(&self, condition: &str, what: &str, min_n: u64) -> Check {
        let (x, n) = (self.found, self.looked_at);
        let status = match x {
            0 => Status::Pass,
            _ => Status::Fail,
        };
        let seen = format!("{} of {} {what}", grouped(x), grouped(n));
        Check::census(condition, status, seen)
            .figure(Some(x as f64), "streams", n)
            .offenders(self.offenders.keys())
            .needs(n, min_n)
    }
}

impl StreamGate {
    /// A gate that has seen nothing.
    pub fn new(spec: StreamSpec) -> Self {
        Self {
            spec,
            spliced: Tally::default(),
            cut: Tally::default(),
            doubled: Tally::default(),
            ended_twice: Tally::default(),
        }
    }

    fn stream(&mut self, story: &Story, streamed: &Streamed) {
        let is_success = story.outcome().is_some_and(Outcome::is_success);
        // Whoever reads a token later than it came sees even fewer attempts after it, never more.
        let asks_again = |a: &Attempt| a.started_at() > Some(streamed.first_token);
        let is_asked_again = story.attempts.iter().any(asks_again);
        self.spliced
            .note(story, streamed.is_spliced || is_asked_again);
        self.ended_twice.note(story, streamed.is_done_after_failure);
        if is_success {
            let sent = sent_tokens(story, story.serving());
            let is_short = sent.zip(streamed.content).is_some_and(|(s, c)| c < s);
            self.cut.note(story, story.serving().is_none() || is_short);
        }
        let last = story.attempts.len().checked_sub(1);
        let sent = sent_tokens(story, story.serving().or(last));
        if let Some((sent, content)) = sent.zip(streamed.content) {
            self.doubled.note(story, content > sent);
        }
    }
}

/// The tokens that an attempt's upstream says it spent.
fn sent_tokens(story: &Story, attempt: Option<usize>) -> Option<u32> {
    let usage = story.attempts.get(attempt?)?.usage?;
    Some(usage.completion_tokens)
}

impl Gate for StreamGate {
    fn story(&mut self, story: &Story, _so_far: &SoFar) {
        let is_in_scope = story
            .scheduled_at()
            .is_some_and(|at| self.spec.scope.contains(at));
        if let Some(streamed) = story.streamed().filter(|_| is_in_scope) {
            self.stream(story, &streamed);
        }
    }

    fn finish(&self, end: &End<'_>) -> GateResult {
        let min_n = self.spec.min_n;
        let mut checks = vec![
            self.spliced.check(
                "no stream is made of two answers",
                "streams go on with another answer",
                min_n,
            ),
            self.cut.check(
                "what was cut off is no success",
                "successes are not all that was to come",
                min_n,
            ),
            self.ended_twice.check(
                "no [DONE] after a failure",
                "streams fail, and then say that they are done",
                min_n,
            ),
        ];
        // Not every upstream states tokens, and not every text tells its own.
        if self.doubled.looked_at > 0 {
            let condition = "nothing comes twice";
            let what = "streams have more tokens than their upstream spent";
            checks.push(self.doubled.check(condition, what, 1));
        }
        if end.join_is_leaky {
            weaken(&mut checks);
        }
        GateResult::of("stream", checks)
    }
}
