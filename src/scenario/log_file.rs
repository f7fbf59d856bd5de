//! A recorded log on the disk: looked through once before a run, read again while it goes on.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use sha2::{Digest, Sha256};

use crate::protocol::outcome::Outcome;
use crate::protocol::recorded::Answer;
use crate::time::nanos;
use crate::traffic::format::opened::{self, Packing};
use crate::traffic::format::{self, BadRow, Format, LogError, Record, guidellm};
use crate::traffic::log::account::LogAccount;
use crate::traffic::log::attempts::Requests;
use crate::traffic::log::order::InOrder;
use crate::traffic::log::shape::Shape;
use crate::traffic::log::survey::Survey;
use crate::traffic::log::{Kept, RecordedLog, Row, RowSource, Rows, Told};
use crate::upstream::recorded::Reservoir;

/// Most rows that are kept in memory, when a log cannot be read again, or is in too great a disorder to be sorted on
/// the way: some 160 MB.
const MOST_KEPT: usize = 5_000_000;
/// Rows that are handed over at once.
const CHUNK: usize = 4_096;
/// Chunks that wait to be fetched.
const CHUNKS: usize = 8;

/// A log that was looked through.
#[derive(Debug)]
pub struct Looked {
    source: Arc<dyn RowSource>,
    /// Its first moment, on its own clock, in nanoseconds.
    pub start: i64,
    /// What became of its lines.
    pub account: LogAccount,
    /// How its rows are spaced.
    pub recorded: Survey,
    /// The format that it was read as.
    pub format: &'static Format,
    /// What it shows its format by; none when that was said.
    pub because: Option<&'static str>,
    /// How it is packed.
    pub packing: Packing,
    /// The SHA-256 over its rows, in the order of the file.
    pub fingerprint: Vec<u8>,
}

impl Looked {
    /// So much of it, to be replayed.
    pub fn into_log(self, shape: Shape) -> RecordedLog {
        RecordedLog::new(self.source, self.start, shape, self.account, self.recorded)
    }
}

/// The answers of a log.
#[derive(Debug)]
pub struct Answered {
    /// What became of its lines.
    pub account: LogAccount,
    /// Its answers.
    pub reservoir: Reservoir,
    /// The SHA-256 over those.
    pub fingerprint: Vec<u8>,
}

