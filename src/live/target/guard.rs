//! Who sees to it that no gateway is left over when graygate itself is killed, or stops at once: a shell that waits for the
//! end of a pipe which only graygate holds open.
//!
//! The shell is there before the gateway and leads the group of processes that the gateway joins. So there is no moment at
//! which a gateway has no guard, and the group's number belongs to nobody else for as long as the guard is not waited for.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::Pid;

/// What the shell does. It is told the gateway's number by its input, and of graygate's end by the end of it.
///
/// Signals that end others of the group must not end it; dash knows no `kill -TERM -- -GROUP`, but `-s`, and 0 for the own
/// group. The gateway itself is gone before its folder is removed, so that it writes nothing into it meanwhile; the last
/// line ends the shell, too.
const SCRIPT: &str = r#"trap '' TERM INT HUP
gateway=
while read -r line; do gateway=$line; done
kill -s TERM 0
tenths=0
while [ -n "$gateway" ] && [ "$tenths" -lt 50 ] && kill -s 0 "$gateway"; do
  sleep 0.1 || sleep 1
  tenths=$((tenths + 1))
done
[ -z "$gateway" ] || kill -s KILL "$gateway"
rm -rf "$GRAYGATE_GUARDED_FOLDER"
kill -s KILL 0"#;

/// A shell that ends a group of processes when graygate is gone.
pub(super) struct Guard(Child);

impl Guard {
    /// A guard of whoever joins its group, and of this folder.
    ///
    /// # Errors
    /// When there is no `sh`, or no room for it.
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        let shell = Command::new("sh")
            .args(["-c", SCRIPT])
            .env("GRAYGATE_GUARDED_FOLDER", folder)
            .current_dir("/")
            .stdin(Stdio::piped())
            // Whoever reads what graygate prints must not wait for the guard.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Self(shell))
    }

    /// The group that it leads.
    pub(super) fn group(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    /// Tells it which process of its group is the gateway.
    pub(super) fn watch(&mut self, gateway: &Child) {
        // Without it the guard does not wait for the gateway to end before it kills it.
        if let Some(pipe) = &mut self.0.stdin
            && let Err(error) = writeln!(pipe, "{}", gateway.id())
        {
            tracing::debug!(%error, "the gateway's guard does not listen");
        }
    }

    /// Waits for its end, once it was killed.
    pub(super) fn bury(mut self) {
        let _ = self.0.wait();
    }
}
