//! Latencies of a whole run, to three digits, in constant memory.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::stats::quantile::Quantile;

/// Longest latency that is told apart: one hour. Longer ones count as one hour.
const LONGEST_MICROS: u64 = 3_600_000_000;

/// Latencies in µs, each kept to within 0.1 %.
#[derive(Clone, Debug)]
pub struct Latencies {
    /// None only if the library refused its own constant bounds, which it does not.
    histogram: Option<Histogram<u64>>,
    sum: Duration,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            histogram: Histogram::new_with_bounds(1, LONGEST_MICROS, 3).ok(),
            sum: Duration::ZERO,
        }
    }
}

impl Latencies {
    /// Counts one latency.
    pub fn record(&mut self, latency: Duration) {
        self.record_many(latency, 1);
    }

    /// Counts a latency so many times.
    pub fn record_many(&mut self, latency: Duration, times: u32) {
        self.sum = self.sum.saturating_add(latency.saturating_mul(times));
        if let Some(histogram) = &mut self.histogram {
            let micros = u64::try_from(latency.as_micros()).unwrap_or(LONGEST_MICROS);
            histogram.saturating_record_n(micros.min(LONGEST_MICROS), u64::from(times));
        }
    }

    /// How many latencies are counted.
    pub fn count(&self) -> u64 {
        self.histogram.as_ref().map_or(0, Histogram::len)
    }

    /// The latency at a quantile by nearest rank; none when there are none.
    pub fn at(&self, quantile: Quantile) -> Option<Duration> {
        let histogram = self.histogram.as_ref().filter(|h| !h.is_empty())?;
        let micros = histogram.value_at_quantile(quantile.fraction());
        Some(Duration::from_micros(micros))
    }

    /// The latency of this rank, from 1, in order of length; none when there are fewer.
    pub fn of_rank(&self, rank: u64) -> Option<Duration> {
        let histogram = self.histogram.as_ref()?;
        let is_there = (1..=histogram.len()).contains(&rank);
        let share = rank as f64 / histogram.len() as f64;
        is_there.then(|| Duration::from_micros(histogram.value_at_quantile(share)))
    }

    /// The arithmetic mean; none when there are none.
    pub fn mean(&self) -> Option<Duration> {
        let count = u32::try_from(self.count()).ok().filter(|n| *n > 0)?;
        Some(self.sum / count)
    }

    /// The longest; none when there are none.
    pub fn max(&self) -> Option<Duration> {
        let histogram = self.histogram.as_ref().filter(|h| !h.is_empty())?;
        Some(Duration::from_micros(histogram.max()))
    }
}
