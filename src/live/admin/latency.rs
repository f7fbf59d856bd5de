//! Latencies in the few classes that Prometheus knows how to add up.

use std::time::Duration;

/// Upper bounds of the classes, in seconds. Above the last one there is one more class.
pub const BOUNDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0,
];

/// How many latencies fell into each class.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Latency {
    counts: [u64; BOUNDS.len() + 1],
    /// All of them added up, in seconds.
    pub sum: f64,
}

impl Latency {
    /// Counts one.
    pub fn add(&mut self, latency: Duration) {
        let seconds = latency.as_secs_f64();
        self.counts[BOUNDS.partition_point(|bound| *bound < seconds)] += 1;
        self.sum += seconds;
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The mean in milliseconds; none without any.
    pub fn mean_ms(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum * 1e3 / count as f64)
    }

    /// The classes with their upper bounds, not added up; the last one is infinite.
    pub fn classes(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
        bounds.zip(self.counts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_own_class() {
        let mut latency = Latency::default();
        for ms in [5, 6, 60_000, 60_001] {
            latency.add(Duration::from_millis(ms));
        }
        let counts: Vec<u64> = latency.classes().into_iter().map(|(_, n)| n).collect();
        let mut expected = vec![0; 15];
        for class in [0, 1, 13, 14] {
            expected[class] = 1;
        }
        assert_eq!((counts, latency.count()), (expected, 4));
        assert_eq!(Latency::default().mean_ms(), None);
    }
}
