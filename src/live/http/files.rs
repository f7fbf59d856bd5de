//! Connections that could not be had because no file descriptor was left: nobody's failure but the machine's, so a
//! run in which that happened has measured nothing.

use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;

/// How often there was none. Files are the whole process's.
static MISSED: AtomicU64 = AtomicU64::new(0);

/// Counts a connection that failed, if that is why.
pub fn note(error: &(dyn Error + 'static)) {
    if is_shortage(error) {
        MISSED.fetch_add(1, Ordering::Relaxed);
    }
}

/// How often there was none since the process began.
pub fn missed() -> u64 {
    MISSED.load(Ordering::Relaxed)
}

fn is_shortage(error: &(dyn Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |error| (*error).source());
    causes.any(|cause| {
        let cause = cause.downcast_ref::<io::Error>();
        let code = cause.and_then(Errno::from_io_error);
        code.is_some_and(|code| code == Errno::MFILE || code == Errno::NFILE)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As clients tell of it: with the system's word behind their own.
    #[derive(Debug)]
    struct Behind(io::Error);

    impl std::fmt::Display for Behind {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("no connection")
        }
    }

    impl Error for Behind {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn only_a_lack_of_files_is_one() {
        let lack = io::Error::from(Errno::MFILE);
        assert!(is_shortage(&lack));
        assert!(is_shortage(&Behind(lack)));
        assert!(!is_shortage(&io::Error::from(Errno::CONNREFUSED)));
        assert!(!is_shortage(&io::Error::other("nothing of the kind")));
    }
}
