//! Which probe is due when: one ordered set for all of a node.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use tokio::time::Instant;

/// Tries after the first come on a grid: those of one moment share a wake of the task, which at a thousand a second costs as much as they
/// do. A second is a multiple of it, so a probe that has once come on the grid stays on it.
const GRAIN: Duration = Duration::from_millis(50);

/// Names one probe of one attempt while this agent lives.
pub(crate) type Id = u64;

#[derive(Debug)]
pub(crate) struct Schedule {
    due: BTreeSet<(Instant, Id)>,
    of: HashMap<Id, Instant>,
    /// A point of the grid.
    origin: Instant,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            due: BTreeSet::new(),
            of: HashMap::new(),
            origin: Instant::now(),
        }
    }
}

impl Schedule {
    /// The first point of the grid that is not before `at`.
    pub(crate) fn on_grid(&self, at: Instant) -> Instant {
        let past = at.saturating_duration_since(self.origin).as_nanos() % GRAIN.as_nanos();
        let past = Duration::from_nanos(u64::try_from(past).unwrap_or(0));
        if past.is_zero() {
            at
        } else {
            at + (GRAIN - past)
        }
    }
    pub(crate) fn set(&mut self, id: Id, at: Instant) {
        self.remove(id);
        self.due.insert((at, id));
        self.of.insert(id, at);
    }
    pub(crate) fn remove(&mut self, id: Id) {
        if let Some(at) = self.of.remove(&id) {
            self.due.remove(&(at, id));
        }
    }
    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }
    /// Takes out one probe whose moment has come, and says when that was.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<(Id, Instant)> {
        let (at, id) = *self.due.first().filter(|(at, _)| *at <= now)?;
        self.remove(id);
        Some((id, at))
    }
}

/// How long until the first try. `age` is the container's; `share` of a period, between 0 and 1, is waited for in addition when the container
/// is older than this agent: after a restart not all probes of a node come at once.
pub(crate) fn first_wait(
    initial_delay: Duration,
    period: Duration,
    age: Duration,
    share: Option<f64>,
) -> Duration {
    let jitter = share.map_or(Duration::ZERO, |share| {
        period.mul_f64(share.clamp(0.0, 1.0))
    });
    initial_delay.saturating_sub(age) + jitter
}

/// The try after one that was due at `due` and ended now. Tries that were missed meanwhile are left out, as a ticker does.
pub(crate) fn following(due: Instant, period: Duration, now: Instant) -> Instant {
    (due + period).max(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn probes_come_in_the_order_of_their_moments() {
        let (mut schedule, start) = (Schedule::default(), Instant::now());
        for (id, seconds) in [(1, 3), (2, 1), (3, 2), (4, 9)] {
            schedule.set(id, start + s(seconds));
        }
        schedule.set(3, start + s(4));
        schedule.remove(1);
        assert_eq!(schedule.next(), Some(start + s(1)));
        let mut popped = Vec::new();
        while let Some((id, at)) = schedule.pop(start + s(5)) {
            popped.push((id, at.duration_since(start).as_secs()));
        }
        assert_eq!(popped, [(2, 1), (3, 4)]);
        assert_eq!(schedule.next(), Some(start + s(9)));
        schedule.remove(4);
        schedule.remove(4);
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn the_first_try_comes_after_the_initial_delay() {
        let wait = |delay, age, share| first_wait(s(delay), s(10), s(age), share).as_secs();
        assert_eq!(wait(0, 0, None), 0);
        assert_eq!(wait(15, 0, None), 15);
        assert_eq!(wait(15, 5, None), 10);
        assert_eq!(wait(15, 60, None), 0);
        assert_eq!(wait(0, 60, Some(0.5)), 5);
        assert_eq!(wait(15, 5, Some(0.1)), 11);
    }

    #[test]
    fn tries_gather_on_a_grid_and_stay_there() {
        let schedule = Schedule::default();
        let after = |ms| schedule.origin + Duration::from_millis(ms);
        for (at, on_grid) in [(0, 0), (1, 50), (49, 50), (50, 50), (1021, 1050)] {
            assert_eq!(schedule.on_grid(after(at)), after(on_grid), "{at}");
        }
        let first = schedule.on_grid(after(3));
        let next = following(first, s(1), first + Duration::from_millis(5));
        assert_eq!(schedule.on_grid(next), next);
    }

    #[test]
    fn a_slow_probe_is_not_made_up_for() {
        let start = Instant::now();
        let next = |now| (following(start, s(10), start + s(now)) - start).as_secs();
        assert_eq!(next(1), 10);
        assert_eq!(next(25), 25);
    }
}