/// Why a log is of no use.
#[derive(Debug)]
pub enum Unusable {
    /// It cannot be read.
    Log(LogError),
    /// It is not known what it is.
    Unknown(LogError),
    /// It would have to be kept in memory, and is too large for that.
    TooLarge(&'static str),
}

impl From<LogError> for Unusable {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

/// A log that is open, and known for what it is.
pub struct Opened {
    reader: Box<dyn BufRead + Send>,
    /// The format that it is read as.
    pub format: &'static Format,
    /// What it shows its format by; none when that was said.
    pub because: Option<&'static str>,
    /// How it is packed.
    pub packing: Packing,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a log of {}", self.format.name)
    }
}

impl Opened {
    /// Its text, which ends when somebody sets `stop`.
    pub fn stoppable(self, stop: Arc<AtomicBool>) -> impl BufRead {
        Stoppable {
            reader: self.reader,
            stop,
        }
    }
}

/// Unpacks a log, and finds out its format where that is not said.
///
/// # Errors
/// When it cannot be read, or is of no known format.
pub fn open(file: File, format: Option<&'static Format>) -> Result<Opened, Unusable> {
    let (reader, packing) = opened::open(file).map_err(LogError::Io)?;
    let (head, reader) = format::begin(reader).map_err(LogError::Io)?;
    let (format, because) = match format {
        Some(format) => (format, None),
        None => {
            let (format, because) = detected(&head)?;
            (format, Some(because))
        }
    };
    Ok(Opened {
        reader,
        format,
        because,
        packing,
    })
}

/// Looks through a log: what its lines are worth, how its rows are spaced, and whether they are in order.
///
/// # Errors
/// When it cannot be read, is of no known format, or would not fit the memory.
pub fn look(path: &Path, file: File, format: Option<&'static Format>) -> Result<Looked, Unusable> {
    let is_file = file.metadata().is_ok_and(|meta| meta.is_file());
    let stamp = Stamp::of(&file);
    let Opened {
        mut reader,
        format,
        because,
        packing,
    } = open(file, format)?;
    let mut scan = Scan::new(!is_file);
    (format.read)(&mut reader, &mut |record| scan.take(&record))?;
    if scan.is_overfull {
        return Err(Unusable::TooLarge(
            "a pipe is read once, and its rows are kept",
        ));
    }
    let Scan {
        mut account,
        survey,
        start,
        hasher,
        kept,
        ..
    } = scan;
    let again = FileRows {
        path: path.to_owned(),
        format,
        is_disordered: account.inversions > 0,
        stamp,
    };
    let (source, recorded): (Arc<dyn RowSource>, Survey) = match kept {
        Some(rows) => surveyed(Arc::new(Kept::new(rows)), start),
        None if account.inversions == 0 => (Arc::new(again), survey),
        None => sorted(again, start)?,
    };
    // What follows a success is a request of its own, so a log without failures needs no other look.
    let source = match account.failed_in_trace {
        0 => source,
        _ => {
            let requests = Requests::of(source);
            account.attempts = requests.counts;
            Arc::new(requests)
        }
    };
    Ok(Looked {
        source,
        start,
        account,
        recorded,
        format,
        because,
        packing,
        fingerprint: hasher.finalize().to_vec(),
    })
}

/// The answers of a log, of which each upstream that answers like it draws. Those that it does not tell of are not among
/// them.
///
/// # Errors
/// When it cannot be read, or is of no known format.
pub fn answers(file: File, format: Option<&'static Format>) -> Result<Answered, Unusable> {
    let Opened {
        mut reader, format, ..
    } = open(file, format)?;
    let mut account = LogAccount::default();
    let mut reservoir = Reservoir::default();
    (format.read)(&mut reader, &mut |record| {
        account.take(&record);
        let answer = record.ok().map(|record| Answer::from(&record));
        if let Some(answer) = answer.filter(Answer::is_told) {
            reservoir.take(answer);
        }
    })?;
    let fingerprint = Sha256::digest(reservoir.text()).to_vec();
    Ok(Answered {
        account,
        reservoir,
        fingerprint,
    })
}

fn detected(head: &[u8]) -> Result<(&'static Format, &'static str), Unusable> {
    let head = format::Head::new(head);
    if head.is_empty() {
        return Err(Unusable::Log(LogError::Empty));
    }
    let beginning = head
        .first_line()
        .unwrap_or("(bytes that are no UTF-8 text)");
    format::detect(&head).ok_or_else(|| {
        Unusable::Unknown(match guidellm::doubt(&head) {
            Some(doubt) => LogError::Ambiguous(doubt),
            None => LogError::unknown(beginning),
        })
    })
}

/// A log whose rows are not in order: sorted on the way if they stand but a little late, else in memory.
fn sorted(again: FileRows, start: i64) -> Result<(Arc<dyn RowSource>, Survey), Unusable> {
    let mut latest = i64::MIN;
    let is_sorted = again.rows().all(|row| {
        let is_in_order = row.at >= latest;
        latest = row.at;
        is_in_order
    });
    if is_sorted {
        return Ok(surveyed(Arc::new(again), start));
    }
    let rows: Vec<Row> = again.in_file_order().take(MOST_KEPT + 1).collect();
    match rows.len() > MOST_KEPT {
        true => Err(Unusable::TooLarge(
            "rows stand more than 65,536 rows away from their place",
        )),
        false => Ok(surveyed(Arc::new(Kept::new(rows)), start)),
    }
}

fn surveyed(source: Arc<dyn RowSource>, start: i64) -> (Arc<dyn RowSource>, Survey) {
    let mut survey = Survey::beginning_at(start);
    source
        .rows()
        .for_each(|row| survey.take(row.at.abs_diff(start)));
    (source, survey)
}

/// The first look at a log.
struct Scan {
    account: LogAccount,
    /// Of the rows so far, as long as they are in order.
    survey: Survey,
    start: i64,
    last: Option<i64>,
    hasher: Sha256,
    /// The rows, when they cannot be read again.
    kept: Option<Vec<Row>>,
    is_overfull: bool,
}

impl Scan {
    fn new(keeps: bool) -> Self {
        Self {
            account: LogAccount::default(),
            survey: Survey::default(),
            start: 0,
            last: None,
            hasher: Sha256::new(),
            kept: keeps.then(Vec::new),
            is_overfull: false,
        }
    }

    fn take(&mut self, record: &Result<Record, BadRow>) {
        self.account.take(record);
        if let Ok(record) = record {
            let last = self.last;
            self.row(Row::after(record, last));
        }
    }

