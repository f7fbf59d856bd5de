//! A small log-linear histogram of latencies: fixed size, mergeable, subtractable.
//!
//! 32 linear buckets an octave, so a reported value is within 1/64 (1.6 %) of the sample it stands
//! for; below 64 µs values are exact. Windows and timelines need many of these at once, and
//! windows must take old samples out again; the summary of a run uses an HdrHistogram instead.

use std::time::Duration;

const SUB_BITS: u32 = 5;
const SUB: u64 = 1 << SUB_BITS;
/// Values of 2³² µs (71 minutes) and above share the last bucket.
const LARGEST: u64 = (1 << 32) - 1;
const BUCKETS: usize = (32 - SUB_BITS as usize + 1) * SUB as usize;

/// Counts of latencies by size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogHistogram {
    counts: Vec<u32>,
    total: u64,
}

impl Default for LogHistogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
        }
    }
}

impl LogHistogram {
    /// Bytes that one histogram keeps.
    pub const BYTES: usize = BUCKETS * size_of::<u32>() + size_of::<Self>();

    /// Counts one latency.
    pub fn record(&mut self, latency: Duration) {
        self.counts[bucket(latency)] += 1;
        self.total += 1;
    }

    /// Counts a latency so many times.
    pub fn record_many(&mut self, latency: Duration, times: u32) {
        let count = &mut self.counts[bucket(latency)];
        *count = count.saturating_add(times);
        self.total += u64::from(times);
    }

    /// How many latencies are counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
    }

    /// Adds the counts of another histogram.
    pub fn add(&mut self, other: &Self) {
        for (own, more) in self.counts.iter_mut().zip(&other.counts) {
            *own += more;
        }
        self.total += other.total;
    }

    /// Takes out counts that were added or recorded before.
    pub fn subtract(&mut self, other: &Self) {
        for (own, less) in self.counts.iter_mut().zip(&other.counts) {
            *own -= less;
        }
        self.total -= other.total;
    }

    /// The latency at a 1-based rank, to within 1.6 %; none outside `1..=total`.
    pub fn at_rank(&self, rank: u64) -> Option<Duration> {
        if rank == 0 {
            return None;
        }
        let mut seen = 0;
        let found = self.counts.iter().position(|&count| {
            seen += u64::from(count);
            seen >= rank
        })?;
        Some(Duration::from_micros(middle(found as u64)))
    }
}

fn bucket(latency: Duration) -> usize {
    let micros = u64::try_from(latency.as_micros())
        .unwrap_or(LARGEST)
        .min(LARGEST);
    if micros < SUB {
        return micros as usize;
    }
    let octave = micros.ilog2() - SUB_BITS;
    let sub = (micros >> octave) - SUB;
    (u64::from(octave + 1) * SUB + sub) as usize
}

/// The middle of a bucket, in µs.
fn middle(bucket: u64) -> u64 {
    if bucket < SUB {
        return bucket;
    }
    let octave = bucket / SUB - 1;
    let low = (SUB + bucket % SUB) << octave;
    low + (1 << octave) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_is_read_back_within_its_precision() {
        for micros in (0..200_u64).chain([1_000, 40_123, 500_000, 59_999_999, LARGEST]) {
            let mut histogram = LogHistogram::default();
            histogram.record(Duration::from_micros(micros));
            let read = histogram.at_rank(1).unwrap().as_micros() as f64;
            let error = (read - micros as f64).abs() / (micros as f64).max(1.0);
            assert!(error <= 1.0 / 64.0, "{micros} µs read as {read}");
        }
    }

    #[test]
    fn buckets_are_in_order_and_cover_everything() {
        let mut last = 0;
        for micros in (0..5_000_u64).chain([1 << 20, 1 << 31, LARGEST]) {
            let at = bucket(Duration::from_micros(micros));
            assert!(at >= last && at < BUCKETS);
            last = at;
        }
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn what_was_added_can_be_taken_out_again() {
        let (mut all, mut part) = (LogHistogram::default(), LogHistogram::default());
        all.record(Duration::from_millis(3));
        part.record(Duration::from_millis(70));
        let before = all.clone();
        all.add(&part);
        assert_eq!(all.total(), 2);
        all.subtract(&part);
        assert_eq!(all, before);
        assert_eq!(all.at_rank(0), None);
        assert_eq!(all.at_rank(2), None);
    }
}
