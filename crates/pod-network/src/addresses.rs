//! Which address is free the longest. Pure.

use crate::config::Cidr;
use std::collections::{BTreeSet, VecDeque};
use std::net::Ipv4Addr;

/// Hands out never-used addresses in a circle first, then those freed, oldest first.
#[derive(Debug)]
pub(crate) struct Addresses {
    cidr: Cidr,
    /// Next never-used one, and how many are left.
    cursor: u32,
    fresh: u32,
    used: BTreeSet<Ipv4Addr>,
    /// With the slot that had it: its link may still be there.
    freed: VecDeque<(Ipv4Addr, u32)>,
    /// The addresses of `freed`.
    resting: BTreeSet<Ipv4Addr>,
}

impl Addresses {
    /// `used` are taken already; `after` was the last one handed out, if that is known.
    pub(crate) fn new(cidr: Cidr, used: BTreeSet<Ipv4Addr>, after: Option<Ipv4Addr>) -> Self {
        let (first, last) = cidr.pod_range();
        let cursor = after
            .map(|a| u32::from(a).wrapping_add(1))
            .filter(|c| (first..=last).contains(c))
            .unwrap_or(first);
        Self {
            cidr,
            cursor,
            fresh: last - first + 1,
            used,
            freed: VecDeque::new(),
            resting: BTreeSet::new(),
        }
    }

    /// An address that nobody has and whose last owner is `gone`.
    pub(crate) fn take(&mut self, gone: impl Fn(u32) -> bool) -> Option<Ipv4Addr> {
        let (first, last) = self.cidr.pod_range();
        while self.fresh > 0 {
            let address = Ipv4Addr::from(self.cursor);
            self.cursor = if self.cursor == last {
                first
            } else {
                self.cursor + 1
            };
            self.fresh -= 1;
            if !self.resting.contains(&address) && self.used.insert(address) {
                return Some(address);
            }
        }
        let at = self.freed.iter().position(|(_, slot)| gone(*slot))?;
        let (address, _) = self.freed.remove(at)?;
        self.resting.remove(&address);
        self.used.insert(address);
        Some(address)
    }

    /// Back, once the links of `slot` are gone.
    pub(crate) fn free(&mut self, address: Ipv4Addr, slot: u32) {
        if self.used.remove(&address) && self.cidr.contains(address) {
            self.freed.push_back((address, slot));
            self.resting.insert(address);
        }
    }

    /// Freed, but perhaps not gone yet.
    pub(crate) fn awaited(&self) -> usize {
        self.freed.len()
    }

    pub(crate) fn in_use(&self) -> usize {
        self.used.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(used: &[[u8; 4]], after: Option<[u8; 4]>) -> Addresses {
        // .0 is the network, .1 the node, .7 the broadcast address
        Addresses::new(
            "10.9.0.0/29".parse().unwrap(),
            used.iter().map(|a| Ipv4Addr::from(*a)).collect(),
            after.map(Ipv4Addr::from),
        )
    }

    #[test]
    fn every_address_is_given_once_before_one_is_given_again() {
        let mut pool = pool(&[], None);
        let all: Vec<u8> = (0..5)
            .map(|_| pool.take(|_| true).unwrap().octets()[3])
            .collect();
        assert_eq!(all, [2, 3, 4, 5, 6]);
        assert_eq!(pool.take(|_| true), None);
        assert_eq!(pool.in_use(), 5);
    }

    #[test]
    fn the_address_free_the_longest_comes_first_and_only_when_its_link_is_gone() {
        let mut pool = pool(&[], None);
        while pool.take(|_| true).is_some() {}
        pool.free(Ipv4Addr::new(10, 9, 0, 5), 50);
        pool.free(Ipv4Addr::new(10, 9, 0, 2), 20);
        pool.free(Ipv4Addr::new(10, 9, 0, 2), 20);
        assert_eq!(pool.take(|_| false), None);
        assert_eq!(pool.take(|slot| slot != 50).unwrap().octets()[3], 2);
        assert_eq!(pool.take(|_| true).unwrap().octets()[3], 5);
        assert_eq!(pool.take(|_| true), None);
    }

    #[test]
    fn a_new_agent_goes_on_after_the_last_address_of_the_old_one() {
        let mut pool = pool(&[[10, 9, 0, 5], [10, 9, 0, 2]], Some([10, 9, 0, 5]));
        let all: Vec<u8> = std::iter::from_fn(|| pool.take(|_| true))
            .map(|a| a.octets()[3])
            .collect();
        assert_eq!(all, [6, 3, 4]);
    }
}
