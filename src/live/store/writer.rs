//! The thread that has the core's changes written, one after the other.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};

use tokio::sync::Notify;

use crate::live::gateway::driver::Driver;
use crate::router::deployment::Change;
use crate::router::io::Input;

use super::State;
use super::error::{StoreError, Trouble};
use super::last_words::Unkept;

/// What to do about what is lost.
const AGAIN: &str = "before the next start, make the state file usable, and give the canary no weight in \
                     the router file, or ask for the rollback again after it";

/// Writes changes and says whether they are.
pub struct Writer {
    state: Arc<State>,
    /// Is it known what an earlier process kept? Until then nothing is written over it.
    is_known: bool,
    /// What was said last about a trouble: it is said once, not once a try.
    said: Option<Trouble>,
    /// What is to be written once more at the end.
    unkept: Unkept,
    /// Rung when there are letters.
    letters: Arc<Notify>,
}

impl Writer {
    /// A writer. `trouble` is why the state could not be opened at the start, and was said already.
    pub fn new(state: Arc<State>, letters: Arc<Notify>, trouble: Option<&StoreError>) -> Self {
        Self {
            state,
            is_known: trouble.is_none(),
            said: trouble.map(|error| error.trouble.clone()),
            unkept: Unkept::default(),
            letters,
        }
    }

    /// Starts the thread. It ends with the driver's store; then it says whether everything is kept.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(
        mut self,
        changes: Receiver<(u64, Box<Change>)>,
        driver: &Arc<Driver>,
    ) -> std::io::Result<Receiver<bool>> {
        // The driver holds the other end of `changes`: the two must not keep each other alive.
        let driver = Arc::downgrade(driver);
        let (over, is_kept): (Sender<bool>, _) = channel();
        let work = move || {
            for (op, change) in changes {
                let answers = self.handle(op, &change);
                answer(&driver, answers);
            }
            // Nobody may want to know.
            let _ = over.send(self.finish());
        };
        std::thread::Builder::new()
            .name("state".to_owned())
            .spawn(work)?;
        Ok(is_kept)
    }

    /// Writes a change; returns what the core is to be told.
    pub fn handle(&mut self, op: u64, change: &Change) -> Vec<Input> {
        if !self.is_known {
            return self.look(op);
        }
        let written = self.state.commit(change);
        let ok = self.note(written).is_some();
        self.unkept.note(change, ok);
        if ok && change.rollback.is_some() {
            self.letters.notify_one();
        }
        vec![Input::Persisted { op, ok }]
    }

    /// Tries to find out what was kept. The change is of a release that was made up until then, and
    /// is never written.
    fn look(&mut self, op: u64) -> Vec<Input> {
        let opened = self.state.open();
        let found = self.note(opened).map(|kept| {
            self.is_known = true;
            self.letters.notify_one();
            let checkpoints = kept.as_ref().map(|kept| kept.checkpoints.clone());
            Input::Found {
                checkpoints: checkpoints.unwrap_or_default(),
                kept: kept.map(Box::new),
            }
        });
        let refused = Input::Persisted { op, ok: false };
        found.into_iter().chain([refused]).collect()
    }

    /// Writes what could not be written before, for the last time, and closes the file. Returns whether
    /// everything is kept; what is lost is said.
    pub fn finish(&mut self) -> bool {
        let is_kept = match self.is_known {
            true => self.write_the_rest(),
            false => self.never_known(),
        };
        if let Err(error) = self.state.close() {
            tracing::warn!(
                "{error}\n   = note: keep the -wal file beside it: it holds what is kept"
            );
        }
        is_kept
    }

    fn write_the_rest(&self) -> bool {
        let is_failing = self.said.is_some() || self.state.is_gone();
        let mut is_kept = true;
        for change in self.unkept.rest(is_failing) {
            // The first try finds out that the file is gone, the next one makes it anew.
            let once = || self.state.commit(&change);
            if let Err(error) = once().or_else(|_| once()) {
                let what = Unkept::describe(&change);
                tracing::error!("{error}\n   = note: {what} is lost: {AGAIN}");
                is_kept = false;
            }
        }
        is_kept
    }

    fn never_known(&self) -> bool {
        let why = match self.state.open() {
            Ok(_) => "the state file can be used only now".to_owned(),
            Err(error) => error.to_string(),
        };
        tracing::error!(
            "{why}\n   = note: it was never known what is kept, and nothing was: a rollback that was \
             asked for meanwhile is lost: {AGAIN}"
        );
        false
    }

    /// Says what there is to say of a try.
    fn note<T>(&mut self, tried: Result<T, StoreError>) -> Option<T> {
        match tried {
            Ok(done) => {
                if self.said.take().is_some() {
                    tracing::warn!("the state file can be used again");
                }
                Some(done)
            }
            Err(error) => {
                if self.said.as_ref() != Some(&error.trouble) {
                    tracing::error!("{error}\n   = note: the canary gets nothing until it can");
                }
                self.said = Some(error.trouble);
                None
            }
        }
    }
}

fn answer(driver: &Weak<Driver>, answers: Vec<Input>) {
    if let Some(driver) = driver.upgrade() {
        driver.input(answers);
    }
}
