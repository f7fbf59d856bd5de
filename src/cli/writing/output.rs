//! Where a log is written: to stdout, or aside of its place until it is whole.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write, stdout};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A place to write to.
#[derive(Debug)]
pub(in crate::cli) enum Output {
    /// What stands behind this program in a pipe.
    Stdout,
    /// A device or a pipe with a name: there is nothing to be replaced.
    Direct(File),
    /// A file.
    Aside(Aside),
}

impl Output {
    /// Opens it, so that what cannot be written is found out before any work.
    pub(in crate::cli) fn open(path: Option<&Path>) -> io::Result<Self> {
        let Some(path) = path else {
            return Ok(Self::Stdout);
        };
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            Ok(meta) if meta.is_file() => {
                // It is replaced, but only where it might be written.
                OpenOptions::new().write(true).open(path)?;
                // Behind a link it is the file that is replaced.
                Aside::of(fs::canonicalize(path)?, Some(&meta)).map(Self::Aside)
            }
            Ok(_) => Ok(Self::Direct(OpenOptions::new().write(true).open(path)?)),
            Err(_) => Aside::of(path.to_owned(), None).map(Self::Aside),
        }
    }

    /// Where lines go.
    pub(in crate::cli) fn writer(&self) -> io::Result<Box<dyn Write + Send>> {
        Ok(match self {
            Self::Stdout => Box::new(stdout()),
            Self::Direct(file) | Self::Aside(Aside { file, .. }) => Box::new(file.try_clone()?),
        })
    }

    /// Puts the whole log in its place. What is dropped before that leaves nothing.
    pub(in crate::cli) fn finish(self) -> io::Result<()> {
        match self {
            Self::Stdout | Self::Direct(_) => Ok(()),
            Self::Aside(aside) => {
                aside.file.sync_all()?;
                fs::rename(&aside.path, &aside.place)
            }
        }
    }
}

/// A file that is not in its place yet. Dropped, it is gone.
#[derive(Debug)]
pub(in crate::cli) struct Aside {
    file: File,
    path: PathBuf,
    place: PathBuf,
}

impl Aside {
    fn of(place: PathBuf, old: Option<&Metadata>) -> io::Result<Self> {
        let Some(name) = place.file_name() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let name = format!(".{}.{}.part", name.to_string_lossy(), std::process::id());
        let path = place.with_file_name(name);
        let file = File::create_new(&path)?;
        let aside = Self { file, path, place };
        if let Some(old) = old {
            aside.file.set_permissions(old.permissions())?;
        }
        Ok(aside)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // In its place it has this name no more.
        let _ = fs::remove_file(&self.path);
    }
}

/// Would a log be written onto itself? Through a link, or by the shell (`>>`), too.
pub(in crate::cli) fn is_same(log: &Path, out: Option<&Path>) -> bool {
    let written = match out {
        Some(path) => fs::metadata(path),
        None => own_stdout(),
    };
    let (Ok(read), Ok(written)) = (fs::metadata(log), written) else {
        return false;
    };
    let place = |meta: &Metadata| (meta.dev(), meta.ino());
    read.is_file() && place(&read) == place(&written)
}

fn own_stdout() -> io::Result<Metadata> {
    File::from(stdout().as_fd().try_clone_to_owned()?).metadata()
}
