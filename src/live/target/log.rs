//! What a gateway prints: kept in a file without keys, and its last lines for whoever must be told what went wrong.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, PipeWriter, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::watch;

use crate::config::redact::redact;

/// Most bytes that are kept in the file.
const MOST_BYTES: usize = 16 << 20;
/// Longest line; what is beyond is left out.
const LONGEST: usize = 16 << 10;
/// How many lines are told when something goes wrong.
const LAST: usize = 10;
/// Longest wait for the last words of a gateway that was killed: whoever left its group may hold the pipe for ever.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What a gateway prints.
pub(super) struct Log {
    tail: Arc<Mutex<VecDeque<String>>>,
    /// Its other end goes when all was read.
    reading: watch::Receiver<()>,
}

impl Log {
    /// A log that is kept in this file, if in any, without these secrets, and the ends of a pipe for what is printed as output and
    /// as errors.
    ///
    /// # Errors
    /// When there is no room for the file or the pipe.
    pub(super) fn open(
        path: Option<&Path>,
        secrets: Vec<String>,
    ) -> io::Result<(Self, PipeWriter, PipeWriter)> {
        let kept = Kept {
            file: path.map(File::create).transpose()?,
            left: MOST_BYTES,
            secrets,
        };
        // One pipe for both, so that lines are kept in the order in which they came.
        let (reader, out) = io::pipe()?;
        let err = out.try_clone()?;
        let receiver = Receiver::from_owned_fd(OwnedFd::from(reader))?;
        let tail = Arc::<Mutex<VecDeque<String>>>::default();
        let (done, reading) = watch::channel(());
        let lines = Lines::default();
        tokio::spawn(read(receiver, lines, kept, tail.clone(), done));
        Ok((Self { tail, reading }, out, err))
    }

    /// Waits until all was read that was printed by those who are gone.
    pub(super) async fn heard_all(&self) {
        let mut reading = self.reading.clone();
        // The channel never says anything; it ends.
        let _ = tokio::time::timeout(LAST_WORDS, reading.changed()).await;
    }

    /// The last lines.
    pub(super) fn last_lines(&self) -> Vec<String> {
        lock(&self.tail).iter().cloned().collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn read(
    mut receiver: Receiver,
    mut lines: Lines,
    mut kept: Kept,
    tail: Arc<Mutex<VecDeque<String>>>,
    done: watch::Sender<()>,
) {
    let mut chunk = [0; 4_096];
    let mut keep = |line: &[u8]| {
        let line = kept.without_secrets(&plain(&String::from_utf8_lossy(line)));
        kept.write(&line);
        let mut tail = lock(&tail);
        tail.push_back(line);
        if tail.len() > LAST {
            tail.pop_front();
        }
    };
    while let Ok(n @ 1..) = receiver.read(&mut chunk).await {
        let read = chunk.get(..n).unwrap_or_default();
        read.iter().for_each(|byte| lines.push(*byte, &mut keep));
    }
    if !lines.0.is_empty() {
        keep(&lines.0);
    }
    drop(done);
}

/// The line that is being read.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn push(&mut self, byte: u8, keep: &mut impl FnMut(&[u8])) {
        match byte {
            b'\n' => {
                keep(&self.0);
                self.0.clear();
            }
            _ if self.0.len() < LONGEST => self.0.push(byte),
            _ => {}
        }
    }
}

/// The file, until it is full.
struct Kept {
    file: Option<File>,
    left: usize,
    /// What no shape tells to be a key.
    secrets: Vec<String>,
}

impl Kept {
    fn without_secrets(&self, line: &str) -> String {
        let hide = |line: String, secret: &String| line.replace(secret.as_str(), "***");
        redact(&self.secrets.iter().fold(line.to_owned(), hide))
    }

    fn write(&mut self, line: &str) {
        let Some(file) = &mut self.file else {
            return;
        };
        let length = line.len() + 1;
        let is_full = length > self.left;
        let written = match is_full {
            true => writeln!(file, "(what came then is left out)"),
            false => writeln!(file, "{line}"),
        };
        self.left = self.left.saturating_sub(length);
        if is_full || written.is_err() {
            self.file = None;
        }
    }
}

/// The same line without colours and other orders to a terminal. A colour right before a key would hide that a word begins
/// there, and so the key.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => skip_order(&mut rest),
            '\t' => text.push(c),
            c if c.is_control() => {}
            c => text.push(c),
        }
    }
    text
}

/// Skips the rest of an order: of one that begins with `[`, parameters up to a letter.
fn skip_order(rest: &mut std::str::Chars<'_>) {
    if rest.next() == Some('[') {
        let _ = rest.find(|c| ('@'..='~').contains(c));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_to_a_terminal_are_left_out_and_hide_no_key() {
        for (line, shown) in [
            ("\u{1b}[1;32mfine\u{1b}[0m\tyes\r", "fine\tyes"),
            ("key \u{1b}[32msk-abcdefgh0123456789\u{1b}[0m", "key sk-***"),
            ("\u{1b}[", ""),
            ("\u{1b}", ""),
        ] {
            assert_eq!(redact(&plain(line)), shown);
        }
    }

    #[test]
    fn secrets_of_no_known_shape_are_hidden_too() {
        let kept = Kept {
            file: None,
            left: 0,
            secrets: vec!["open-sesame".to_owned()],
        };
        let line = kept.without_secrets("password=open-sesame key=sk-abcdefgh0123456789");
        assert_eq!(line, "password=*** key=sk-***");
    }

    #[tokio::test]
    async fn the_last_lines_and_the_file_have_what_was_printed() {
        let path = std::env::temp_dir().join(format!("log-{}", crate::live::clock::secret_word()));
        let (log, mut out, mut err) = Log::open(Some(&path), Vec::new()).expect("a log");
        (0..20).for_each(|n| writeln!(out, "line {n}").expect("room"));
        write!(err, "{}", "x".repeat(LONGEST + 9)).expect("room");
        drop((out, err));
        log.heard_all().await;
        let last = log.last_lines();
        assert_eq!((last.len(), last[0].as_str()), (LAST, "line 11"));
        assert_eq!(last[LAST - 1].len(), LONGEST);
        let kept = std::fs::read_to_string(&path).expect("the file");
        assert!(kept.starts_with("line 0\nline 1\n"), "{kept}");
        assert_eq!(kept.lines().count(), 21);
        std::fs::remove_file(path).expect("it is there");
    }

    #[test]
    fn a_file_that_is_full_says_so_once() {
        let path = std::env::temp_dir().join(format!("log-{}", crate::live::clock::secret_word()));
        let file = Some(File::create(&path).expect("a file"));
        let mut kept = Kept {
            file,
            left: 6,
            secrets: Vec::new(),
        };
        ["one", "two", "three"]
            .iter()
            .for_each(|line| kept.write(line));
        let text = std::fs::read_to_string(&path).expect("the file");
        assert_eq!(text, "one\n(what came then is left out)\n");
        std::fs::remove_file(path).expect("it is there");
    }
}
