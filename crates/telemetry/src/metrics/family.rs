//! One metric with labels.

use super::{Kind, Sample, Text};
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// More series than this of one family are counted together, under label values `other`: no tenant can make the agent grow.
const MOST_SERIES: usize = 512;

/// The label values of a series. It is looked up by lent ones, [`Lent`]: to look needs no memory.
#[derive(Debug)]
struct Key<const N: usize>([Box<str>; N]);

/// Label values, a series' own or lent ones. The order of both is by the last label first: a uid differs where a type or a result does not.
trait Values {
    fn count(&self) -> usize;
    /// Of a label from 0 to [`Self::count`].
    fn value(&self, label: usize) -> &str;
}

struct Lent<'a, const N: usize>([&'a str; N]);

impl<const N: usize> Values for Key<N> {
    fn count(&self) -> usize {
        N
    }
    fn value(&self, label: usize) -> &str {
        &self.0[label]
    }
}
impl<const N: usize> Values for Lent<'_, N> {
    fn count(&self) -> usize {
        N
    }
    fn value(&self, label: usize) -> &str {
        self.0[label]
    }
}
impl<'a, const N: usize> Borrow<dyn Values + 'a> for Key<N> {
    fn borrow(&self) -> &(dyn Values + 'a) {
        self
    }
}
impl Ord for dyn Values + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        (0..self.count().min(other.count()))
            .rev()
            .map(|label| self.value(label).cmp(other.value(label)))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| self.count().cmp(&other.count()))
    }
}
impl PartialOrd for dyn Values + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for dyn Values + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for dyn Values + '_ {}

impl<const N: usize> Ord for Key<N> {
    fn cmp(&self, other: &Self) -> Ordering {
        let (mine, theirs): (&dyn Values, &dyn Values) = (self, other);
        mine.cmp(theirs)
    }
}
impl<const N: usize> PartialOrd for Key<N> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<const N: usize> PartialEq for Key<N> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl<const N: usize> Eq for Key<N> {}

/// Values of one metric, by `N` labels. A series is there from its first use on.
#[derive(Debug)]
pub struct Family<T, const N: usize> {
    labels: [&'static str; N],
    make: fn() -> T,
    most: usize,
    series: RwLock<BTreeMap<Key<N>, Arc<T>>>,
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
        series.remove(&Lent(values) as &dyn Values);
    }
    /// The series with these label values, made if it is new.
    pub fn of(&self, values: [&str; N]) -> Arc<T> {
        let lent = &Lent(values) as &dyn Values;
        if let Some(found) = self
            .series
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(lent)
        {
            return Arc::clone(found);
        }
        let mut series = self.series.write().unwrap_or_else(PoisonError::into_inner);
        let values = if series.len() >= self.most && !series.contains_key(lent) {
            [const { "other" }; N]
        } else {
            values
        };
        let key = Key(values.map(Box::from));
        Arc::clone(series.entry(key).or_insert_with(|| Arc::new((self.make)())))
    }
}

impl<T: Sample, const N: usize> Sample for Family<T, N> {
    const KIND: Kind = T::KIND;
    fn write(&self, name: &str, outer: &[(&str, &str)], out: &mut Text) {
        let series = self.series.read().unwrap_or_else(PoisonError::into_inner);
        for (values, value) in &*series {
            let mut labels = outer.to_vec();
            let values = values.0.iter().map(|v| &**v);
            labels.extend(self.labels.iter().copied().zip(values));
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
