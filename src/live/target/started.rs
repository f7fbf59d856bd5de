//! A gateway that was started here: its process, its folder, and what it prints.

use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::experiment::external::Launch;
use crate::live::target::folder::Folder;
use crate::live::target::guard::Guard;
use crate::live::target::log::Log;
use crate::live::target::process::Process;
use crate::live::target::slots::Slots;
use crate::live::target::{Setting, ready, trouble};
use crate::live::{StartError, cancelled};

/// Time for a gateway to end when it is asked to.
const GRACE: Duration = Duration::from_secs(5);

/// A gateway that was started here. What is first is dropped first: the folder goes when nobody is in it any more.
pub(super) struct Started {
    process: Process,
    log: Log,
    _folder: Folder,
}

impl Started {
    /// Starts a gateway in this folder.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn new(
        launch: &Launch,
        setting: &Setting<'_>,
        slots: &Slots<'_>,
        folder: Folder,
        secrets: Vec<String>,
    ) -> Result<Self, StartError> {
        for (name, text) in &launch.files {
            let written = folder.write(name, &slots.fill(text));
            written.map_err(|e| trouble(format!("the gateway's file `{name}`: {e}")))?;
        }
        let guard = Guard::new(folder.path())
            .map_err(|e| trouble(format!("`sh`, which guards the gateway: {e}")))?;
        let (log, out, err) = Log::open(setting.log.as_deref(), secrets)
            .map_err(|e| trouble(format!("what the gateway prints cannot be kept: {e}")))?;
        let mut words = launch.command.iter().map(|word| slots.fill(word));
        let program = words.next().unwrap_or_default();
        let mut command = Command::new(&program);
        command
            .args(words)
            .envs(launch.env.iter().map(|(k, v)| (k, slots.fill(v))))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err);
        let process = Process::start(command, guard)
            .map_err(|e| trouble(format!("cannot start the gateway `{program}`: {e}")))?;
        Ok(Self {
            process,
            log,
            _folder: folder,
        })
    }

    /// Waits until it is ready, or `cancel` is set.
    ///
    /// # Errors
    /// When it ends before, or is not ready in time.
    pub(super) async fn get_ready(
        &self,
        launch: &Launch,
        slots: &Slots<'_>,
        cancel: &AtomicBool,
    ) -> Result<(), StartError> {
        let what = tokio::select! {
            biased;
            // Whoever set it does not want to know what else is wrong.
            () = cancelled(cancel) => return Ok(()),
            status = self.process.exited() => format!("the gateway ended before it was ready ({status})"),
            () = ready::wait(&launch.ready, slots) => return Ok(()),
            () = tokio::time::sleep(launch.within) => {
                format!("the gateway was not ready within {}", length(launch.within))
            }
        };
        self.end().await;
        Err(self.trouble(what))
    }

    /// Leaves nothing of it, and hears its last words.
    async fn end(&self) {
        self.process.end().await;
        self.log.heard_all().await;
    }

    /// Waits until it ends of itself.
    pub(super) async fn died(&self) -> StartError {
        let status = self.process.exited().await;
        self.end().await;
        self.after(status)
    }

    /// What is wrong, if it has ended of itself.
    pub(super) fn ended(&self) -> Option<StartError> {
        Some(self.after(self.process.status()?))
    }

    /// Asks it to end, and makes it when it does not.
    pub(super) async fn stop(self) {
        self.process.ask_to_end();
        let _ = tokio::time::timeout(GRACE, self.process.exited()).await;
        self.end().await;
    }

    fn after(&self, status: ExitStatus) -> StartError {
        self.trouble(format!("the gateway ended during the run ({status})"))
    }

    fn trouble(&self, what: String) -> StartError {
        StartError::Gateway {
            what,
            last_lines: self.log.last_lines(),
        }
    }
}

fn length(length: Duration) -> String {
    match length.subsec_millis() {
        0 => format!("{} s", length.as_secs()),
        _ => format!("{} ms", length.as_millis()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_for_people() {
        assert_eq!(length(Duration::from_millis(300)), "300 ms");
        assert_eq!(length(Duration::from_secs(60)), "60 s");
    }
}
