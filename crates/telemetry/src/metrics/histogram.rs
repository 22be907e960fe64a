//! Histograms of durations.

use super::{Kind, Sample, Text};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The bucket bounds of Prometheus' client libraries, in seconds.
pub const DEFAULT_BUCKETS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Counts durations by upper bounds, in seconds.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One for each bound and one beyond the last; not cumulative.
    counts: Box<[AtomicU64]>,
    sum_ns: AtomicU64,
}

impl Histogram {
    /// `bounds` are in seconds and go up.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum_ns: AtomicU64::new(0),
        }
    }
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = self.bounds.partition_point(|bound| *bound < seconds);
        self.counts[bucket].fetch_add(1, Relaxed);
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sum_ns.fetch_add(ns, Relaxed);
    }
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|c| c.load(Relaxed)).sum()
    }
}

impl Sample for Histogram {
    const KIND: Kind = Kind::Histogram;
    fn write(&self, name: &str, labels: &[(&str, &str)], out: &mut Text) {
        let mut below = 0;
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        for (bound, count) in bounds.zip(&self.counts) {
            below += count.load(Relaxed);
            let mut text = Text::new();
            text.number(bound);
            let bound = text.finish();
            let last = Some(("le", bound.as_str()));
            out.sample_with(name, "_bucket", labels, last, below as f64, None);
        }
        let sum = Duration::from_nanos(self.sum_ns.load(Relaxed)).as_secs_f64();
        out.sample_with(name, "_sum", labels, None, sum, None);
        // The same number as of the last bucket, even while others count.
        out.sample_with(name, "_count", labels, None, below as f64, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_up_to_their_bound() {
        let histogram = Histogram::new(&[0.5, 1.0]);
        for ms in [0, 500, 501, 1000, 1001, 90_000] {
            histogram.observe(Duration::from_millis(ms));
        }
        let mut text = Text::new();
        histogram.write("h", &[("a", "b")], &mut text);
        assert_eq!(
            text.finish(),
            "h_bucket{a=\"b\",le=\"0.5\"} 2\nh_bucket{a=\"b\",le=\"1\"} 4\nh_bucket{a=\"b\",le=\"+Inf\"} 6\nh_sum{a=\"b\"} 93.002\nh_count{a=\"b\"} 6\n"
        );
        assert_eq!(histogram.count(), 6);
    }
}