    fn row(&mut self, row: Row) {
        self.hasher.update(row.at.to_be_bytes());
        self.hasher.update(row.input_tokens.to_be_bytes());
        self.hasher.update(row.output_tokens.to_be_bytes());
        if let Some(told) = &row.told {
            note_told(&mut self.hasher, told);
        }
        match self.last {
            None => {
                self.start = row.at;
                self.survey = Survey::beginning_at(row.at);
            }
            Some(last) if row.at < last => self.account.inversions += 1,
            Some(_) => {}
        }
        self.start = self.start.min(row.at);
        self.last = Some(row.at);
        if self.account.inversions == 0 {
            self.survey.take(row.at.abs_diff(self.start));
        }
        if let Some(rows) = &mut self.kept {
            match rows.len() < MOST_KEPT {
                true => rows.push(row),
                false => self.is_overfull = true,
            }
        }
    }
}

/// What is told of a row changes what is sent, and what upstreams answer.
fn note_told(hasher: &mut Sha256, told: &Told) {
    let trace = told.trace.map_or(0, |trace| trace.name);
    let contents = told.trace.and_then(|trace| trace.contents);
    hasher.update([u8::from(told.is_stream)]);
    hasher.update(trace.to_be_bytes());
    hasher.update(contents.unwrap_or(0).to_be_bytes());
    for answer in &told.answers {
        for length in [answer.latency, answer.first_token] {
            hasher.update(length.map_or(u64::MAX, nanos).to_be_bytes());
        }
        hasher.update(answer.end.map_or("", Outcome::name));
    }
}

/// The rows of a file, read anew each time.
#[derive(Clone, Debug)]
struct FileRows {
    path: PathBuf,
    format: &'static Format,
    is_disordered: bool,
    stamp: Option<Stamp>,
}

/// What a file was when it was opened: as long as it is the same, so are its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    bytes: u64,
    #[cfg(unix)]
    place_and_time: (u64, u64, i64, i64),
}

impl Stamp {
    /// What it is now; none when the system does not say.
    pub fn of(file: &File) -> Option<Self> {
        let meta = file.metadata().ok()?;
        #[cfg(unix)]
        let place_and_time = {
            use std::os::unix::fs::MetadataExt;
            (meta.dev(), meta.ino(), meta.mtime(), meta.mtime_nsec())
        };
        Some(Self {
            bytes: meta.len(),
            #[cfg(unix)]
            place_and_time,
        })
    }
}

impl FileRows {
    fn in_file_order(&self) -> Rows {
        let (sender, receiver) = sync_channel(CHUNKS);
        let is_stopped = Arc::<AtomicBool>::default();
        let (log, stop) = (self.clone(), is_stopped.clone());
        let reading = thread::Builder::new().name("log".to_owned());
        // Without a thread there are no rows, which those who count them notice.
        let _ = reading.spawn(move || log.read(&sender, &stop));
        Box::new(Fetched {
            receiver,
            chunk: Vec::new().into_iter(),
            is_stopped,
        })
    }

    /// Reads the file and hands its rows over. Whether it is still the same file is asked afterwards.
    fn read(&self, sender: &SyncSender<Vec<Row>>, stop: &Arc<AtomicBool>) {
        let Ok(reader) = File::open(&self.path).and_then(opened::open) else {
            return;
        };
        let mut reader = Stoppable {
            reader: reader.0,
            stop: stop.clone(),
        };
        let mut chunk = Vec::with_capacity(CHUNK);
        let mut last = None;
        let mut each = |record: Result<Record, BadRow>| {
            let Ok(record) = record else { return };
            let row = Row::after(&record, last);
            last = Some(row.at);
            chunk.push(row);
            if chunk.len() == CHUNK {
                let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK));
                if sender.send(full).is_err() {
                    stop.store(true, Ordering::Relaxed);
                }
            }
        };
        let _ = (self.format.read)(&mut reader, &mut each);
        let _ = sender.send(chunk);
    }
}

impl RowSource for FileRows {
    fn has_changed(&self) -> bool {
        let now = File::open(&self.path).ok();
        now.and_then(|file| Stamp::of(&file)) != self.stamp
    }

    fn rows(&self) -> Rows {
        match self.is_disordered {
            false => self.in_file_order(),
            true => Box::new(InOrder::new(self.in_file_order())),
        }
    }
}

/// Rows that another thread reads. It stops when this is dropped.
struct Fetched {
    receiver: Receiver<Vec<Row>>,
    chunk: std::vec::IntoIter<Row>,
    is_stopped: Arc<AtomicBool>,
}

impl Iterator for Fetched {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        loop {
            if let Some(row) = self.chunk.next() {
                return Some(row);
            }
            self.chunk = self.receiver.recv().ok()?.into_iter();
        }
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }
}

/// A reader that ends when nobody wants more of it.
struct Stoppable {
    reader: Box<dyn BufRead + Send>,
    stop: Arc<AtomicBool>,
}

impl Read for Stoppable {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.stop.load(Ordering::Relaxed) {
            true => Ok(0),
            false => self.reader.read(buffer),
        }
    }
}

impl BufRead for Stoppable {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self.stop.load(Ordering::Relaxed) {
            true => Ok(&[]),
            false => self.reader.fill_buf(),
        }
    }

    fn consume(&mut self, amount: usize) {
        if !self.stop.load(Ordering::Relaxed) {
            self.reader.consume(amount);
        }
    }
}
