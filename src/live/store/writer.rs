//! The thread that has the core's changes written, one after the other.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};

use tokio::sync::Notify;

use crate::live::gateway::driver::Driver;
use crate::router::deployment::Change;
use crate::router::io::Input;

use super::State;
use super::error::{StoreError, Trouble};

/// Writes changes and says whether they are.
pub struct Writer {
    state: Arc<State>,
    /// Is it known what an earlier process kept? Until then nothing is written over it.
    is_known: bool,
    /// What was said last about a trouble: it is said once, not once a try.
    said: Option<Trouble>,
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
            letters,
        }
    }

    /// Starts the thread. It ends with the driver; then what is returned is hung up.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(
        mut self,
        changes: Receiver<(u64, Box<Change>)>,
        driver: &Arc<Driver>,
    ) -> std::io::Result<Receiver<()>> {
        // The driver holds the other end of `changes`: the two must not keep each other alive.
        let driver = Arc::downgrade(driver);
        let (alive, over) = channel();
        let work = move || {
            // Dropped at the end of the thread, however it ends.
            let _alive: Sender<()> = alive;
            for (op, change) in changes {
                let answers = self.handle(op, &change);
                answer(&driver, answers);
            }
        };
        std::thread::Builder::new()
            .name("state".to_owned())
            .spawn(work)?;
        Ok(over)
    }

    /// Writes a change; returns what the core is to be told.
    pub fn handle(&mut self, op: u64, change: &Change) -> Vec<Input> {
        if !self.is_known {
            return self.look(op);
        }
        let written = self.state.commit(change);
        let ok = self.note(written).is_some();
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
