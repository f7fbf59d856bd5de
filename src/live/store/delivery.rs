//! Takes letters about rollbacks to their receivers, until each has said that it got its own.
//!
//! A receiver gets a letter once. Only if the process dies between the receiver's word and its
//! being written down, it gets the same letter again, with the same `idempotency-key`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::live::clock::{Clock, unix_now};
use crate::time::Timestamp;

use super::State;
use super::mail::Letter;
use super::post::{Post, label};

/// How long is waited before a letter is tried again, and until when.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// The first wait. Each further one is twice as long.
    pub base: Duration,
    /// No wait is longer.
    pub longest: Duration,
    /// A letter that is older than this is given up.
    pub until: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            base: Duration::from_secs(1),
            longest: Duration::from_secs(300),
            until: Duration::from_secs(86_400),
        }
    }
}

impl Patience {
    /// The wait after so many tries that failed.
    pub fn wait(self, failed: u64) -> Duration {
        let doublings = u32::try_from(failed.saturating_sub(1)).unwrap_or(u32::MAX);
        let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.longest)
    }
}

/// Delivers letters.
#[derive(Debug)]
pub struct Delivery {
    state: Arc<State>,
    post: Post,
    clock: Clock,
    patience: Patience,
    /// Letters that are under way, or wait for their next try, by their numbers.
    known: BTreeMap<i64, Stage>,
    underway: JoinSet<(Letter, Result<(), String>)>,
    /// When the outbox is read again that could not be.
    look_again: Option<Timestamp>,
}

/// Where a letter is.
#[derive(Debug)]
enum Stage {
    Underway,
    /// To be tried again then.
    Waits(Timestamp),
    /// How it ended could not be written; that is tried again then.
    Unwritten(Timestamp, Result<(), String>),
}

impl Delivery {
    /// A delivery of what is in the state's outbox.
    pub fn new(state: Arc<State>, post: Post, clock: Clock, patience: Patience) -> Self {
        Self {
            state,
            post,
            clock,
            patience,
            known: BTreeMap::new(),
            underway: JoinSet::new(),
            look_again: None,
        }
    }

    /// Delivers for ever. `letters` is rung when there are new ones.
    pub async fn run(mut self, letters: Arc<Notify>) {
        loop {
            self.send_due();
            let next = self.next();
            tokio::select! {
                () = letters.notified() => {}
                () = self.clock.sleep_until(next) => {}
                Some(done) = self.underway.join_next() => {
                    if let Ok((letter, ended)) = done {
                        self.ended(&letter, ended);
                    }
                }
            }
        }
    }

    /// Sends what is due.
    fn send_due(&mut self) {
        let now = self.clock.now();
        let letters = self.state.pending_letters();
        self.look_again = letters.is_err().then(|| now + self.patience.longest);
        for letter in letters.unwrap_or_default() {
            match self.known.remove(&letter.seq) {
                None => self.send(letter),
                Some(Stage::Waits(at)) if at <= now => self.send(letter),
                Some(Stage::Unwritten(at, ended)) if at <= now => self.ended(&letter, ended),
                Some(stage) => {
                    self.known.insert(letter.seq, stage);
                }
            }
        }
    }

    fn send(&mut self, letter: Letter) {
        self.known.insert(letter.seq, Stage::Underway);
        let post = self.post.clone();
        self.underway.spawn(async move {
            let ended = post.send(&letter).await;
            (letter, ended)
        });
    }

    /// A try ended.
    fn ended(&mut self, letter: &Letter, ended: Result<(), String>) {
        let error = ended.as_ref().err().map(String::as_str);
        let is_over = error.is_some() && self.is_too_old(letter);
        let again_at = self.clock.now() + self.patience.wait(letter.attempts + 1);
        if self.state.note_letter(letter.seq, error, is_over).is_err() {
            let stage = Stage::Unwritten(again_at, ended);
            self.known.insert(letter.seq, stage);
            return;
        }
        self.known.remove(&letter.seq);
        tell(letter, error, is_over);
        if error.is_some() && !is_over {
            self.known.insert(letter.seq, Stage::Waits(again_at));
        }
    }

    fn is_too_old(&self, letter: &Letter) -> bool {
        let written = letter.unix_ms.map(Duration::from_millis);
        written.is_some_and(|written| unix_now().saturating_sub(written) >= self.patience.until)
    }

    /// When something is due by itself.
    fn next(&self) -> Timestamp {
        let times = self.known.values().filter_map(|stage| match stage {
            Stage::Underway => None,
            Stage::Waits(at) | Stage::Unwritten(at, _) => Some(*at),
        });
        // While nothing can be read, nothing is due; a state that is open again rings.
        let soonest = times.min().unwrap_or(Timestamp::MAX);
        self.look_again.unwrap_or(soonest)
    }
}

fn tell(letter: &Letter, error: Option<&str>, is_over: bool) {
    let (id, to) = (&letter.rollback_id, label(&letter.receiver.entry));
    let kind = letter.receiver.kind.name();
    match error {
        None => tracing::info!("{kind} {to} was told of rollback {id}"),
        Some(error) if is_over => {
            tracing::error!("{kind} {to} was never told of rollback {id}: {error}; given up");
        }
        Some(error) if letter.attempts == 0 => {
            tracing::warn!("{kind} {to} was not told of rollback {id}: {error}; trying again");
        }
        Some(_) => {}
    }
}
