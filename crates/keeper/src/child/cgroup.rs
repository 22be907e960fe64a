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
use std::path::Path;

/// `CGROUP2_SUPER_MAGIC` of `linux/magic.h`.
const CGROUP2: i64 = 0x6367_7270;

/// The directory that a process can be born into: the one of a v2 tree.
pub(crate) fn birth_place(placement: &CgroupPlacement) -> io::Result<Option<OwnedFd>> {
    let directories = match placement {
        CgroupPlacement::V2 { directory } => std::slice::from_ref(directory),
        CgroupPlacement::V1 { directories } => directories.as_slice(),
    };
    for directory in directories {
        if is_v2(directory)? {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            return Ok(Some(rustix::fs::open(directory, flags, Mode::empty())?));
        }
    }
    Ok(None)
}

#[allow(clippy::useless_conversion, clippy::unnecessary_cast)] // the width differs between architectures
fn is_v2(directory: &Path) -> io::Result<bool> {
    Ok(rustix::fs::statfs(directory)?.f_type as i64 == CGROUP2)
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
        match entered {
            Ok(_) => {}
            // of a v2 tree beside v1: born there
            Err(rustix::io::Errno::NOENT) if is_v2(directory).unwrap_or(false) => {}
            Err(e) => {
                return Err(failed(Stage::Cgroup, || {
                    format!("cannot enter cgroup {}", directory.display())
                })(e));
            }
        }
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
