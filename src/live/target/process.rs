//! The process of a gateway, and all that it starts: one group, of which nothing is left in the end.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use crate::live::target::guard::Guard;

/// How often it is looked after: its end is noticed so much late, at most.
const LOOK: Duration = Duration::from_millis(10);
/// Longest wait for the system to bury whoever was killed.
const BURIAL: Duration = Duration::from_secs(2);

/// A gateway's process, which is killed with its whole group when dropped.
pub(super) struct Process {
    child: Mutex<Child>,
    group: Pid,
    /// As long as it is there, the group's number is nobody else's.
    guard: Mutex<Option<Guard>>,
}

impl Process {
    /// Starts a command in the group that this guard leads.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(mut command: Command, mut guard: Guard) -> io::Result<Self> {
        let group = guard.group();
        command.process_group(group.as_raw_nonzero().get());
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                kill(group);
                guard.bury();
                return Err(error);
            }
        };
        guard.watch(&child);
        // The command holds the other end of the pipe that the gateway prints into: it must go now.
        drop(command);
        Ok(Self {
            child: Mutex::new(child),
            group,
            guard: Mutex::new(Some(guard)),
        })
    }

    /// How it ended, if it has.
    pub(super) fn status(&self) -> Option<ExitStatus> {
        lock(&self.child).try_wait().ok().flatten()
    }

    /// Waits until it has ended.
    pub(super) async fn exited(&self) -> ExitStatus {
        loop {
            if let Some(status) = self.status() {
                return status;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Asks the whole group to end.
    pub(super) fn ask_to_end(&self) {
        if lock(&self.guard).is_some() {
            let _ = kill_process_group(self.group, Signal::TERM);
        }
    }

    /// Kills whatever is left of the group, and waits until nothing is.
    pub(super) async fn end(&self) {
        self.kill();
        let is_gone = async {
            while test_kill_process_group(self.group).is_ok() {
                tokio::time::sleep(LOOK).await;
            }
        };
        // Some systems bury nobody whose parent is gone: that is no reason to wait forever.
        let _ = tokio::time::timeout(BURIAL, is_gone).await;
    }

    /// Kills the group. A second time does nothing: the group's number may be somebody else's by then.
    fn kill(&self) {
        let guard = lock(&self.guard).take();
        if let Some(guard) = guard {
            kill(self.group);
            let _ = lock(&self.child).wait();
            guard.bury();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn kill(group: Pid) {
    if let Err(error) = kill_process_group(group, Signal::KILL) {
        tracing::debug!(%error, "the gateway's processes cannot be killed");
    }
}

/// What is behind it is whole at any time, also when whoever held it panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
