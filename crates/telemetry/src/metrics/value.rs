//! Counters and gauges.

use super::{Kind, Sample, Text};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// Only goes up.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }
    pub fn inc(&self) {
        self.add(1);
    }
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    pub const fn new() -> Self {
        Self(AtomicI64::new(0))
    }
    pub fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Relaxed);
    }
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

impl Sample for Counter {
    const KIND: Kind = Kind::Counter;
    fn write(&self, name: &str, labels: &[(&str, &str)], out: &mut Text) {
        out.sample(name, labels, self.get() as f64, None);
    }
}

impl Sample for Gauge {
    const KIND: Kind = Kind::Gauge;
    fn write(&self, name: &str, labels: &[(&str, &str)], out: &mut Text) {
        out.sample(name, labels, self.get() as f64, None);
    }
}
