//! Why a state file cannot be used: the file, the cause, and what to do about it.

use std::fmt;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why a state file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError {
    /// The file.
    pub path: PathBuf,
    /// The cause.
    pub trouble: Trouble,
}

/// The cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Another process has it.
    Locked,
    /// It may not be written.
    ReadOnly,
    /// The disk is full.
    Full,
    /// The folder, or the file in it, cannot be opened.
    CannotOpen,
    /// It is another kind of file.
    NotADatabase,
    /// It is a database of another program.
    Foreign,
    /// It is damaged.
    Corrupt(String),
    /// A newer graygate wrote it.
    Newer(i64),
    /// It was moved or deleted while in use.
    Gone,
    /// It has not been opened yet.
    NotOpen,
    /// Anything else that SQLite or the system says.
    Other(String),
}

impl StoreError {
    /// A cause, with its file.
    pub fn new(path: &Path, trouble: Trouble) -> Self {
        Self {
            path: path.to_owned(),
            trouble,
        }
    }

    /// What SQLite says about a file.
    pub fn sqlite(path: &Path, error: &rusqlite::Error) -> Self {
        Self::new(path, Trouble::of(error))
    }
}

impl Trouble {
    fn of(error: &rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked,
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Self::ReadOnly,
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::CannotOpen) => Self::CannotOpen,
            Some(ErrorCode::NotADatabase) => Self::NotADatabase,
            Some(ErrorCode::DatabaseCorrupt) => Self::Corrupt(error.to_string()),
            _ => Self::Other(error.to_string()),
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Locked => {
                "stop the other gateway, or give each a file of its own with --state FILE"
            }
            Self::ReadOnly => "let this user write the file and its folder, or choose --state FILE",
            Self::Full => "make room on the disk: it is tried again by itself",
            Self::CannotOpen => "choose a file in a folder you may write to with --state FILE",
            Self::NotADatabase | Self::Foreign => "choose another file with --state FILE",
            Self::Corrupt(_) => {
                "put a good copy in its place, or move it away to begin anew: then what was rolled \
                 back is forgotten"
            }
            Self::Newer(_) => {
                "use that version of graygate, or choose another file with --state FILE"
            }
            Self::Gone => "leave the file where it is while the gateway runs",
            Self::NotOpen => "see the log for why it could not be opened",
            Self::Other(_) => "look at the disk and the file's rights: it is tried again by itself",
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked => f.write_str("another process is using it"),
            Self::ReadOnly => f.write_str("it may not be written"),
            Self::Full => f.write_str("the disk is full"),
            Self::CannotOpen => f.write_str("it cannot be opened"),
            Self::NotADatabase => f.write_str("it is no state file of graygate"),
            Self::Foreign => {
                f.write_str("it is another program's database, not a graygate state file")
            }
            Self::Corrupt(what) => write!(f, "it is damaged ({what})"),
            Self::Newer(version) => {
                write!(f, "a newer graygate wrote it (its format is {version})")
            }
            Self::Gone => f.write_str("it was moved or deleted"),
            Self::NotOpen => f.write_str("it is not open"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, trouble) = (self.path.display(), &self.trouble);
        write!(f, "the state file {path} cannot be used: {trouble}")?;
        write!(f, "\n   = hint: {}", trouble.hint())
    }
}

impl std::error::Error for StoreError {}

#[cfg(test)]
mod tests {
    use rusqlite::{Error, ffi};

    use super::*;

    #[test]
    fn what_sqlite_says_becomes_a_cause_with_a_way_out() {
        let cases = [
            (ffi::SQLITE_FULL, "the disk is full", "make room"),
            (
                ffi::SQLITE_BUSY,
                "another process is using it",
                "stop the other gateway",
            ),
            (
                ffi::SQLITE_READONLY,
                "it may not be written",
                "let this user write",
            ),
            (
                ffi::SQLITE_CANTOPEN,
                "it cannot be opened",
                "choose a file in a folder",
            ),
            (
                ffi::SQLITE_NOTADB,
                "no state file of graygate",
                "choose another file",
            ),
            (
                ffi::SQLITE_CORRUPT,
                "it is damaged",
                "put a good copy in its place",
            ),
            (ffi::SQLITE_IOERR, "disk I/O error", "look at the disk"),
        ];
        for (code, cause, hint) in cases {
            let error = Error::SqliteFailure(ffi::Error::new(code), None);
            let said = StoreError::sqlite(Path::new("/var/state.db"), &error).to_string();
            assert!(
                said.contains("/var/state.db") && said.contains(cause),
                "{said}"
            );
            assert!(said.contains(&format!("= hint: {hint}")), "{said}");
        }
    }
}
