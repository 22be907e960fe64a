//! `mount_setattr` (Linux 5.12): flags and propagation of a mount or a whole tree of mounts, by descriptor.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Flags of one mount.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MountFlags {
    pub readonly: bool,
    pub nosuid: bool,
    pub nodev: bool,
    pub noexec: bool,
}

impl MountFlags {
    fn bits(self) -> u64 {
        let mut bits = 0;
        for (set, bit) in [
            (self.readonly, libc::MOUNT_ATTR_RDONLY),
            (self.nosuid, libc::MOUNT_ATTR_NOSUID),
            (self.nodev, libc::MOUNT_ATTR_NODEV),
            (self.noexec, libc::MOUNT_ATTR_NOEXEC),
        ] {
            if set {
                bits |= bit;
            }
        }
        bits
    }
}

/// Whether mounts made below are seen elsewhere: mount_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountPropagation {
    Private,
    Slave,
    Shared,
}

/// Sets `flags` (those that are true; none is cleared) and propagation of the mount that `mount` is on, with `recursive` of every
/// mount below it too: all or none.
///
/// # Errors
/// `EINVAL` when `mount` is not the root of a mount, `ENOSYS` before Linux 5.12.
pub fn set_mount_attributes(
    mount: BorrowedFd<'_>,
    flags: MountFlags,
    propagation: Option<MountPropagation>,
    recursive: bool,
) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: flags.bits(),
        attr_clr: 0,
        propagation: match propagation {
            None => 0,
            Some(MountPropagation::Private) => libc::MS_PRIVATE,
            Some(MountPropagation::Slave) => libc::MS_SLAVE,
            Some(MountPropagation::Shared) => libc::MS_SHARED,
        },
        userns_fd: 0,
    };
    let mut at = libc::AT_EMPTY_PATH;
    if recursive {
        at |= libc::AT_RECURSIVE;
    }
    // SAFETY: the path is an empty C string, `attributes` has the size that is passed, and both live through the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            at,
            &raw const attributes,
            size_of_val(&attributes),
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::mount::{OpenTreeFlags, open_tree};
    use std::os::fd::AsFd;

    #[test]
    fn a_detached_copy_becomes_read_only_and_the_original_does_not() -> io::Result<()> {
        if !rustix::process::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "needs root");
            return Ok(());
        }
        let directory = tempfile::tempdir()?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let copy = open_tree(rustix::fs::CWD, directory.path(), flags)?;
        let readonly = MountFlags {
            readonly: true,
            ..MountFlags::default()
        };
        set_mount_attributes(
            copy.as_fd(),
            readonly,
            Some(MountPropagation::Private),
            true,
        )?;
        let make = |at: BorrowedFd<'_>| rustix::fs::mkdirat(at, "made", rustix::fs::Mode::RWXU);
        assert_eq!(make(copy.as_fd()), Err(rustix::io::Errno::ROFS));
        let original = std::fs::File::open(directory.path())?;
        assert_eq!(make(original.as_fd()), Ok(()));
        Ok(())
    }

    #[test]
    fn what_is_no_mount_has_no_attributes() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let fd = std::fs::File::open(directory.path())?;
        let done = set_mount_attributes(
            fd.as_fd(),
            MountFlags::default(),
            Some(MountPropagation::Private),
            false,
        );
        assert!(done.is_err());
        Ok(())
    }
}
