//! How long chance has kept draws from what has a share of them: n draws in a row miss a share w with probability (1 − w)ⁿ.
//!
//! The share may change from one draw to the next; the logarithms of the single probabilities add up.

use crate::time::Timestamp;

/// Sums of logarithms lose a little: at the very bound, a draw less than it would take is none too few.
const DUST: f64 = 1e-12;

/// The draws since one met what is listened for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Silence {
    last_at: Option<Timestamp>,
    length: u64,
    ln_p: f64,
}

impl Silence {
    /// It was met: a silence begins.
    pub fn met(&mut self, at: Timestamp) {
        *self = Self {
            last_at: Some(at),
            ..Self::default()
        };
    }

    /// A draw missed it, at which it had this share, 0 to 1.
    pub fn missed(&mut self, share: f64) {
        self.length += 1;
        self.ln_p += libm::log1p(-share.clamp(0.0, 1.0));
    }

    /// When it was met last; none when it never was.
    pub fn since(&self) -> Option<Timestamp> {
        self.last_at
    }

    /// How many draws in a row missed it.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Is it so improbable that chance alone makes a silence of this length, or less probable?
    pub fn is_beyond(&self, p: f64) -> bool {
        self.length > 0 && self.ln_p <= libm::log(p) * (1.0 - DUST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::proportion::draws_to_meet;

    #[test]
    fn of_one_share_it_takes_as_many_draws_as_the_formula_says() {
        for share in [0.001, 0.05, 0.1, 0.2, 0.5, 0.85, 0.97, 1.0] {
            for p in [0.001, 1e-6, 1e-9] {
                let mut silence = Silence::default();
                while !silence.is_beyond(p) {
                    silence.missed(share);
                }
                let draws = draws_to_meet(share, p);
                assert_eq!(Some(silence.length()), draws, "{share} {p}");
            }
        }
    }

    #[test]
    fn every_draw_counts_by_the_share_it_had() {
        let mut silence = Silence::default();
        (0..1_000).for_each(|_| silence.missed(0.0));
        assert!(!silence.is_beyond(0.999), "nothing was to be heard");
        (0..65).for_each(|_| silence.missed(0.1));
        assert!(!silence.is_beyond(0.001));
        silence.missed(0.1);
        assert!(silence.is_beyond(0.001), "0.9 ^ 66 < 0.001");
        silence.met(Timestamp(7));
        assert_eq!((silence.since(), silence.length()), (Some(Timestamp(7)), 0));
        assert!(!silence.is_beyond(1.0), "no draw shows nothing");
    }
}
