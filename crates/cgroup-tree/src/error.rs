//! What can go wrong with the tree, each with the file or directory it went wrong at.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    #[error("read the mount table {path}")]
    MountTable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "no usable cgroup controllers: {v2}; {v1}; mount cgroup2 with cpu, memory and pids, or the v1 hierarchies of cpu, cpuacct, memory, pids, devices and freezer"
    )]
    NoControllers { v1: String, v2: String },
    #[error("the cgroup root {root:?} is no absolute path without `.` and `..`")]
    BadRoot { root: String },
    #[error("make the cgroup {path}")]
    Create {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("write {value:?} to {path}")]
    Write {
        path: PathBuf,
        value: String,
        #[source]
        source: io::Error,
    },
    #[error("read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path}: {text:?} is not what the kernel writes there")]
    Parse { path: PathBuf, text: String },
    #[error(
        "hand the controllers {wanted} of {path} to its children: {processes} processes live in that cgroup itself; give coracle a --cgroup-root of its own"
    )]
    InnerProcesses {
        path: PathBuf,
        wanted: String,
        processes: usize,
        #[source]
        source: io::Error,
    },
    #[error("remove the cgroup {path}, in which {processes} processes still live")]
    Busy { path: PathBuf, processes: usize },
    #[error("remove the cgroup {path}")]
    Remove {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("kill the cgroup {path}: {left} processes are still there after {rounds} rounds")]
    Unkillable {
        path: PathBuf,
        left: usize,
        rounds: u32,
    },
    #[error("freeze the cgroup {path}: it is {state:?} after {waited_ms} ms")]
    NotFrozen {
        path: PathBuf,
        state: String,
        waited_ms: u128,
    },
    #[error("attach the device filter to {path}")]
    DeviceFilter {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} is no cgroup any more")]
    Gone { path: PathBuf },
}

impl CgroupError {
    /// The cgroup does not exist: for a reader and for a killer that is an answer.
    pub fn is_gone(&self) -> bool {
        match self {
            CgroupError::Gone { .. } => true,
            CgroupError::Read { source, .. } | CgroupError::Write { source, .. } => is_gone(source),
            _ => false,
        }
    }
}

/// `ENOENT`: no such directory. `ENODEV`: the directory was removed while its file was open.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc_errno::ENOENT | libc_errno::ENODEV)
    )
}

pub(crate) fn is_busy(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc_errno::EBUSY)
}

pub(crate) fn exists(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AlreadyExists
}

mod libc_errno {
    use rustix::io::Errno;
    pub(super) const ENOENT: i32 = Errno::NOENT.raw_os_error();
    pub(super) const ENODEV: i32 = Errno::NODEV.raw_os_error();
    pub(super) const EBUSY: i32 = Errno::BUSY.raw_os_error();
}
