//! `clone3` as a fork that may run ordinary Rust in the child, because the caller has one thread.
//!
//! In the child of a process with several threads only async-signal-safe calls are allowed: a lock that another thread held at the
//! moment of the call (the allocator's, for one) is held there for ever. With one thread no lock can be held by another, so
//! [`spawn`] counts the threads first and refuses when there are more. The child never returns into the caller's frames: it ends
//! with the closure, also when that panics.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `linux/sched.h`; the constant of `libc` is too narrow.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What is new about the child; everything else it has in common with its parent as after `fork`.
#[derive(Debug, Default)]
pub struct Clone3<'a> {
    /// A copy of the mount namespace.
    pub new_mounts: bool,
    /// A PID namespace whose first process is the child.
    pub new_pids: bool,
    /// Born in this directory of a cgroup2 tree (`CLONE_INTO_CGROUP`).
    pub into_cgroup: Option<BorrowedFd<'a>>,
}

/// A process just made; its parent must collect it.
#[derive(Debug)]
pub struct Cloned {
    /// Its number in the caller's PID namespace.
    pub pid: u32,
    pub pidfd: OwnedFd,
}

/// Makes a child that runs `child` and ends with the code it returns (101 when it panics).
///
/// # Errors
/// `EAGAIN` with `WouldBlock` when this process has more than one thread, and those of `clone3`.
pub fn spawn(how: &Clone3<'_>, child: impl FnOnce() -> i32) -> io::Result<Cloned> {
    if crate::process::thread_count()? != 1 {
        return Err(io::Error::new(
            io::ErrorKind::WouldBlock,
            "only a process with one thread may clone itself",
        ));
    }
    let mut pidfd: libc::c_int = -1;
    // SAFETY: `clone_args` is a plain structure of integers, for which all zeros is valid.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    let mut flags = libc::CLONE_PIDFD as u64;
    if how.new_mounts {
        flags |= libc::CLONE_NEWNS as u64;
    }
    if how.new_pids {
        flags |= libc::CLONE_NEWPID as u64;
    }
    if let Some(cgroup) = how.into_cgroup {
        flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    args.flags = flags;
    args.pidfd = (&raw mut pidfd) as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: without CLONE_VM the child has its own copy of everything, as after fork(2); `args` and `pidfd` live through the call;
    // there is one thread (counted above), so the child may use the allocator and every other lock.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of_val(&args)) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(101);
            // SAFETY: `_exit` ends the child here; it runs no destructor and flushes no buffer of the parent's.
            unsafe { libc::_exit(code) }
        }
        pid => Ok(Cloned {
            pid: u32::try_from(pid).map_err(|_| io::ErrorKind::InvalidData)?,
            // SAFETY: the kernel put a fresh descriptor there (CLONE_PIDFD), close-on-exec, that nobody else knows.
            pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The success of `spawn` needs a process with one thread, which a test harness is not: the keeper's tests show it.
    #[test]
    fn a_process_with_threads_is_refused() {
        let error = spawn(&Clone3::default(), || 0)
            .map(|c| c.pid)
            .map_err(|e| e.kind());
        assert_eq!(error, Err(io::ErrorKind::WouldBlock));
    }
}
