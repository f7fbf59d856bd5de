//! Reading the files of a scenario, within limits and with clear errors.

use std::cell::RefCell;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use crate::canonical;
use crate::config::diagnostic::{Diagnostic, Source};
use crate::config::fields::Cx;
use crate::config::node::Node;
use crate::config::yaml;

/// Reads files, remembers their contents for the scenario's fingerprint.
#[derive(Debug, Default)]
pub struct Loader {
    contents: RefCell<Vec<Vec<u8>>>,
}

impl Loader {
    /// The text of a YAML file.
    ///
    /// # Errors
    /// When it cannot be read, is too large, or is no UTF-8 text.
    pub fn yaml(&self, path: &Path) -> Result<Source, Diagnostic> {
        let bytes = self.bytes(path, yaml::MAX_BYTES)?;
        let name = path.display().to_string();
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Source::new(name, text)),
            Err(_) => Err(Diagnostic::file(name, "the file is not UTF-8 text")),
        }
    }

    /// The bytes of a file of at most `limit` bytes.
    ///
    /// # Errors
    /// When it cannot be read or is larger.
    pub fn bytes(&self, path: &Path, limit: usize) -> Result<Vec<u8>, Diagnostic> {
        let file = self.open(path)?;
        let mut bytes = Vec::new();
        let read = file.take(limit as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|e| cannot_read(path, &e))?;
        if bytes.len() > limit {
            let mib = limit >> 20;
            let message = format!("the file is larger than {mib} MiB");
            return Err(Diagnostic::file(path.display().to_string(), message));
        }
        self.contents.borrow_mut().push(bytes.clone());
        Ok(bytes)
    }

    /// A file for reading, however large.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(&self, path: &Path) -> Result<BufReader<File>, Diagnostic> {
        let file = File::open(path).map_err(|e| cannot_read(path, &e))?;
        // Opening a folder succeeds on Unix; reading it then fails with words that help nobody.
        match file.metadata() {
            Ok(meta) if meta.is_dir() => {
                let name = path.display().to_string();
                Err(Diagnostic::file(name, "this is a folder, not a file"))
            }
            _ => Ok(BufReader::with_capacity(1 << 16, file)),
        }
    }

    /// Notes contents that were read as a stream, by their own fingerprint.
    pub fn note(&self, fingerprint: Vec<u8>) {
        self.contents.borrow_mut().push(fingerprint);
    }

    /// The SHA-256 over everything read so far, in order.
    pub fn sha256(&self) -> String {
        let contents = self.contents.borrow();
        canonical::sha256_of_files(contents.iter().map(Vec::as_slice))
    }
}

fn cannot_read(path: &Path, error: &std::io::Error) -> Diagnostic {
    let name = path.display().to_string();
    let diagnostic = Diagnostic::file(name, format!("cannot read the file: {error}"));
    if error.kind() == std::io::ErrorKind::NotFound && path.is_relative() {
        diagnostic.hint("this path is relative to the folder that graygate was started in")
    } else {
        diagnostic
    }
}

/// Says of a file that cannot be read where another file names it: that is where the mistake is.
pub fn named_here(cx: Cx<'_>, node: &Node, unreadable: Diagnostic) -> Diagnostic {
    let message = format!("{}: {}", unreadable.file, unreadable.message);
    let beside = "paths in a file are relative to the folder of that file";
    Diagnostic {
        hint: unreadable.hint.map(|_| beside.to_owned()),
        ..cx.at(node.place, message)
    }
}

/// A path written in a file: relative to the folder of that file.
pub fn beside(file: &Path, path: &str) -> PathBuf {
    match file.parent() {
        Some(folder) => folder.join(path),
        None => PathBuf::from(path),
    }
}
