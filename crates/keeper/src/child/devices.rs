//! `/dev`: nodes, the usual links, and the console of a terminal.

use super::resolve::{self, Links, Make};
use super::{Step, failed};
use crate::protocol::Stage;
use launch_plan::description::{Device, DeviceKind, LaunchDescription, MountKind};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Makes the nodes of the description, and the links if `/dev` is a tmpfs of ours.
pub(super) fn make(root: BorrowedFd<'_>, description: &LaunchDescription) -> Step<()> {
    let mut directory = LastDirectory { root, last: None };
    for device in &description.devices {
        node(&mut directory, device).map_err(failed(Stage::Devices, || {
            format!("cannot make device {}", device.path)
        }))?;
    }
    let ours = |mount: &launch_plan::description::Mount| {
        mount.target == "/dev" && matches!(mount.what, MountKind::Tmpfs { .. })
    };
    if description.mounts.iter().any(ours) {
        let dev = directory.open("/dev", Make::Nothing);
        let dev = dev.map_err(failed(Stage::Devices, || "cannot open /dev".into()))?;
        for (name, to) in LINKS {
            match rustix::fs::symlinkat(to, dev, name) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => {
                    return Err(failed(Stage::Devices, || {
                        format!("cannot make the link /dev/{name}")
                    })(e));
                }
            }
        }
    }
    Ok(())
}

/// The directory that was looked up last: most devices lie in one.
struct LastDirectory<'a> {
    root: BorrowedFd<'a>,
    last: Option<(&'a str, OwnedFd)>,
}

impl<'a> LastDirectory<'a> {
    fn open(&mut self, path: &'a str, make: Make) -> Result<BorrowedFd<'_>, Errno> {
        let fd = match self.last.take() {
            Some((known, fd)) if known == path => fd,
            _ => resolve::target(self.root, path, make, Links::Refuse)?,
        };
        Ok(self.last.insert((path, fd)).1.as_fd())
    }
}

fn node<'a>(directory: &mut LastDirectory<'a>, device: &'a Device) -> Result<(), Errno> {
    let (parent, name) = device.path.rsplit_once('/').ok_or(Errno::INVAL)?;
    let directory = directory.open(parent, Make::Directory)?;
    let kind = match device.kind {
        DeviceKind::Char => FileType::CharacterDevice,
        DeviceKind::Block => FileType::BlockDevice,
    };
    let number = rustix::fs::makedev(device.major, device.minor);
    // the process mask is 0 here
    rustix::fs::mknodat(
        directory,
        name,
        kind,
        Mode::from_raw_mode(device.mode & 0o777),
        number,
    )
}

/// Binds the terminal's slave over `/dev/console`. The slave is a descriptor that the kernel gave for the master (`TIOCGPTPEER`), so no
/// name that the image could have replaced leads to it (CVE-2025-52565).
pub(super) fn console(root: BorrowedFd<'_>, slave: BorrowedFd<'_>) -> Step<()> {
    let bound = || -> Result<(), Errno> {
        if resolve::kind_of(slave)? != FileType::CharacterDevice {
            return Err(Errno::NOTTY);
        }
        let place = resolve::target(root, "/dev/console", Make::File, Links::Refuse)?;
        let tree = super::mounts::copy(slave, false)?;
        super::mounts::attach(tree.as_fd(), place.as_fd())
    };
    bound().map_err(failed(Stage::Devices, || "cannot make /dev/console".into()))
}

/// Whether `fd` is the device `/dev/null`, whatever its name (CVE-2025-31133).
pub(super) fn is_null(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    let stat = rustix::fs::fstat(fd)?;
    Ok(
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
            && stat.st_rdev == rustix::fs::makedev(1, 3),
    )
}

/// The container's own `/dev/null`, checked.
pub(super) fn null(root: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let fd = resolve::target(root, "/dev/null", Make::Nothing, Links::Refuse)?;
    if is_null(fd.as_fd())? {
        Ok(fd)
    } else {
        Err(Errno::NODEV)
    }
}

/// Opens a new terminal in the container's devpts: (master, slave). The slave belongs to `uid`.
pub(super) fn terminal(root: BorrowedFd<'_>, uid: u32) -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW;
    let master = resolve::existing(root, "/dev/pts/ptmx", flags)?;
    if !is_devpts(master.as_fd())? {
        return Err(Errno::NODEV);
    }
    rustix::pty::unlockpt(&master)?;
    let peer = rustix::pty::OpenptFlags::RDWR
        | rustix::pty::OpenptFlags::NOCTTY
        | rustix::pty::OpenptFlags::CLOEXEC;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, peer)?;
    rustix::fs::fchown(&slave, Some(rustix::process::Uid::from_raw(uid)), None)?;
    Ok((master, slave))
}

#[allow(clippy::useless_conversion, clippy::unnecessary_cast)] // the width differs between architectures
fn is_devpts(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    /// `DEVPTS_SUPER_MAGIC` of `linux/magic.h`.
    const DEVPTS: i64 = 0x1cd1;
    Ok(rustix::fs::fstatfs(fd)?.f_type as i64 == DEVPTS)
}
