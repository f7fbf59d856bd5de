//! The file of the input log.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::canonical;
use crate::id::Seed;
use crate::live::gateway::driver::Driver;
use crate::live::gateway::input_log::{self, LogHeader};
use crate::live::store::beginning::Beginning;
use crate::router::config::RouterConfig;
use crate::runner::run_dir::OutputError;

/// The file of the input log. It is written outside the core's lock.
pub(super) struct InputFile {
    file: BufWriter<File>,
    path: PathBuf,
}

impl InputFile {
    pub(super) fn create(path: &Path) -> Result<Self, OutputError> {
        let file = File::create(path).map_err(|e| OutputError::file(path, e))?;
        Ok(Self {
            file: BufWriter::new(file),
            path: path.to_owned(),
        })
    }

    pub(super) fn begin(&mut self, seed: Seed, router: &RouterConfig, beginning: Beginning) {
        let header = LogHeader {
            format: input_log::FORMAT.to_owned(),
            seed,
            router_sha256: canonical::sha256(router),
            beginning,
        };
        let line = serde_json::to_string(&header).unwrap_or_default();
        // The header fits the buffer; whether the file takes it shows with the first calls.
        let _ = writeln!(self.file, "{line}");
    }

    /// Writes the calls of the core as they come, until `is_over` says so or calls are lost. The
    /// gateway goes on without its log.
    pub(super) fn keep_up(mut self, driver: &Driver, is_over: impl Fn() -> bool) {
        loop {
            // Asked before the calls are taken, so that the last ones are not missed.
            let is_last = is_over();
            let (calls, is_truncated) = driver.take_calls().unwrap_or_default();
            let written = input_log::write(&mut self.file, &calls, is_truncated);
            let written = written.and_then(|()| match is_truncated {
                true => Err(io::Error::other(
                    "too many calls at once: calls are missing",
                )),
                false => Ok(()),
            });
            if let Err(trouble) = written {
                driver.stop_log();
                let trouble = OutputError::file(&self.path, trouble);
                tracing::warn!("the input log is incomplete and ends here: {trouble}");
                return;
            }
            if is_last {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }
}
