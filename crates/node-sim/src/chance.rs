//! Chance that comes from a number and from nothing else: the same seed gives the same history, on every machine, for ever.
//!
//! SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014) and FNV-1a, written out here because a
//! library's next version may draw other numbers, and a saved seed would mean another history.

use std::hash::{Hash, Hasher};

/// A source of chance.
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }
    /// About one thing, the `nth` time: asking about other things in between changes nothing, so that a shortened history goes on
    /// as the long one did.
    pub(crate) fn about(salt: u64, what: &impl Hash, nth: u32) -> Self {
        let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
        what.hash(&mut hasher);
        nth.hash(&mut hasher);
        Self(hasher.finish() ^ salt)
    }
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// From 0 to `end`, exclusive; 0 if `end` is.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        // the bias of the remainder is 2^-50 here
        self.next() % end.max(1)
    }
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }
    pub(crate) fn percent(&mut self, percent: u8) -> bool {
        self.below(100) < u64::from(percent)
    }
    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())].clone()
    }
}

#[derive(Debug)]
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_paper() {
        let mut chance = Chance::new(1_234_567);
        assert_eq!(
            [chance.next(), chance.next(), chance.next()],
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[test]
    fn what_is_asked_in_between_changes_nothing() {
        let first = Chance::about(7, &"start", 3).next();
        Chance::about(7, &"stop", 1).next();
        assert_eq!(Chance::about(7, &"start", 3).next(), first);
        assert_ne!(Chance::about(7, &"start", 4).next(), first);
        assert_ne!(Chance::about(8, &"start", 3).next(), first);
    }
}
