//! What commands share that write a log: where it goes, how it ends early, and what people are told of it.

pub(in crate::cli) mod output;
pub(in crate::cli) mod tell;

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use crate::cli::exit;
use crate::cli::output::{error, say};
use crate::traffic::format::write::{self, Writer};
use output::Output;

/// The format that an argument names.
pub(super) fn writer(name: &str) -> Result<&'static Writer, String> {
    let names = write::WRITERS.iter().map(|writer| writer.name);
    let known = || {
        format!(
            "formats that can be written are {}",
            names.collect::<Vec<_>>().join(", ")
        )
    };
    write::named(name).ok_or_else(known)
}

/// How often it is looked whether somebody wants an end.
const LOOK: Duration = Duration::from_millis(20);

/// Writes on a thread of its own: who waits for a pipe cannot hear a signal. Gives what became of it, or the exit code of
/// an early end.
pub(super) fn apart<T: Send + 'static>(
    output: &Output,
    stop: &AtomicBool,
    work: impl FnOnce(&mut dyn Write) -> T + Send + 'static,
) -> io::Result<Result<T, u8>> {
    let mut buffer = BufWriter::with_capacity(1 << 16, output.writer()?);
    let (sender, endings) = channel();
    let work = move || {
        // Nobody listens any more when it was interrupted.
        let _ = sender.send(work(&mut buffer));
    };
    thread::Builder::new()
        .name("writing".to_owned())
        .spawn(work)?;
    Ok(wait(&endings, stop))
}

fn wait<T>(endings: &Receiver<T>, stop: &AtomicBool) -> Result<T, u8> {
    loop {
        let ending = endings.recv_timeout(LOOK);
        if stop.load(Ordering::Relaxed) {
            say("interrupted");
            return Err(exit::INTERRUPTED);
        }
        match ending {
            Ok(ending) => return Ok(ending),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(exit::BROKEN),
        }
    }
}

/// The exit code when writing failed. Whoever read it from a pipe may have seen enough.
pub(super) fn failed(out: Option<&Path>, trouble: &io::Error) -> u8 {
    match out {
        None if trouble.kind() == io::ErrorKind::BrokenPipe => exit::PASS,
        _ => cannot_write(out, trouble),
    }
}

/// Says that it cannot be written.
pub(super) fn cannot_write(out: Option<&Path>, trouble: &io::Error) -> u8 {
    let name = out.unwrap_or(Path::new("stdout")).display();
    error(format_args!("{name}: cannot be written: {trouble}"));
    exit::BROKEN
}

/// Puts the whole log in its place.
pub(super) fn put(out: Option<&Path>, output: Output) -> u8 {
    match output.finish() {
        Ok(()) => exit::PASS,
        Err(trouble) => cannot_write(out, &trouble),
    }
}
