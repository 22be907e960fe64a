//! Joining the container's cgroup.
//!
//! v2 needs nothing here: the child was born there. v1: the child writes `0`, itself, to each `tasks` file, which skips the lock that
//! moving a whole process by `cgroup.procs` takes (7 ms, and every fork on the machine waits).

use super::{Step, failed};
use crate::protocol::Stage;
use launch_plan::description::CgroupPlacement;
use nix::sched::CloneFlags;
use rustix::fs::{CWD, Mode, OFlags};
use std::io;
use std::os::fd::OwnedFd;

/// The directory that a process can be born into: the one of a v2 tree.
pub(crate) fn birth_place(placement: &CgroupPlacement) -> io::Result<Option<OwnedFd>> {
    match placement {
        CgroupPlacement::V2 { directory } => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            Ok(Some(rustix::fs::open(directory, flags, Mode::empty())?))
        }
        CgroupPlacement::V1 { .. } => Ok(None),
    }
}

/// Enters every v1 directory of `placement`.
pub(super) fn join(placement: &CgroupPlacement) -> Step<()> {
    let CgroupPlacement::V1 { directories } = placement else {
        return Ok(());
    };
    for directory in directories {
        let tasks = directory.join("tasks");
        let entered =
            rustix::fs::openat(CWD, &tasks, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
                .and_then(|file| rustix::io::write(&file, b"0"));
        entered.map_err(failed(Stage::Cgroup, || {
            format!("cannot enter cgroup {}", directory.display())
        }))?;
    }
    Ok(())
}

/// From here on the cgroup that the child is in looks like the root of the tree.
pub(super) fn hide_the_rest() -> Step<()> {
    nix::sched::unshare(CloneFlags::CLONE_NEWCGROUP)
        .map_err(io::Error::from)
        .map_err(failed(Stage::Cgroup, || {
            "cannot make a cgroup namespace".into()
        }))
}
