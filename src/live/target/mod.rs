//! Another gateway as the system under test: it is started with what it must know of the run, waited for, watched, and
//! stopped; or it is there already, and nothing is done to it.

mod folder;
mod guard;
mod log;
mod process;
mod ready;
pub(super) mod reception;
mod slots;

use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hyper::Uri;
use tokio::net::TcpStream;

use crate::experiment::external::{External, Launch, Way};
use crate::id::PerVersion;
use crate::live::{StartError, cancelled};

use folder::Folder;
use guard::Guard;
use log::Log;
use process::Process;
use slots::Slots;

/// Time for a gateway to end when it is asked to.
const GRACE: Duration = Duration::from_secs(5);

/// What a gateway finds, and where what it prints is kept.
pub(super) struct Setting<'a> {
    /// The names of the versions.
    pub(super) names: Vec<&'a str>,
    /// The base URLs of their upstreams.
    pub(super) upstreams: PerVersion<String>,
    /// The file for what it prints, if anybody wants it.
    pub(super) log: Option<PathBuf>,
}

/// A gateway that is none of ours, ready for requests. It is stopped when dropped, if it was started here.
pub(super) struct Target {
    /// Its chat endpoint.
    pub(super) uri: Uri,
    /// The key that callers show.
    pub(super) key: Option<String>,
    /// What was started; none for one that was there already.
    started: Option<Started>,
}

/// A gateway that was started here. What is first is dropped first: the folder goes when nobody is in it any more.
struct Started {
    process: Process,
    log: Log,
    _folder: Folder,
}

impl Target {
    /// A gateway that is ready, or that nobody waits for any more since `cancel` is set.
    ///
    /// # Errors
    /// When it is not there, cannot be started, ends before it is ready, or is not ready in time.
    pub(super) async fn start(
        external: &External,
        setting: &Setting<'_>,
        cancel: &Arc<AtomicBool>,
    ) -> Result<Self, StartError> {
        match &external.way {
            Way::There(url) => Self::there(url).await,
            Way::Launch(launch) => Self::launch(launch, setting, cancel).await,
        }
    }

    async fn there(url: &str) -> Result<Self, StartError> {
        let uri = chat_uri(url)?;
        let address = uri.authority().map(ToString::to_string);
        let connected = TcpStream::connect(address.unwrap_or_default()).await;
        connected.map_err(|error| trouble(format!("there is no gateway at {url}: {error}")))?;
        Ok(Self {
            uri,
            key: None,
            started: None,
        })
    }

    async fn launch(
        launch: &Launch,
        setting: &Setting<'_>,
        cancel: &AtomicBool,
    ) -> Result<Self, StartError> {
        let folder =
            Folder::new().map_err(|e| trouble(format!("no folder for the gateway: {e}")))?;
        let slots = Slots::new(setting, folder.path())
            .map_err(|e| trouble(format!("the gateway cannot be told of its run: {e}")))?;
        let uri = chat_uri(&slots.url("/v1"))?;
        let started = Started::new(launch, setting, &slots, folder)?;
        started.get_ready(launch, &slots, cancel).await?;
        Ok(Self {
            uri,
            key: Some(slots.key),
            started: Some(started),
        })
    }

    /// Waits until the gateway ends of itself.
    pub(super) async fn died(&self) -> StartError {
        let Some(started) = &self.started else {
            return std::future::pending().await;
        };
        let status = started.process.exited().await;
        started.end().await;
        started.died(status)
    }

    /// What is wrong, if the gateway has ended of itself.
    pub(super) fn ended(&self) -> Option<StartError> {
        let started = self.started.as_ref()?;
        Some(started.died(started.process.status()?))
    }

    /// Ends a gateway that was started here: it is asked to, and made to when it does not.
    pub(super) async fn stop(self) {
        if let Some(started) = &self.started {
            started.process.ask_to_end();
            let _ = tokio::time::timeout(GRACE, started.process.exited()).await;
            started.end().await;
        }
    }
}

impl Started {
    fn new(
        launch: &Launch,
        setting: &Setting<'_>,
        slots: &Slots<'_>,
        folder: Folder,
    ) -> Result<Self, StartError> {
        for (name, text) in &launch.files {
            let written = folder.write(name, &slots.fill(text));
            written.map_err(|e| trouble(format!("the gateway's file `{name}`: {e}")))?;
        }
        let guard = Guard::new(folder.path())
            .map_err(|e| trouble(format!("`sh`, which guards the gateway: {e}")))?;
        let (log, out, err) = Log::open(setting.log.as_deref())
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

    async fn get_ready(
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

    fn died(&self, status: ExitStatus) -> StartError {
        self.trouble(format!("the gateway ended during the run ({status})"))
    }

    fn trouble(&self, what: String) -> StartError {
        StartError::Gateway {
            what,
            last_lines: self.log.last_lines(),
        }
    }
}

fn trouble(what: String) -> StartError {
    StartError::Gateway {
        what,
        last_lines: Vec::new(),
    }
}

fn chat_uri(base: &str) -> Result<Uri, StartError> {
    let uri = format!("{base}/chat/completions").parse();
    uri.map_err(|e| trouble(format!("`{base}` is no base URL of a gateway: {e}")))
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

    #[tokio::test]
    async fn where_nobody_listens_is_no_gateway() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let target = Target::there(&url).await.expect("it is there");
        assert_eq!(target.uri.path(), "/v1/chat/completions");
        drop(listener);
        let error = Target::there(&url).await.err().expect("nobody is there");
        assert!(error.to_string().contains(&url), "{error}");
    }
}
