//! What the kernel shows of the containers, and how old the look is.

use crate::{ContainerKey, MonoTime, WallTime};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A version of the container host's view. It grows with every completed change (start, exit, removal), so of two looks the one with
/// the greater `Seq` is the newer, whatever order they arrive in.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seq(pub u64);

/// A complete listing: a container that is not in it did not exist when the look `as_of` began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    pub as_of: Seq,
    pub containers: BTreeMap<ContainerKey, ObservedContainer>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedContainer {
    pub state: ObservedState,
    /// Of one that has exited: as [`ExitSeen::last_words`](crate::ExitSeen::last_words).
    pub last_words: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObservedState {
    /// Made, and not (yet) known to have executed its program: a crash of the agent fell between the two.
    Created,
    Running {
        pid: u32,
        started_at: WallTime,
    },
    Exited(ExitRecord),
}

/// How a container's first process ended. Written once, never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// The code of a shell's `$?`: the program's own, or 128 + signal.
    pub code: i32,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    pub cause: ExitCause,
    pub started_at: WallTime,
    pub finished_at: WallTime,
    /// `CLOCK_BOOTTIME` of the exit: what back-off is counted from.
    pub finished_mono: MonoTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitCause {
    /// It ended by itself or by a signal; `code` and `signal` tell.
    Exited,
    /// The kernel killed it for want of memory in its cgroup.
    OomKilled,
    /// It is gone and nobody was there to see how: reported as 137, `ContainerStatusUnknown`, never as success.
    Unknown,
}
