//! Exit codes. Several at once: the first of 130, 2, 5, 1, 4, 3, 0 wins.

use crate::verdict::result::{Status, Verdict};

/// All gates passed.
pub const PASS: u8 = 0;
/// A gate failed.
pub const FAIL: u8 = 1;
/// Wrong usage, or an invalid scenario, log or configuration.
pub const USAGE: u8 = 2;
/// Too little evidence: it is said how many more requests would settle it.
pub const INCONCLUSIVE: u8 = 3;
/// The measurement is invalid: the generator was late, the rate was missed, the join broke.
pub const INVALID: u8 = 4;
/// It could not be run, or what came of it not be written: a port, an upstream, an output folder, stdout.
pub const BROKEN: u8 = 5;
/// Stopped by Ctrl-C or SIGTERM.
pub const INTERRUPTED: u8 = 130;

/// The code of a verdict.
pub fn of(verdict: &Verdict) -> u8 {
    if verdict.interrupted {
        return INTERRUPTED;
    }
    match verdict.status {
        Status::Pass => PASS,
        Status::Fail => FAIL,
        Status::Inconclusive => INCONCLUSIVE,
        Status::Invalid => INVALID,
    }
}

/// The code that wins over the others; 3 when there is none (nothing was shown).
pub fn worst(codes: impl IntoIterator<Item = u8>) -> u8 {
    const ORDER: [u8; 7] = [
        INTERRUPTED,
        USAGE,
        BROKEN,
        FAIL,
        INVALID,
        INCONCLUSIVE,
        PASS,
    ];
    let rank = |code: &u8| ORDER.iter().position(|c| c == code);
    codes.into_iter().min_by_key(rank).unwrap_or(INCONCLUSIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_precedence() {
        assert_eq!(worst([PASS, INCONCLUSIVE]), INCONCLUSIVE);
        assert_eq!(worst([INVALID, INCONCLUSIVE]), INVALID);
        assert_eq!(worst([FAIL, INVALID, PASS]), FAIL);
        assert_eq!(worst([FAIL, BROKEN]), BROKEN);
        assert_eq!(worst([BROKEN, USAGE]), USAGE);
        assert_eq!(worst([USAGE, INTERRUPTED]), INTERRUPTED);
        assert_eq!(worst([]), INCONCLUSIVE);
    }
}
