//! Ctrl-C and SIGTERM: the first ends the run and lets it write its report, the second stops at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cli::exit;

/// A flag that the first signal sets. Only the first call in a process installs the handler.
pub(super) fn install() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let seen = flag.clone();
    let installed = ctrlc::set_handler(move || {
        if seen.swap(true, Ordering::SeqCst) {
            std::process::exit(i32::from(exit::INTERRUPTED));
        }
    });
    if let Err(error) = installed {
        tracing::debug!(%error, "no signal handler");
    }
    flag
}
