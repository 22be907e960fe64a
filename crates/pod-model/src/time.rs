//! Two clocks in one value. Deadlines and back-off use [`MonoTime`]; [`WallTime`] is only printed.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Nanoseconds of `CLOCK_BOOTTIME`: never set back, goes on during suspend, and the same for every process of one boot, so a
/// deadline written by one agent means the same to the next.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct MonoTime(pub u64);

impl MonoTime {
    #[must_use]
    pub fn plus(self, d: Duration) -> MonoTime {
        MonoTime(
            self.0
                .saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
    /// Time from `earlier` to `self`; zero if `earlier` is later.
    pub fn since(self, earlier: MonoTime) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Nanoseconds since 1970-01-01T00:00:00Z by `CLOCK_REALTIME`. May jump in both directions: print it, never subtract it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct WallTime(pub i64);

/// The time at which something is decided or was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Now {
    pub mono: MonoTime,
    pub wall: WallTime,
}
