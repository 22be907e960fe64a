//! One metric with labels.

use super::{Kind, Sample, Text};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// More series than this of one family are counted together, under label values `other`: no tenant can make the agent grow.
const MOST_SERIES: usize = 512;

/// Values of one metric, by `N` labels. A series is there from its first use on.
#[derive(Debug)]
pub struct Family<T, const N: usize> {
    labels: [&'static str; N],
    make: fn() -> T,
    most: usize,
    series: RwLock<BTreeMap<[Box<str>; N], Arc<T>>>,
}

impl<T, const N: usize> Family<T, N> {
    pub const fn new(labels: [&'static str; N], make: fn() -> T) -> Self {
        Self {
            labels,
            make,
            most: MOST_SERIES,
            series: RwLock::new(BTreeMap::new()),
        }
    }
    /// With room for so many series.
    #[must_use]
    pub fn with_room(mut self, most: usize) -> Self {
        self.most = most;
        self
    }
    /// Ends the series with these label values: what it counted is gone for good.
    pub fn forget(&self, values: [&str; N]) {
        let mut series = self.series.write().unwrap_or_else(PoisonError::into_inner);
        series.remove(&values.map(Box::from));
    }
    /// The series with these label values, made if it is new.
    pub fn of(&self, values: [&str; N]) -> Arc<T> {
        let key = values.map(Box::from);
        if let Some(found) = self
            .series
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
        {
            return Arc::clone(found);
        }
        let mut series = self.series.write().unwrap_or_else(PoisonError::into_inner);
        let key = if series.len() >= self.most && !series.contains_key(&key) {
            [const { "other" }; N].map(Box::from)
        } else {
            key
        };
        Arc::clone(series.entry(key).or_insert_with(|| Arc::new((self.make)())))
    }
}

impl<T: Sample, const N: usize> Sample for Family<T, N> {
    const KIND: Kind = T::KIND;
    fn write(&self, name: &str, outer: &[(&str, &str)], out: &mut Text) {
        let series = self.series.read().unwrap_or_else(PoisonError::into_inner);
        for (values, value) in &*series {
            let mut labels = outer.to_vec();
            labels.extend(self.labels.iter().copied().zip(values.iter().map(|v| &**v)));
            value.write(name, &labels, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Counter;

    #[test]
    fn a_series_is_made_once_and_there_are_not_too_many() {
        let family: Family<Counter, 1> = Family::new(["code"], Counter::new);
        family.of(["a"]).inc();
        family.of(["a"]).inc();
        for n in 0..2 * MOST_SERIES {
            family.of([&n.to_string()]).inc();
        }
        family.of(["a"]).inc();
        let mut text = Text::new();
        family.write("m", &[], &mut text);
        let text = text.finish();
        assert!(text.contains("m{code=\"a\"} 3\n"));
        assert_eq!(text.lines().count(), MOST_SERIES + 1);
        assert!(text.contains(&format!("m{{code=\"other\"}} {}\n", MOST_SERIES + 1)));
    }

    #[test]
    fn a_series_that_is_forgotten_begins_anew() {
        let family = Family::new(["code"], Counter::new).with_room(1);
        family.of(["a"]).inc();
        family.forget(["a"]);
        family.forget(["b"]);
        family.of(["b"]).inc();
        let mut text = Text::new();
        family.write("m", &[], &mut text);
        assert_eq!(text.finish(), "m{code=\"b\"} 1\n");
    }
}
