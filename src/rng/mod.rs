//! Keyed randomness: every draw is a pure function of what it is for.
//!
//! A shared sequential generator would hand out different numbers whenever two requests swap
//! places, so a live run could never meet the same faults as a virtual one. Here a draw depends
//! only on `(seed, purpose, request key, version, nth try on that version)`.
//!
//! The words are folded with the finaliser of SplitMix64 (Steele, Lea, Flood: "Fast Splittable
//! Pseudorandom Number Generators", OOPSLA 2014; constants: Stafford's variant 13), a bijection
//! with full avalanche. Sequential streams exist for arrivals only: [`arrivals`].

pub mod distribution;

use rand_pcg::Pcg64Mcg;

use crate::id::{RequestKey, Seed, VersionId};

/// What a draw decides. Two purposes never share a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Which version serves a request that is split at random.
    Split,
    /// The jitter of a backoff.
    Backoff,
    /// How long an upstream takes.
    Latency,
    /// How many tokens an upstream writes.
    OutputTokens,
    /// Whether the fault with this index hits an attempt.
    Fault(u16),
    /// When the bursts of the fault with this index come and go.
    Burst(u16),
    /// Who sends a request.
    User,
    /// Which prompt a request carries.
    Prompt,
    /// Which version a request is forced to, if any.
    Forced,
    /// Which tenant sends a request.
    Tenant,
    /// How long somebody thinks before the next request.
    Think,
    /// How many turns a session has.
    Turns,
    /// Whether somebody hangs up before the answer.
    HangUp,
    /// After how long.
    HangUpAfter,
    /// Whether a request asks for a stream.
    Stream,
    /// Whether a recorded conversation is replayed.
    Sample,
    /// How far a recorded request is moved within the grain of its clock.
    Spread,
    /// How often a recorded conversation is replayed, and when its copies begin.
    Copy,
    /// Which recorded answer an upstream gives.
    Recorded,
    /// How long an upstream takes to its first token.
    FirstToken,
    /// How fast an upstream writes.
    Speed,
    /// Whether an answer drips.
    Drip,
}

impl Purpose {
    fn word(self) -> u64 {
        match self {
            Self::Split => 1,
            Self::Backoff => 2,
            Self::Latency => 3,
            Self::OutputTokens => 4,
            Self::User => 5,
            Self::Prompt => 6,
            Self::Forced => 7,
            Self::Tenant => 8,
            Self::Think => 9,
            Self::Turns => 10,
            Self::HangUp => 11,
            Self::HangUpAfter => 12,
            Self::Stream => 13,
            Self::FirstToken => 14,
            Self::Speed => 15,
            Self::Drip => 16,
            Self::Sample => 17,
            Self::Spread => 18,
            Self::Copy => 19,
            Self::Recorded => 20,
            Self::Fault(index) => 1 << 16 | u64::from(index),
            Self::Burst(index) => 1 << 17 | u64::from(index),
        }
    }
}

/// 64 uniformly distributed random bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw(pub u64);

impl Draw {
    /// A number in `[0, 1)`, a multiple of 2⁻⁵³.
    pub fn unit(self) -> f64 {
        (self.0 >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// A whole number in `[0, bound)`; 0 when `bound` is 0. The bias is below `bound` / 2⁶⁴.
    pub fn below(self, bound: u64) -> u64 {
        ((u128::from(self.0) * u128::from(bound)) >> 64) as u64
    }

    /// A generator for draws that need more than one number (normal, exponential …).
    pub fn generator(self) -> Pcg64Mcg {
        Pcg64Mcg::new(u128::from(mix(self.0)) << 64 | u128::from(self.0))
    }
}

/// The draw for one purpose of one try of one request at one version.
///
/// `nth` counts the tries at that version, from 0; draws that belong to the whole request use
/// `VersionId::default()` and 0.
pub fn draw(seed: Seed, purpose: Purpose, key: RequestKey, version: VersionId, nth: u32) -> Draw {
    let place = u64::from(version.0) << 32 | u64::from(nth);
    let mut state = mix(seed.0.wrapping_add(GOLDEN));
    for word in [purpose.word(), key.0, place] {
        state = mix((state ^ word).wrapping_add(GOLDEN));
    }
    Draw(state)
}

/// A hash of a name under a salt, uniform over 64 bits: the position of a sticky key.
pub fn keyed_hash(salt: u64, name: &str) -> Draw {
    let mut state = mix(salt.wrapping_add(GOLDEN));
    for chunk in name.as_bytes().chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        state = mix((state ^ u64::from_le_bytes(word)).wrapping_add(GOLDEN));
    }
    // The length keeps "a" and "a\0" apart, which fill the same eight bytes.
    Draw(mix(state ^ name.len() as u64))
}

/// The sequential stream of a traffic source: gaps between arrivals, in order.
pub fn arrivals(seed: Seed) -> Pcg64Mcg {
    Draw(mix(seed.0 ^ 0x6172_7269_7661_6c73)).generator()
}

/// 2⁶⁴ divided by the golden ratio: keeps an all-zero input from staying zero.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: Seed = Seed(7);

    fn split(key: u64) -> Draw {
        draw(
            SEED,
            Purpose::Split,
            RequestKey(key),
            VersionId::default(),
            0,
        )
    }

    #[test]
    fn sequential_keys_fill_the_unit_interval_evenly() {
        // χ² over 100 cells of 1,000 expected draws; 99 degrees of freedom: 99.99 % below 161.3
        // (scipy.stats.chi2.ppf(0.9999, 99) = 161.32).
        let mut cells = [0_u32; 100];
        for key in 0..100_000 {
            cells[(split(key).unit() * 100.0) as usize] += 1;
        }
        let chi2: f64 = cells
            .iter()
            .map(|&n| (f64::from(n) - 1000.0).powi(2) / 1000.0)
            .sum();
        assert!(chi2 < 161.3, "χ² = {chi2}");
    }

    #[test]
    fn purposes_versions_and_tries_are_independent() {
        // Agreement of the top bit between neighbours in each word: a fair coin, n = 20,000,
        // so 10,000 ± 354 covers five standard deviations.
        let variants: [fn(u64) -> Draw; 3] = [
            |k| draw(SEED, Purpose::Latency, RequestKey(k), VersionId(0), 0),
            |k| draw(SEED, Purpose::Split, RequestKey(k), VersionId(1), 0),
            |k| draw(SEED, Purpose::Split, RequestKey(k), VersionId(0), 1),
        ];
        for variant in variants {
            let agree = (0..20_000)
                .filter(|&k| split(k).0 >> 63 == variant(k).0 >> 63)
                .count();
            assert!((9_646..=10_354).contains(&agree), "{agree} of 20,000 agree");
        }
    }

    #[test]
    fn faults_have_their_own_draws() {
        let hit = |i| {
            draw(
                SEED,
                Purpose::Fault(i),
                RequestKey(3),
                VersionId::default(),
                0,
            )
        };
        assert_ne!(hit(0), hit(1));
    }

    #[test]
    fn bounded_draws_stay_inside() {
        assert_eq!(split(1).below(0), 0);
        assert!((0..1000).all(|k| split(k).below(7) < 7));
    }

    #[test]
    fn hashed_names_differ_by_length_and_salt() {
        assert_ne!(keyed_hash(1, "a"), keyed_hash(1, "a\0"));
        assert_ne!(keyed_hash(1, "a"), keyed_hash(2, "a"));
        assert_eq!(keyed_hash(1, "user-17"), keyed_hash(1, "user-17"));
    }
}
