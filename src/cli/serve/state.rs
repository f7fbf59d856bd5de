//! What `graygate serve` keeps, and how it begins with what an earlier process kept.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use tokio::sync::Notify;

use crate::cli::serve::endpoints;
use crate::live::clock::{Clock, unix_now};
use crate::live::gateway::driver::Driver;
use crate::live::store::beginning::Beginning;
use crate::live::store::delivery::{Delivery, Patience};
use crate::live::store::error::StoreError;
use crate::live::store::post::Post;
use crate::live::store::writer::Writer;
use crate::live::store::{Place, State};
use crate::router::config::RouterConfig;
use crate::router::deployment::Change;

/// The environment variable of the token that peers want to see.
const ADMIN_TOKEN: &str = "GRAYGATE_ADMIN_TOKEN";

/// The state of a gateway that is about to begin.
pub(super) struct Kept {
    pub(super) state: Arc<State>,
    pub(super) beginning: Beginning,
    /// Why the state cannot be used yet.
    trouble: Option<StoreError>,
}

/// There is no folder for the state file.
#[derive(Debug)]
pub(super) struct NoFolder(PathBuf);

impl fmt::Display for NoFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "there is no folder for the state file {}\n   = hint: make it first, or choose another \
             file with --state FILE",
            self.0.display()
        )
    }
}

impl std::error::Error for NoFolder {}

impl Kept {
    /// Opens the state. When it cannot be used, the gateway begins without the canary: who knows
    /// whether it was rolled back?
    ///
    /// # Errors
    /// When its folder does not exist, which is no accident.
    pub(super) fn open(path: &Path, file: Arc<RouterConfig>) -> Result<Self, NoFolder> {
        let state = Arc::new(State::at(place(path)?));
        let unix_zero = u64::try_from(unix_now().as_millis()).unwrap_or(u64::MAX);
        let (beginning, trouble) = match state.open() {
            Ok(kept) => (Beginning::known(kept, file, unix_zero), None),
            Err(trouble) => {
                tracing::error!(
                    "{trouble}\n   = note: stable serves everybody, and the canary gets nothing \
                     until the state is known; it is tried again by itself"
                );
                (Beginning::unknown(file, unix_zero), Some(trouble))
            }
        };
        Ok(Self {
            state,
            beginning,
            trouble,
        })
    }

    /// The configuration that the gateway begins with.
    pub(super) fn config(&self) -> &Arc<RouterConfig> {
        self.beginning.config()
    }

    /// Are the versions those of the router file?
    pub(super) fn is_of_the_file(&self) -> bool {
        self.config().versions == self.beginning.file.versions
    }

    /// Keeps what the driver wants kept from now on, and delivers the letters about it, to addresses
    /// that may be in a `.env` file near the router file.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(super) fn keep(
        self,
        changes: Receiver<(u64, Box<Change>)>,
        driver: &Arc<Driver>,
        clock: Clock,
        router: &Path,
    ) -> io::Result<Keeping> {
        let letters = Arc::new(Notify::new());
        deliver(self.state.clone(), letters.clone(), clock, router)?;
        let writer = Writer::new(self.state, letters, self.trouble.as_ref());
        let is_kept = writer.start(changes, driver)?;
        Ok(Keeping { is_kept })
    }
}

/// Longest time for the last changes to be written.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The thread that keeps what happens.
pub(super) struct Keeping {
    /// Whether everything is kept, at its end.
    is_kept: Receiver<bool>,
}

impl Keeping {
    /// Waits until everything is written that was to be; returns whether it is.
    pub(super) fn finish(self, driver: &Driver) -> bool {
        driver.close_store();
        self.is_kept.recv_timeout(LAST_WORDS).unwrap_or_else(|_| {
            tracing::error!(
                "the state file was not written to the end: what was done last may be lost"
            );
            false
        })
    }
}

fn place(path: &Path) -> Result<Place, NoFolder> {
    if path == Path::new("none") {
        return Ok(Place::Memory);
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    match folder.is_none_or(Path::is_dir) {
        true => Ok(Place::File(path.to_owned())),
        false => Err(NoFolder(path.to_owned())),
    }
}

/// Delivers letters in a thread of its own: a slow disk must not delay a request.
fn deliver(state: Arc<State>, letters: Arc<Notify>, clock: Clock, router: &Path) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let router = router.to_owned();
    let variables = Arc::new(move |name: &str| endpoints::variable(&router, name));
    let post = Post::new(variables, ADMIN_TOKEN).map_err(io::Error::other)?;
    let delivery = Delivery::new(state, post, clock, Patience::default());
    let work = move || runtime.block_on(delivery.run(letters));
    // It ends with the process: what is not delivered then is delivered by the next one.
    let thread = std::thread::Builder::new().name("letters".to_owned());
    thread.spawn(work).map(drop)
}
