//! The readers, and the logs that they are tried with.

use std::io::{BufRead, BufReader, Cursor};
use std::path::Path;
use std::sync::{LazyLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use graygate::traffic::format::{
    BadRow, FORMATS, Format, Head, LogError, Record, detect, named, opened,
};

/// Held by whoever measures the memory of this process.
static MEASURED: RwLock<()> = RwLock::new(());

/// Nobody else reads meanwhile.
pub(crate) fn alone() -> RwLockWriteGuard<'static, ()> {
    MEASURED.write().unwrap_or_else(PoisonError::into_inner)
}

/// Others may read meanwhile, and nobody measures.
fn in_company() -> RwLockReadGuard<'static, ()> {
    MEASURED.read().unwrap_or_else(PoisonError::into_inner)
}

/// A log, and the format that it is of.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) name: String,
    pub(crate) format: &'static Format,
    pub(crate) bytes: Vec<u8>,
}

/// All of `fixtures/logs`.
pub(crate) static LOGS: LazyLock<Vec<Log>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/logs");
    let files = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| log(path)).collect()
});

fn log(path: &Path) -> Log {
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    let bytes = std::fs::read(path).unwrap();
    let format = match name.split_once('.') {
        // Nobody finds this one out.
        Some(("guidellm", _)) => named("guidellm"),
        _ => detect(&Head::new(&bytes)).map(|(format, _)| format),
    };
    let format = format.unwrap_or_else(|| panic!("{name}"));
    Log {
        name,
        format,
        bytes,
    }
}

/// What a reader made of a log.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) records: Vec<Record>,
    pub(crate) bad: Vec<BadRow>,
    /// Why it went no further.
    pub(crate) error: Option<String>,
}

impl Outcome {
    /// What it gave, one way or the other.
    pub(crate) fn rows(&self) -> usize {
        self.records.len() + self.bad.len()
    }
}

pub(crate) fn read(format: &Format, bytes: &[u8]) -> Outcome {
    let _guard = in_company();
    read_from(format, &mut { bytes })
}

/// The same, with buffers of so many bytes.
pub(crate) fn read_by(format: &Format, bytes: &[u8], buffer: usize) -> Outcome {
    let _guard = in_company();
    read_from(format, &mut BufReader::with_capacity(buffer, bytes))
}

fn read_from(format: &Format, reader: &mut dyn BufRead) -> Outcome {
    let (mut records, mut bad) = (Vec::new(), Vec::new());
    let mut each = |row: Result<Record, BadRow>| match row {
        Ok(record) => records.push(record),
        Err(row) => bad.push(row),
    };
    let error = (format.read)(reader, &mut each).err();
    let error = error.as_ref().map(LogError::to_string);
    Outcome {
        records,
        bad,
        error,
    }
}

/// The same of a packed file. None when it cannot be unpacked at all.
pub(crate) fn read_packed(format: &Format, packed: &[u8]) -> Option<Outcome> {
    let _guard = in_company();
    let (mut reader, _) = opened::open(Cursor::new(packed.to_vec())).ok()?;
    Some(read_from(format, &mut reader))
}

/// The format of this number, whatever the number.
pub(crate) fn any_format(number: usize) -> &'static Format {
    &FORMATS[number % FORMATS.len()]
}
