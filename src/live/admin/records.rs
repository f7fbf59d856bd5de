//! What is kept of a release, for reading: history, checkpoints, rollbacks.

use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, mpsc};

use crate::live::gateway::driver::{Driver, StoreSender};
use crate::live::store::State;
use crate::live::store::mail::Told;
use crate::router::deployment::{Change, Checkpoint, HistoryEntry};
use crate::router::io::{Input, Rollback};

/// Why records could not be read.
pub type Unreadable = Box<dyn Error + Send + Sync>;

/// Where records are read. Calls may block; they are not made on threads that serve others.
pub trait Records: Send + Sync {
    /// The newest entries of the history, newest first.
    ///
    /// # Errors
    /// When they cannot be read.
    fn history(&self, limit: usize) -> Result<Vec<HistoryEntry>, Unreadable>;

    /// All checkpoints, oldest first.
    ///
    /// # Errors
    /// When they cannot be read.
    fn checkpoints(&self) -> Result<Vec<Checkpoint>, Unreadable>;

    /// The newest rollbacks, newest first.
    ///
    /// # Errors
    /// When they cannot be read.
    fn rollbacks(&self, limit: usize) -> Result<Vec<Rollback>, Unreadable>;

    /// Who was told of a rollback; none where nobody keeps that.
    ///
    /// # Errors
    /// When it cannot be read.
    fn told(&self, rollback_id: &str) -> Result<Option<Told>, Unreadable>;
}

/// Most entries, and most rollbacks, that are kept in memory.
const MOST: usize = 1_000;

/// Records that are gone with the process: for a gateway without a state file, and for tests.
#[derive(Clone, Debug, Default)]
pub struct MemoryRecords(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    history: Vec<HistoryEntry>,
    checkpoints: Vec<Checkpoint>,
    rollbacks: Vec<Rollback>,
}

impl MemoryRecords {
    /// Takes a change in.
    pub fn keep(&self, change: Change) {
        let mut kept = self.lock();
        kept.history.extend(change.entry);
        kept.rollbacks.extend(change.rollback);
        if let Some(checkpoints) = change.checkpoints {
            kept.checkpoints = checkpoints;
        }
        let surplus = kept.history.len().saturating_sub(MOST);
        kept.history.drain(..surplus);
        let surplus = kept.rollbacks.len().saturating_sub(MOST);
        kept.rollbacks.drain(..surplus);
    }

    /// Keeps all changes that come, and says so to their driver, until that is gone.
    pub fn keep_all(&self, changes: &mpsc::Receiver<(u64, Box<Change>)>, driver: &Weak<Driver>) {
        while let Ok((op, change)) = changes.recv() {
            self.keep(*change);
            let Some(driver) = driver.upgrade() else {
                return;
            };
            driver.input([Input::Persisted { op, ok: true }]);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The two ends of the way of changes: for [`Driver::with_store`], and for
/// [`MemoryRecords::keep_all`].
pub fn way() -> (StoreSender, mpsc::Receiver<(u64, Box<Change>)>) {
    mpsc::channel()
}

impl Records for MemoryRecords {
    fn history(&self, limit: usize) -> Result<Vec<HistoryEntry>, Unreadable> {
        let kept = self.lock();
        Ok(kept.history.iter().rev().take(limit).cloned().collect())
    }

    fn checkpoints(&self) -> Result<Vec<Checkpoint>, Unreadable> {
        Ok(self.lock().checkpoints.clone())
    }

    fn rollbacks(&self, limit: usize) -> Result<Vec<Rollback>, Unreadable> {
        let kept = self.lock();
        Ok(kept.rollbacks.iter().rev().take(limit).cloned().collect())
    }

    fn told(&self, _: &str) -> Result<Option<Told>, Unreadable> {
        Ok(None)
    }
}

impl Records for State {
    fn history(&self, limit: usize) -> Result<Vec<HistoryEntry>, Unreadable> {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        Ok(Self::history(self, limit)?)
    }

    fn checkpoints(&self) -> Result<Vec<Checkpoint>, Unreadable> {
        Ok(Self::checkpoints(self)?)
    }

    fn rollbacks(&self, limit: usize) -> Result<Vec<Rollback>, Unreadable> {
        let mut rollbacks = Self::rollbacks(self)?;
        rollbacks.truncate(limit);
        Ok(rollbacks)
    }

    fn told(&self, rollback_id: &str) -> Result<Option<Told>, Unreadable> {
        Ok(Some(Self::told(self, rollback_id)?))
    }
}
