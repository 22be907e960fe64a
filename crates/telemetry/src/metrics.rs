//! Metrics: values that cost one atomic operation, and the Prometheus text format, version 0.0.4, as a kubelet writes it.
//!
//! A metric owns its name. There is no registry to look things up in: whoever owns metrics writes them, in its order, with
//! [`Metric::write`]; what is only known at the moment of a scrape is written with [`Text`] directly.

mod family;
mod histogram;
mod text;
mod value;

pub use family::Family;
pub use histogram::{DEFAULT_BUCKETS, Histogram};
pub use text::{Kind, Stability, Text};
pub use value::{Counter, Gauge};

/// Name and help of a metric, as they stand before its samples.
#[derive(Debug, Clone, Copy)]
pub struct Description {
    pub name: &'static str,
    /// Without a stability in brackets.
    pub help: &'static str,
    pub stability: Stability,
}

impl Description {
    pub const fn alpha(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            stability: Stability::Alpha,
        }
    }
}

/// A value that can write its samples under a name.
pub trait Sample {
    const KIND: Kind;
    fn write(&self, name: &str, labels: &[(&str, &str)], out: &mut Text);
}

/// A value with its name.
#[derive(Debug)]
pub struct Metric<T> {
    description: Description,
    value: T,
}

impl<T: Sample> Metric<T> {
    pub const fn new(description: Description, value: T) -> Self {
        Self { description, value }
    }
    /// Writes nothing for a family without a series, as client libraries do.
    pub fn write(&self, out: &mut Text) {
        let before = out.len();
        out.begin(&self.description, T::KIND);
        let begun = out.len();
        self.value.write(self.description.name, &[], out);
        if out.len() == begun {
            out.truncate(before);
        }
    }
}

impl<T> std::ops::Deref for Metric<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}
