//! The tables of a state file, and how it is opened.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::error::{StoreError, Trouble};

/// The version of the tables. A file of a newer one is refused.
pub const VERSION: i64 = 1;

/// History is only ever added to; the triggers hold everybody to it who opens the file.
const TABLES: &str = "
CREATE TABLE deployment (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    body TEXT NOT NULL,
    sha256 TEXT NOT NULL
);
CREATE TABLE revisions (
    revision INTEGER PRIMARY KEY,
    release INTEGER NOT NULL,
    config TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    unix_ms INTEGER
);
CREATE TABLE checkpoints (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    release INTEGER NOT NULL,
    rolled_back INTEGER NOT NULL,
    unix_ms INTEGER,
    config TEXT NOT NULL,
    sha256 TEXT NOT NULL
);
CREATE TABLE rollbacks (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    record TEXT NOT NULL
);
CREATE TABLE history (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    revision INTEGER NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL,
    unix_ms INTEGER
);
CREATE TRIGGER history_is_not_changed BEFORE UPDATE ON history
BEGIN SELECT RAISE(ABORT, 'history is only added to'); END;
CREATE TRIGGER history_is_not_deleted BEFORE DELETE ON history
BEGIN SELECT RAISE(ABORT, 'history is only added to'); END;
CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    rollback_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    receiver TEXT NOT NULL,
    body TEXT NOT NULL,
    unix_ms INTEGER,
    state TEXT NOT NULL DEFAULT 'pending',
    attempts INTEGER NOT NULL DEFAULT 0,
    last_error TEXT,
    UNIQUE (rollback_id, kind, receiver)
);
";

/// Opens a file, makes its tables, and keeps every other process out.
///
/// What was committed survives the loss of power: the log that SQLite writes ahead is synced at
/// every commit. Where there can be no such log, EXTRA syncs the folder as well, so that the deletion
/// of a journal, which is the commit, is not lost.
pub fn open(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let wrap = |error: rusqlite::Error| StoreError::sqlite(path, &error);
    make_private(path);
    let connection = Connection::open_with_flags(path, flags).map_err(wrap)?;
    prepare(connection, path)
}

/// Makes a file that is not there yet, for its owner alone: addresses of webhooks may be secrets. SQLite
/// gives the files beside it the same rights. What cannot be made here SQLite says more of.
#[cfg(unix)]
fn make_private(path: &Path) {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let _ = options.write(true).create_new(true).mode(0o600).open(path);
}

#[cfg(not(unix))]
fn make_private(_: &Path) {}

/// A state that ends with the process.
pub fn in_memory() -> Result<Connection, StoreError> {
    let path = Path::new(":memory:");
    let connection = Connection::open_in_memory();
    let connection = connection.map_err(|error| StoreError::sqlite(path, &error))?;
    prepare(connection, path)
}

fn prepare(mut connection: Connection, path: &Path) -> Result<Connection, StoreError> {
    let wrap = |error: rusqlite::Error| StoreError::sqlite(path, &error);
    // Another process keeps its lock for as long as it runs: waiting would be in vain.
    connection
        .busy_timeout(std::time::Duration::ZERO)
        .map_err(wrap)?;
    let settings = "PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = EXTRA;
                    PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;";
    connection.execute_batch(settings).map_err(wrap)?;
    // Before anything is written: what is not ours stays as it is.
    if is_foreign(&connection).map_err(wrap)? {
        return Err(StoreError::new(path, Trouble::Foreign));
    }
    connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
        .map_err(wrap)?;
    let found = make_tables(&mut connection).map_err(wrap)?;
    match found {
        0..=VERSION => Ok(connection),
        newer => Err(StoreError::new(path, Trouble::Newer(newer))),
    }
}

/// Is it another program's database? A state file of any version has these tables, a new one has none.
fn is_foreign(connection: &Connection) -> rusqlite::Result<bool> {
    let count = |ours: &str| {
        let sql = format!("SELECT count(*) FROM sqlite_schema WHERE {ours}");
        connection.query_row(&sql, [], |row| row.get::<_, i64>(0))
    };
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let is_ours = match version {
        0 => count("true")? == 0,
        _ => count("type = 'table' AND name IN ('deployment', 'history')")? == 2,
    };
    Ok(!is_ours)
}

/// Makes the tables in a new file; returns the version that was found. The transaction takes the
/// lock, which is then kept.
fn make_tables(connection: &mut Connection) -> rusqlite::Result<i64> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found == 0 {
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()?;
    Ok(found)
}
