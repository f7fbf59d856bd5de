//! Another configuration while the gateway serves: SIGHUP, or a router file that changed, makes it a new
//! release. A file with mistakes changes nothing, and says why.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::canonical;
use crate::cli::serve::keys::KeyRule;
use crate::cli::serve::load;
use crate::live::gateway::driver::Driver;
use crate::router::control::{Order, Refusal};

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Reads the router file again.
#[derive(Clone)]
pub(super) struct Reload {
    /// The router file.
    pub(super) path: PathBuf,
    /// Which keys are accepted.
    pub(super) rule: KeyRule,
    /// Whose configuration it is.
    pub(super) driver: Arc<Driver>,
    /// SHA-256 of the configuration that the file said last.
    pub(super) said: Arc<Mutex<String>>,
    /// The file as it was before it was read first: what was changed since is still to be read.
    pub(super) known: Option<Stamp>,
}

impl Reload {
    /// Reads the file and applies what it says, unless that is in force already.
    pub(super) async fn now(&self) {
        let (path, rule) = (self.path.clone(), self.rule);
        // Files are read off the runtime: a slow disk holds nobody up.
        let loaded = tokio::task::spawn_blocking(move || load(&path, rule)).await;
        let config = match loaded {
            Ok(Ok((config, _))) => Arc::new(config),
            Ok(Err(mistakes)) => {
                tracing::error!("the old configuration stays in force: {mistakes}");
                return;
            }
            Err(error) => {
                tracing::error!(%error, "the old configuration stays in force");
                return;
            }
        };
        // What was applied since, by the admin API say, stays until the file says something new.
        let sha256 = canonical::sha256(&*config);
        if std::mem::replace(&mut *self.said.lock().await, sha256.clone()) == sha256 {
            tracing::info!("the router file says nothing new");
            return;
        }
        let again = false;
        match self
            .driver
            .order(None, Order::Apply { config, again })
            .await
        {
            Ok(standing) => tracing::info!(
                revision = standing.revision,
                share = standing.share,
                "the router file was read: the release is {}",
                standing.phase.name()
            ),
            Err(Refusal::Unchanged) => tracing::info!("the router file says what is in force"),
            Err(refusal) => tracing::error!("the old configuration stays in force: {refusal}"),
        }
    }

    /// Reads the file again whenever it has changed, for ever.
    pub(super) async fn watch(self) {
        let mut known = self.known.clone();
        let mut before = known.clone();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let present = Stamp::of(&self.path);
            // What is still being written has another stamp the next time.
            let is_settled = present == before;
            before = present.clone();
            if present.is_some() && present != known && is_settled {
                known = present;
                self.now().await;
            }
        }
    }
}

/// What tells one state of a file from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp(
    // Its content, not its time: two writes within one tick of a clock are two states all the same.
    Vec<u8>,
);

impl Stamp {
    /// None when there is no file, or something that can be read only once, as a pipe.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let is_file = std::fs::metadata(path).is_ok_and(|meta| meta.is_file());
        is_file.then(|| std::fs::read(path).ok().map(Self))?
    }
}
