//! File descriptors across `exec`: everything stays behind but what was named.

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Marks every descriptor from `first` on close-on-exec (`close_range`, Linux 5.11).
///
/// # Errors
/// `ENOSYS` or `EINVAL` on older kernels.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: sets a flag of descriptors; none is closed, so no owner in this process loses one.
    let done = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Lets a descriptor survive the next `exec`.
///
/// # Errors
/// Of `fcntl`.
pub fn keep_across_exec(fd: BorrowedFd<'_>, keep: bool) -> io::Result<()> {
    let flags = if keep {
        rustix::io::FdFlags::empty()
    } else {
        rustix::io::FdFlags::CLOEXEC
    };
    Ok(rustix::io::fcntl_setfd(fd, flags)?)
}

/// Takes ownership of a descriptor that this process was started with and that nothing in it owns yet, and makes it close-on-exec.
/// Only descriptors without close-on-exec are taken: Rust's library makes none such, so no live owner can be robbed, and a number
/// is taken only once.
///
/// # Errors
/// `EBADF` when it is not open, or close-on-exec, or one of the three standard ones.
pub fn take_inherited(number: RawFd) -> io::Result<OwnedFd> {
    let bad = || io::Error::from_raw_os_error(libc::EBADF);
    if number <= 2 {
        return Err(bad());
    }
    // SAFETY: `fcntl` takes any number; a wrong one is answered with EBADF.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags < 0 || flags & libc::FD_CLOEXEC != 0 {
        return Err(bad());
    }
    // SAFETY: open (asked above); owned by nobody here, because every descriptor that this program owns is close-on-exec.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::{AsFd, AsRawFd, IntoRawFd};

    #[test]
    fn an_inherited_descriptor_is_taken_once() -> io::Result<()> {
        let file = std::fs::File::open("/dev/null")?;
        assert!(take_inherited(file.as_raw_fd()).is_err(), "it has an owner");
        keep_across_exec(file.as_fd(), true)?;
        let number = file.into_raw_fd();
        let taken = take_inherited(number)?;
        assert!(take_inherited(number).is_err(), "it has an owner now");
        drop(taken);
        assert!(take_inherited(1).is_err() && take_inherited(-1).is_err());
        Ok(())
    }

    #[test]
    fn nothing_from_a_number_on_survives_exec() -> io::Result<()> {
        let file = std::fs::File::open("/dev/null")?;
        let high = rustix::io::fcntl_dupfd_cloexec(&file, 700)?;
        keep_across_exec(high.as_fd(), true)?;
        close_on_exec_from(700)?;
        assert_eq!(
            rustix::io::fcntl_getfd(&high)?,
            rustix::io::FdFlags::CLOEXEC
        );
        Ok(())
    }
}
