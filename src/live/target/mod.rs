//! Another gateway as the system under test: it is started with what it must know of the run, waited for, watched, and
//! stopped; or it is there already, and nothing is done to it.

pub(super) mod desk;
mod folder;
mod guard;
mod log;
mod process;
mod ready;
pub(super) mod reception;
mod slots;
mod started;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use hyper::Uri;
use tokio::net::TcpStream;

use crate::experiment::external::{External, Launch, Way};
use crate::id::PerVersion;
use crate::live::StartError;

use desk::Desk;
use folder::Folder;
use slots::Slots;
use started::Started;

/// Whatever a variable of such a name holds is not for everybody.
const SECRET_NAMES: [&str; 5] = ["KEY", "TOKEN", "SECRET", "PASS", "AUTH"];

/// What a gateway is told, and must not be read in its log: its own key, those in its environment, and its admin API's.
fn secrets(external: &External, launch: &Launch, slots: &Slots<'_>) -> Vec<String> {
    let is_secret = |name: &String| {
        let name = name.to_uppercase();
        SECRET_NAMES.iter().any(|part| name.contains(part))
    };
    let variables = launch.env.iter().filter(|(name, _)| is_secret(name));
    let headers = external.admin.iter().flat_map(|admin| &admin.headers);
    let values = variables.chain(headers).map(|(_, value)| slots.fill(value));
    let words = values.flat_map(|value| desk::secrets(&value));
    words.chain([slots.key.clone()]).collect()
}

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
    /// Where it is given orders, if it takes any.
    pub(super) desk: Option<Arc<Desk>>,
    /// What was started; none for one that was there already.
    started: Option<Started>,
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
            Way::There(url) => {
                // Nothing was chosen for it, so there is nothing to fill in.
                let desk = desk(external, setting, |text| text.to_owned())?;
                Ok(Self {
                    desk,
                    ..Self::there(url).await?
                })
            }
            Way::Launch(launch) => Self::launch(external, launch, setting, cancel).await,
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
            desk: None,
            started: None,
        })
    }

    async fn launch(
        external: &External,
        launch: &Launch,
        setting: &Setting<'_>,
        cancel: &AtomicBool,
    ) -> Result<Self, StartError> {
        let folder =
            Folder::new().map_err(|e| trouble(format!("no folder for the gateway: {e}")))?;
        let slots = Slots::new(setting, folder.path())
            .map_err(|e| trouble(format!("the gateway cannot be told of its run: {e}")))?;
        let uri = chat_uri(&slots.url("/v1"))?;
        let desk = desk(external, setting, |text| slots.fill(text))?;
        let secrets = secrets(external, launch, &slots);
        let started = Started::new(launch, setting, &slots, folder, secrets)?;
        started.get_ready(launch, &slots, cancel).await?;
        Ok(Self {
            uri,
            key: Some(slots.key),
            desk,
            started: Some(started),
        })
    }

    /// Waits until the gateway ends of itself.
    pub(super) async fn died(&self) -> StartError {
        let Some(started) = &self.started else {
            return std::future::pending().await;
        };
        started.died().await
    }

    /// What is wrong, if the gateway has ended of itself.
    pub(super) fn ended(&self) -> Option<StartError> {
        self.started.as_ref()?.ended()
    }

    /// Ends a gateway that was started here: it is asked to, and made to when it does not.
    pub(super) async fn stop(self) {
        if let Some(started) = self.started {
            started.stop().await;
        }
    }
}

fn desk(
    external: &External,
    setting: &Setting<'_>,
    fill: impl Fn(&str) -> String,
) -> Result<Option<Arc<Desk>>, StartError> {
    let admin = external.admin.as_ref();
    let desk = admin.map(|admin| Desk::new(admin, &setting.names, fill));
    Ok(desk.transpose()?.map(Arc::new))
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

#[cfg(test)]
mod tests {
    use super::*;

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
