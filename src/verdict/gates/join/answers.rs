//! What another gateway does with the answers of its upstreams: each comes to the caller who asked, as it was sent, and is not thrown
//! away to ask again. Of the built-in router, `attribution` and `policy` say so.

use std::collections::BTreeMap;

use crate::id::{RequestKey, VersionId};
use crate::observe::event::Text;
use crate::observe::meta::FaultMeta;
use crate::observe::story::{Attempt, Story};
use crate::protocol::drift::Drift;
use crate::protocol::outcome::Outcome;
use crate::upstream::plan::MOST_WORDS;
use crate::verdict::gates::join::check;
use crate::verdict::result::{Check, Offenders, Status};

/// An answer that comes just as a gateway has lost its patience is lost for it. So one in this many of a version's may be, and a few of any number.
const LOST_IN: u64 = 100;
const FEW: u64 = 2;

/// What was seen of one kind.
#[derive(Default)]
struct Tally {
    n: u64,
    guilty: u64,
    offenders: Offenders,
}

impl Tally {
    fn note(&mut self, key: RequestKey, is_guilty: bool) {
        self.n += 1;
        if is_guilty {
            self.guilty += 1;
            self.offenders.note(key);
        }
    }

    fn none(&self, condition: &str) -> Check {
        let status = match self.guilty {
            0 => Status::Pass,
            _ => Status::Fail,
        };
        check(condition, self.guilty, self.n, status).offenders(self.offenders.keys())
    }
}

/// The answers so far.
#[derive(Default)]
pub(super) struct Answers {
    /// Successes whose answer says by its id whose it is: those that are somebody else's.
    owners: Tally,
    /// Successes of mocks that did what they should, whose text tells how much of it there is: those that are altered.
    texts: Tally,
    /// Successes of each version: those after which somebody else was asked. And of those that a fault made later.
    kept: BTreeMap<VersionId, Tally>,
    late: BTreeMap<VersionId, Tally>,
    /// Of each fault: does it only make answers later?
    delays: Vec<bool>,
}

/// What an upstream's answer was, by its word.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// As it should be.
    Plain,
    /// That, but late.
    Late,
    /// Under a fault, or of another shape: it may be one that is rightly refused.
    Odd,
}

impl Answers {
    /// None yet, of a run with these faults.
    pub(super) fn new(faults: &[FaultMeta]) -> Self {
        Self {
            delays: faults.iter().map(|fault| fault.only_delays).collect(),
            ..Self::default()
        }
    }

    /// Takes a request in that is over.
    pub(super) fn story(&mut self, story: &Story) {
        self.note_kept(story);
        let Some((_, answered)) = story.answered.filter(|(_, a)| a.outcome.is_success()) else {
            return;
        };
        if let Some(owner) = answered.origin.key {
            self.owners.note(story.key, owner != story.key);
        }
        let of_stream = answered.streamed.and_then(|s| s.content);
        if let Some(text) = answered.origin.text.or(of_stream.map(Text::Tokens)) {
            self.note_text(story, text);
        }
    }

    fn note_kept(&mut self, story: &Story) {
        for attempt in successes(story) {
            let tallies = match self.kind(attempt) {
                Kind::Plain => &mut self.kept,
                Kind::Late => &mut self.late,
                Kind::Odd => continue,
            };
            let is_over = |at| attempt.ended_at.is_some_and(|ended| at > ended);
            let mut starts = story.attempts.iter().filter_map(Attempt::started_at);
            let tally = tallies.entry(attempt.version).or_default();
            tally.note(story.key, starts.any(is_over));
        }
    }

    fn note_text(&mut self, story: &Story, text: Text) {
        let mut stated = self.stated(story).peekable();
        if stated.peek().is_some() {
            let is_whole = stated.any(|tokens| is_whole(text, tokens));
            self.texts.note(story.key, !is_whole);
        }
    }

    /// What is asked of every other gateway.
    pub(super) fn checks(&self) -> [Check; 3] {
        [
            self.owners.none("answers of another request == 0"),
            self.texts
                .none("answers with another text than their upstream's == 0"),
            self.wasted(),
        ]
    }

    fn kind(&self, attempt: &Attempt) -> Kind {
        let only_delays = |fault: u16| self.delays.get(usize::from(fault)) == Some(&true);
        match attempt.fault {
            _ if attempt.drift != Drift::NONE => Kind::Odd,
            None => Kind::Plain,
            Some(fault) if only_delays(fault) => Kind::Late,
            Some(_) => Kind::Odd,
        }
    }

    /// The tokens that upstreams state of their answers to this request; none at all where one of them may have sent something else.
    fn stated<'s>(&self, story: &'s Story) -> impl Iterator<Item = u32> + use<'s> {
        let are_whole = successes(story).all(|a| self.kind(a) != Kind::Odd);
        let usages = successes(story).filter_map(move |a| a.usage.filter(|_| are_whole));
        usages.map(|usage| usage.completion_tokens)
    }

    /// A version whose answers nobody gets is tried for nothing, and looks as if it were in use. Who loses patience just as late
    /// answers come loses many of them: of those, nobody can tell.
    fn wasted(&self) -> Check {
        let plain = worst(&self.kept, Status::Fail);
        let late = worst(&self.late, Status::Inconclusive);
        match plain.status {
            Status::Pass if late.status != Status::Pass => late,
            _ => plain,
        }
    }
}

/// Of the version with the largest share of answers that were thrown away; with this status, if they are too many.
fn worst(tallies: &BTreeMap<VersionId, Tally>, if_too_many: Status) -> Check {
    let condition = "a version's answers that were thrown away to ask again <= 1 %";
    let share = |tally: &&Tally| tally.guilty as f64 / tally.n.max(1) as f64;
    let worst = tallies
        .values()
        .max_by(|a, b| share(a).total_cmp(&share(b)));
    let Some(worst) = worst else {
        return check(condition, 0, 0, Status::Pass);
    };
    let is_too_many = worst.guilty > FEW && worst.guilty * LOST_IN > worst.n;
    let status = match is_too_many {
        true => if_too_many,
        false => Status::Pass,
    };
    check(condition, worst.guilty, worst.n, status).offenders(worst.offenders.keys())
}

fn successes(story: &Story) -> impl Iterator<Item = &Attempt> + Clone {
    let success = |a: &&Attempt| a.outcome.is_some_and(Outcome::is_success);
    story.attempts.iter().filter(success)
}

fn is_whole(text: Text, stated: u32) -> bool {
    match text {
        Text::Tokens(tokens) => tokens.min(MOST_WORDS) == stated.min(MOST_WORDS),
        Text::Altered => false,
    }
}
