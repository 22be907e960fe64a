//! How long to wait before trying again. Three rules: a crashed container, an image that cannot be pulled, and everything else.

use crate::Settings;
use pod_model::MonoTime;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A container that ran this long starts anew at the first wait. A kubelet counts from its decision to start it, and starts it at once;
/// here a start may wait for its turn, which is not running.
const FORGET_CRASHES_AFTER: Duration = Duration::from_secs(600);
const FIRST_PULL_WAIT: Duration = Duration::from_secs(10);
const LONGEST_PULL_WAIT: Duration = Duration::from_secs(300);

/// The wait of a container that ended and is to be started again.
///
/// Matches a kubelet's `doBackOff` over `flowcontrol.Backoff`: the first restart happens at once and sets the wait to 10 s; the
/// second happens 10 s after the end of the container, and doubles it; and so on up to the longest. The wait is counted from the
/// end of the container, so what it ran counts for nothing. A change of the container's image or resources forgets all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CrashBackOff {
    /// Zero: not restarted yet.
    delay: Duration,
    /// When it was last decided to start, and then when it was first seen to run.
    updated: MonoTime,
    /// Of the image and the resources that the delay is about.
    fingerprint: u64,
}

impl CrashBackOff {
    /// Until when the container that ended at `finished` has to wait; `None` if it may start now.
    pub fn until(&self, finished: MonoTime, fingerprint: u64, now: MonoTime) -> Option<MonoTime> {
        if self.is_forgotten(finished, fingerprint) {
            return None;
        }
        Some(finished.plus(self.delay)).filter(|until| *until > now)
    }
    /// It is started again.
    pub fn advance(
        &mut self,
        finished: MonoTime,
        fingerprint: u64,
        settings: &Settings,
        now: MonoTime,
    ) {
        self.delay = if self.is_forgotten(finished, fingerprint) {
            settings.first_crash_back_off()
        } else {
            (self.delay * 2).min(settings.longest_crash_back_off())
        };
        self.updated = now;
        self.fingerprint = fingerprint;
    }
    /// It was started. What nobody saw start is counted from when it was seen first; of one that was seen ended, that is its end.
    pub(crate) fn started(&mut self, at: MonoTime) {
        self.updated = self.updated.max(at);
    }
    /// The wait in force.
    pub fn delay(&self) -> Duration {
        self.delay
    }
    /// After a reboot: the wait is kept and starts again now, as the old clock is gone.
    pub(crate) fn rebooted(&mut self, now: MonoTime) {
        self.updated = now;
    }
    fn is_forgotten(&self, finished: MonoTime, fingerprint: u64) -> bool {
        self.delay.is_zero()
            || self.fingerprint != fingerprint
            || finished.since(self.updated) > FORGET_CRASHES_AFTER
    }
}

/// The wait between two pulls of an image: 10 s, doubling to 300 s, counted from the failure; forgotten after 600 s without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PullBackOff {
    delay: Duration,
    updated: MonoTime,
}

impl PullBackOff {
    /// A pull failed; returns how long to wait.
    pub fn advance(&mut self, now: MonoTime) -> Duration {
        self.delay = if self.delay.is_zero() || now.since(self.updated) > LONGEST_PULL_WAIT * 2 {
            FIRST_PULL_WAIT
        } else {
            (self.delay * 2).min(LONGEST_PULL_WAIT)
        };
        self.updated = now;
        self.delay
    }
    pub(crate) fn rebooted(&mut self, now: MonoTime) {
        self.updated = now;
    }
}

/// The wait before the same thing is tried again. `tries` counts the failures in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Retry {
    pub tries: u32,
    /// Not before this; `None`: at once.
    pub at: Option<MonoTime>,
}

impl Retry {
    /// It failed, or has to be looked after again: `first`, doubling up to `longest`; not before `at_least` if the other side asked so.
    pub fn later(
        &mut self,
        first: Duration,
        longest: Duration,
        at_least: Option<Duration>,
        now: MonoTime,
    ) {
        let wait = (first * 2u32.saturating_pow(self.tries.min(16))).min(longest);
        self.tries = self.tries.saturating_add(1);
        self.at = Some(now.plus(wait.max(at_least.unwrap_or_default())));
    }
    pub(crate) fn rebooted(&mut self) {
        self.at = None;
    }
}

/// FNV-1a: the same in every process and every version, unlike the standard library's.
#[derive(Clone, Copy)]
pub(crate) struct Fingerprint(pub(crate) u64);

impl Default for Fingerprint {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl std::fmt::Write for Fingerprint {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}

impl Fingerprint {
    pub(crate) fn of(what: std::fmt::Arguments<'_>) -> u64 {
        let mut fingerprint = Self::default();
        // writing into a number does not fail
        let _ = std::fmt::Write::write_fmt(&mut fingerprint, what);
        fingerprint.0
    }
}
