//! What survives a restart: one SQLite file with the release, its checkpoints, its rollbacks, their
//! history, and the letters about them.
//!
//! [`State`] is the file, whether it can be used or not; [`writer`] has the core's changes written,
//! [`delivery`] takes the letters to their receivers. One process uses a file at a time.

pub mod beginning;
pub mod commit;
pub mod delivery;
pub mod error;
pub mod last_words;
pub mod load;
pub mod mail;
pub mod post;
pub mod receivers;
pub mod schema;
pub mod writer;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use crate::router::deployment::{Change, Checkpoint, Deployment, HistoryEntry};
use crate::router::io::Rollback;

use error::{StoreError, Trouble};
use mail::{Letter, Told};

/// Where the state is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this file.
    File(PathBuf),
    /// Nowhere: it ends with the process.
    Memory,
}

impl Place {
    fn path(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Memory => Path::new(":memory:"),
        }
    }
}

/// The state, shared by everybody in the process who writes or reads it.
#[derive(Debug)]
pub struct State {
    place: Place,
    /// None while the file cannot be used.
    open: Mutex<Option<Open>>,
}

/// An open file.
#[derive(Debug)]
struct Open {
    connection: Connection,
    /// Which file it is, whatever its path leads to meanwhile.
    identity: Option<(u64, u64)>,
}

impl State {
    /// A state that is not open yet.
    pub fn at(place: Place) -> Self {
        Self {
            place,
            open: Mutex::new(None),
        }
    }

    /// Opens the file, unless it is open, and reads the release that is kept there; none when nothing
    /// is.
    ///
    /// # Errors
    /// When it cannot be opened or read; it is closed then.
    pub fn open(&self) -> Result<Option<Deployment>, StoreError> {
        let mut slot = self.lock();
        let open = match slot.take() {
            Some(open) => open,
            None => self.open_file()?,
        };
        let kept = load::deployment(&open.connection).map_err(|error| self.unreadable(&error))?;
        *slot = Some(open);
        Ok(kept)
    }

    /// Is it open?
    pub fn is_open(&self) -> bool {
        self.lock().is_some()
    }

    /// Writes a change: all of it or nothing. It survives whatever happens after.
    ///
    /// # Errors
    /// When it cannot be written. A file that was open and went away is made anew.
    pub fn commit(&self, change: &Change) -> Result<(), StoreError> {
        let mut slot = self.lock();
        let mut open = match slot.take() {
            Some(open) => open,
            None => self.open_file()?,
        };
        if open.identity != identity(&self.place) {
            // What is written there nobody would ever read.
            return Err(StoreError::new(self.place.path(), Trouble::Gone));
        }
        let written = commit::commit(&mut open.connection, change);
        *slot = Some(open);
        written.map_err(|error| self.wrap(&error))
    }

    /// Does the path lead to another file than the open one, or to none?
    pub fn is_gone(&self) -> bool {
        let slot = self.lock();
        let is_gone = |open: &Open| open.identity != identity(&self.place);
        slot.as_ref().is_some_and(is_gone)
    }

    /// Closes the file: everything is in it afterwards, and nothing in the log beside it.
    ///
    /// # Errors
    /// When the log cannot be taken over. What is in it is kept, as long as it stays beside the file.
    pub fn close(&self) -> Result<(), StoreError> {
        let Some(Open { connection, .. }) = self.lock().take() else {
            return Ok(());
        };
        let into_one = "PRAGMA wal_checkpoint(TRUNCATE)";
        let taken_over = connection.query_row(into_one, [], |_| Ok(()));
        let closed = connection.close().map_err(|(_, error)| error);
        taken_over.and(closed).map_err(|error| self.wrap(&error))
    }

    /// The newest lines of the history, newest first.
    ///
    /// # Errors
    /// When the file cannot be read, as for all readers.
    pub fn history(&self, limit: u32) -> Result<Vec<HistoryEntry>, StoreError> {
        self.read(|connection| load::history(connection, limit))
    }

    /// The checkpoints, oldest first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn checkpoints(&self) -> Result<Vec<Checkpoint>, StoreError> {
        let kept = self.read(load::deployment)?;
        Ok(kept.map(|kept| kept.checkpoints).unwrap_or_default())
    }

    /// The records of all rollbacks, newest first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn rollbacks(&self) -> Result<Vec<Rollback>, StoreError> {
        self.read(load::rollbacks)
    }

    /// Who knows of a rollback.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn told(&self, rollback_id: &str) -> Result<Told, StoreError> {
        self.read(|connection| mail::told(connection, rollback_id))
    }

    /// Letters that are to be delivered, oldest first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn pending_letters(&self) -> Result<Vec<Letter>, StoreError> {
        self.read(mail::pending)
    }

    /// Notes how an attempt to deliver a letter ended: well when there is no `error`, and for good
    /// when it `is_over`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn note_letter(
        &self,
        seq: i64,
        error: Option<&str>,
        is_over: bool,
    ) -> Result<(), StoreError> {
        self.read(|connection| mail::note(connection, seq, error, is_over))
    }

    fn read<T>(
        &self,
        what: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        match &*self.lock() {
            Some(open) => what(&open.connection).map_err(|error| self.wrap(&error)),
            None => Err(StoreError::new(self.place.path(), Trouble::NotOpen)),
        }
    }

    fn open_file(&self) -> Result<Open, StoreError> {
        let connection = match &self.place {
            Place::File(path) => schema::open(path)?,
            Place::Memory => schema::in_memory()?,
        };
        Ok(Open {
            connection,
            identity: identity(&self.place),
        })
    }

    fn wrap(&self, error: &rusqlite::Error) -> StoreError {
        StoreError::sqlite(self.place.path(), error)
    }

    /// A release that cannot be read is no other trouble than a damaged file.
    fn unreadable(&self, error: &rusqlite::Error) -> StoreError {
        match error {
            rusqlite::Error::FromSqlConversionFailure(..) => {
                let trouble = Trouble::Corrupt(error.to_string());
                StoreError::new(self.place.path(), trouble)
            }
            error => self.wrap(error),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        // Whoever panicked meanwhile has left a transaction at most, which is undone.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which file a path leads to; none in memory, and where files have no numbers.
#[cfg(unix)]
fn identity(place: &Place) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let Place::File(path) = place else {
        return None;
    };
    let file = fs::metadata(path).ok()?;
    Some((file.dev(), file.ino()))
}

#[cfg(not(unix))]
fn identity(_: &Place) -> Option<(u64, u64)> {
    None
}
