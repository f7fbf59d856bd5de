//! The folder of a run: written aside, and put in its place when it is complete.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

/// A folder that is being filled.
#[derive(Debug)]
pub struct RunDir {
    aside: PathBuf,
    place: PathBuf,
    is_done: bool,
}

/// Why a file or folder could not be written.
#[derive(Debug)]
pub struct OutputError {
    path: PathBuf,
    error: io::Error,
    /// Is it part of a run's folder, which `--out` moves elsewhere?
    is_in_run_dir: bool,
}

impl OutputError {
    /// An error with the path in a run's folder that it is about.
    pub fn new(path: &Path, error: io::Error) -> Self {
        Self {
            path: path.to_owned(),
            error,
            is_in_run_dir: true,
        }
    }

    /// An error with the path of a file that has an option of its own.
    pub fn file(path: &Path, error: io::Error) -> Self {
        Self {
            is_in_run_dir: false,
            ..Self::new(path, error)
        }
    }
}

impl fmt::Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot write {}: {}", self.path.display(), self.error)?;
        if !self.is_in_run_dir {
            return Ok(());
        }
        let remedy = match self.error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                "choose a folder you may write to with --out DIR"
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "make room, choose another disk with --out DIR, or keep fewer rows with \
                 --records failures"
            }
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
                "a file stands where a folder is needed: choose another one with --out DIR"
            }
            _ => "choose another folder with --out DIR",
        };
        write!(f, "\n   = hint: {remedy}")
    }
}

impl std::error::Error for OutputError {}

impl RunDir {
    /// Makes the folder `out/<scenario>/<run>`, aside of its place until [`finish`](Self::finish).
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(out: &Path, scenario: &str, run: &str) -> Result<Self, OutputError> {
        let parent = out.join(scenario);
        fs::create_dir_all(&parent).map_err(|e| OutputError::new(&parent, e))?;
        let aside = parent.join(format!(".{run}.{}.part", std::process::id()));
        // What an earlier process of the same number left behind.
        let _ = fs::remove_dir_all(&aside);
        fs::create_dir(&aside).map_err(|e| OutputError::new(&aside, e))?;
        Ok(Self {
            aside,
            place: parent.join(run),
            is_done: false,
        })
    }

    /// Can a folder of a run be made there? Asked before hours of work whose result would have no place.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn check(out: &Path, scenario: &str) -> Result<(), OutputError> {
        Self::create(out, scenario, "check").map(drop)
    }

    /// Opens a file of the run for writing.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn file(&self, name: &str) -> Result<BufWriter<File>, OutputError> {
        let path = self.aside.join(name);
        let file = File::create(&path).map_err(|e| OutputError::new(&path, e))?;
        Ok(BufWriter::with_capacity(1 << 16, file))
    }

    /// Writes a whole file of the run.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<(), OutputError> {
        let path = self.aside.join(name);
        fs::write(&path, content).map_err(|e| OutputError::new(&path, e))
    }

    /// The path of a file of the run, for messages.
    pub fn path(&self, name: &str) -> PathBuf {
        self.aside.join(name)
    }

    /// Puts the folder beside its place, under a name that says that it is not whole: a complete
    /// report of an earlier run stays.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn finish_interrupted(mut self) -> Result<PathBuf, OutputError> {
        let mut name = self.place.file_name().unwrap_or_default().to_owned();
        name.push("-interrupted");
        self.place.set_file_name(name);
        self.finish()
    }

    /// Puts the folder in its place; an older one of the same name is replaced.
    ///
    /// # Errors
    /// When that fails; the folder then stays aside.
    pub fn finish(mut self) -> Result<PathBuf, OutputError> {
        let wrap = |error| OutputError::new(&self.place, error);
        if self.place.exists() {
            exchange(&self.aside, &self.place).map_err(wrap)?;
            // What stands aside now is the old one.
            let _ = fs::remove_dir_all(&self.aside);
        } else {
            fs::rename(&self.aside, &self.place).map_err(wrap)?;
        }
        self.is_done = true;
        Ok(self.place.clone())
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        if !self.is_done {
            let _ = fs::remove_dir_all(&self.aside);
        }
    }
}

/// Swaps two folders in one step, so that a reader sees the old or the new one, never none.
#[cfg(target_os = "linux")]
fn exchange(a: &Path, b: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        // Some file systems cannot: then in two steps.
        Err(_) => replace(a, b),
    }
}

#[cfg(not(target_os = "linux"))]
fn exchange(a: &Path, b: &Path) -> io::Result<()> {
    replace(a, b)
}

fn replace(new: &Path, place: &Path) -> io::Result<()> {
    fs::remove_dir_all(place)?;
    fs::rename(new, place)
}
