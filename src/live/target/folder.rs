//! The folder in which a gateway runs: a temporary one that only its owner may enter, and that goes with the gateway.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::live::clock;

/// A temporary folder, which is removed when dropped.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// A new one, whose name nobody could guess before.
    ///
    /// # Errors
    /// When there is no room for it.
    pub(super) fn new() -> io::Result<Self> {
        // A gateway is somewhere else than graygate, and would look for a relative path there.
        let all = std::path::absolute(std::env::temp_dir())?;
        let path = all.join(format!("graygate-{}", clock::secret_word()));
        // A folder that is there already is an error: it is somebody else's.
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file into it.
    ///
    /// # Errors
    /// When the system does not let it.
    pub(super) fn write(&self, name: &str, text: &str) -> io::Result<()> {
        fs::write(self.0.join(name), text)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, folder = %self.0.display(), "the gateway's folder stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_is_nobody_else_s_and_goes_with_all_that_is_in_it() {
        let folder = Folder::new().expect("a folder");
        let path = folder.path().to_owned();
        let mode = fs::metadata(&path).expect("it is there").permissions();
        assert_eq!(mode.mode() & 0o777, 0o700);
        folder.write("a.yaml", "b").expect("a file");
        assert_eq!(fs::read_to_string(path.join("a.yaml")).unwrap(), "b");
        drop(folder);
        assert!(!path.exists());
    }
}
