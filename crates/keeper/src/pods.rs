//! Shared PID namespaces: one process of the keeper's per pod that has one, PID 1 in there, which collects orphans and does nothing else.
//!
//! It lives in the keeper's cgroup, so that no container's end is its end. `<run>/containers/<uid>/pod-init` names it for a later keeper.

use crate::pid_file;
use crate::protocol::Process;
use linux_sys::clone::{Clone3, spawn};
use linux_sys::pidfd::{pidfd_has_ended, pidfd_kill, pidfd_open};
use pod_model::{MonoTime, Now, WallTime};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

pub(crate) const PID_FILE: &str = "pod-init";

pub(crate) struct PodInit {
    pub(crate) number: u64,
    pub(crate) process: Process,
    pub(crate) pidfd: OwnedFd,
}

pub(crate) fn now() -> Now {
    Now {
        mono: MonoTime(linux_sys::clock::boottime_nanos()),
        wall: WallTime(linux_sys::clock::realtime_nanos()),
    }
}

impl PodInit {
    /// Makes the namespace with its first process.
    pub(crate) fn start(number: u64, directory: &Path) -> io::Result<Self> {
        let how = Clone3 {
            new_pids: true,
            ..Clone3::default()
        };
        let child = spawn(&how, || {
            let _ = rustix::thread::set_name(c"coracle-pod");
            linux_sys::reaper::reap_forever()
        })?;
        let start_ticks = linux_sys::process::start_ticks(child.pid)?;
        let process = Process {
            pid: child.pid,
            start_ticks,
            started_at: now(),
        };
        let this = Self {
            number,
            process,
            pidfd: child.pidfd,
        };
        if let Err(e) = pid_file::write_as(directory, PID_FILE, &process) {
            this.end()?;
            return Err(e);
        }
        Ok(this)
    }

    /// Finds the one that an earlier keeper made, if it lives.
    pub(crate) fn find(number: u64, directory: &Path) -> Option<Self> {
        let process = pid_file::read_as(directory, PID_FILE)?;
        let pidfd = identify(&process)?;
        let found = Self {
            number,
            process,
            pidfd,
        };
        found.is_live().then_some(found)
    }

    pub(crate) fn is_live(&self) -> bool {
        !pidfd_has_ended(self.pidfd.as_fd()).unwrap_or(true)
    }

    /// Everything in the namespace ends with it.
    pub(crate) fn end(&self) -> io::Result<()> {
        pidfd_kill(self.pidfd.as_fd())
    }
}

/// A pidfd of a process that a pid file names, if it still is that process, also one that has ended and was not collected. Open first, look
/// second: after the look it cannot change.
pub(crate) fn identify(process: &Process) -> Option<OwnedFd> {
    let pidfd = pidfd_open(process.pid).ok()?;
    let is_it = linux_sys::process::start_ticks(process.pid).ok()? == process.start_ticks;
    is_it.then_some(pidfd)
}

/// Runs `clone` with children going into the PID namespace of the process `inside`, then comes back.
pub(crate) fn inside<T>(
    inside: Option<BorrowedFd<'_>>,
    own: BorrowedFd<'_>,
    clone: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    let Some(inside) = inside else { return clone() };
    move_into_thread_name_spaces(inside, ThreadNameSpaceType::PROCESS_ID)?;
    let cloned = clone();
    rustix::thread::move_into_link_name_space(
        own,
        Some(rustix::thread::LinkNameSpaceType::ProcessID),
    )?;
    cloned
}
