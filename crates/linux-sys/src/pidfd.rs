//! Processes by file descriptor: a name that is never used again for another process.

use rustix::process::{PidfdFlags, Signal, WaitId, WaitIdOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    /// From a status as `waitpid` and `PIDFD_GET_INFO` give it.
    pub fn from_wait_status(status: i32) -> Exit {
        match status & 0x7f {
            0 => Exit::Code((status >> 8) & 0xff),
            signal => Exit::Signal(signal),
        }
    }
    /// What a shell calls `$?`: the code, or 128 + signal.
    pub fn shell_code(self) -> i32 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
        }
    }
    pub fn signal(self) -> Option<i32> {
        match self {
            Exit::Code(_) => None,
            Exit::Signal(signal) => Some(signal),
        }
    }
}

/// Opens a close-on-exec, non-blocking descriptor of a live process.
///
/// # Errors
/// `ESRCH` when there is no such process.
pub fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
    Ok(rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK)?)
}

/// Sends a signal by number; 0 only checks.
///
/// # Errors
/// `ESRCH` when the process is gone, `EPERM` when it may not be signalled.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: the descriptor is open for the whole call, and a null `siginfo` is allowed by pidfd_send_signal(2).
    let done = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Kills a process; one that is gone already is fine.
///
/// # Errors
/// As [`pidfd_send_signal`], but never `ESRCH`.
pub fn pidfd_kill(pidfd: BorrowedFd<'_>) -> io::Result<()> {
    match rustix::process::pidfd_send_signal(pidfd, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Whether the process has ended; its exit may or may not have been collected.
///
/// # Errors
/// Of `poll`.
pub fn pidfd_has_ended(pidfd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut fds = [rustix::event::PollFd::new(
        &pidfd,
        rustix::event::PollFlags::IN,
    )];
    let zero = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    Ok(rustix::event::poll(&mut fds, Some(&zero))? > 0)
}

/// Collects the exit of a child without waiting: `None` when it still runs.
///
/// # Errors
/// `ECHILD` when the process is not a child of ours, or was collected before.
pub fn pidfd_reap(pidfd: BorrowedFd<'_>) -> io::Result<Option<Exit>> {
    let status = rustix::process::waitid(
        WaitId::PidFd(pidfd.as_fd()),
        WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
    );
    let Some(status) = (match status {
        // a non-blocking pidfd says this instead of nothing
        Err(rustix::io::Errno::AGAIN) => None,
        other => other?,
    }) else {
        return Ok(None);
    };
    Ok(status
        .exit_status()
        .map(Exit::Code)
        .or_else(|| status.terminating_signal().map(Exit::Signal)))
}

/// The start of `struct pidfd_info` of `linux/pidfd.h`, as long as kernel 6.13 made it first (`PIDFD_INFO_SIZE_VER0`).
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroupid: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    ruid: u32,
    rgid: u32,
    euid: u32,
    egid: u32,
    suid: u32,
    sgid: u32,
    fsuid: u32,
    fsgid: u32,
    exit_code: i32,
}

const PIDFD_INFO_EXIT: u64 = 1 << 3;
/// `_IOWR(0xFF, 11, struct pidfd_info)` with the size of VER0: the kernel takes any size from that on.
const PIDFD_GET_INFO: libc::c_ulong = (3 << 30) | (64 << 16) | (0xff << 8) | 11;
const _: () = assert!(size_of::<PidfdInfo>() == 64);

/// The wait status of a process that has ended and was collected, by whomever (`PIDFD_GET_INFO`, Linux 6.15). The descriptor must
/// have been opened before the end. `None` while it lives or waits to be collected, and on a kernel that cannot tell.
pub fn pidfd_exit_info(pidfd: BorrowedFd<'_>) -> Option<i32> {
    let mut info = PidfdInfo {
        mask: PIDFD_INFO_EXIT,
        ..PidfdInfo::default()
    };
    // SAFETY: the request number encodes the size of `info`, which the kernel writes at most and which lives through the call; a
    // descriptor that is no pidfd, or an older kernel, answers ENOTTY and writes nothing.
    let done = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO as _, &raw mut info) };
    (done == 0 && info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code)
}

/// Whether this kernel is new enough to answer [`pidfd_exit_info`], by its release: for tests.
pub fn kernel_tells_exits() -> bool {
    let Ok(name) = nix::sys::utsname::uname() else {
        return false;
    };
    let release = name.release().to_string_lossy();
    let mut parts = release
        .split(['.', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (6, 15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    fn child(script: &str) -> io::Result<(Child, OwnedFd)> {
        let child = Command::new("sh").args(["-c", script]).spawn()?;
        let pidfd = pidfd_open(child.id())?;
        Ok((child, pidfd))
    }

    fn wait_for_end(pidfd: &OwnedFd) -> io::Result<()> {
        let mut fds = [rustix::event::PollFd::new(
            pidfd,
            rustix::event::PollFlags::IN,
        )];
        let minute = rustix::event::Timespec {
            tv_sec: 60,
            tv_nsec: 0,
        };
        assert_eq!(
            rustix::event::poll(&mut fds, Some(&minute))?,
            1,
            "it never ended"
        );
        Ok(())
    }

    #[test]
    fn a_child_is_collected_with_its_code() -> io::Result<()> {
        let (_child, pidfd) = child("exit 42")?;
        wait_for_end(&pidfd)?;
        assert!(pidfd_has_ended(pidfd.as_fd())?);
        assert_eq!(pidfd_reap(pidfd.as_fd())?, Some(Exit::Code(42)));
        assert_eq!(
            pidfd_reap(pidfd.as_fd()).map_err(|e| e.raw_os_error()),
            Err(Some(libc::ECHILD))
        );
        Ok(())
    }

    #[test]
    fn a_signal_is_told_from_a_code() -> io::Result<()> {
        let (_child, pidfd) = child("sleep 60")?;
        assert_eq!(pidfd_reap(pidfd.as_fd())?, None, "it still runs");
        assert!(!pidfd_has_ended(pidfd.as_fd())?);
        pidfd_send_signal(pidfd.as_fd(), libc::SIGTERM)?;
        wait_for_end(&pidfd)?;
        let exit = pidfd_reap(pidfd.as_fd())?;
        assert_eq!(exit, Some(Exit::Signal(libc::SIGTERM)));
        assert_eq!(exit.map(Exit::shell_code), Some(143));
        assert_eq!(
            pidfd_send_signal(pidfd.as_fd(), 0).map_err(|e| e.raw_os_error()),
            Err(Some(libc::ESRCH))
        );
        pidfd_kill(pidfd.as_fd())
    }

    #[test]
    fn the_exit_of_a_process_that_another_collected_is_known() -> io::Result<()> {
        let (mut child, pidfd) = child("exit 7")?;
        assert_eq!(pidfd_exit_info(pidfd.as_fd()), None, "not yet collected");
        child.wait()?;
        match pidfd_exit_info(pidfd.as_fd()) {
            Some(status) => assert_eq!(Exit::from_wait_status(status), Exit::Code(7)),
            None => assert!(!kernel_tells_exits(), "6.15 and later tell it"),
        }
        Ok(())
    }

    #[test]
    fn a_descriptor_that_is_no_process_tells_nothing() -> io::Result<()> {
        let file = std::fs::File::open("/dev/null")?;
        assert_eq!(pidfd_exit_info(file.as_fd()), None);
        Ok(())
    }

    #[test]
    fn nobody_has_pid_zero() {
        assert!(pidfd_open(0).is_err());
        assert!(pidfd_open(u32::MAX).is_err());
    }
}
