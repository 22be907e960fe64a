//! How much a volume holds, as `du` counts: blocks, a hard link once, nothing that is mounted beneath.

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, fstat, fstatvfs, openat2, statat,
};
use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Deeper directories are not looked into: a tenant's tree must not cost us our descriptors.
const MAX_DEPTH: usize = 64;

/// What one emptyDir holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeUsage {
    pub volume: String,
    /// Allocated, not apparent.
    pub bytes: u64,
    pub inodes: u64,
    /// The volume lies in memory: its bytes are charged to the pod's memory already.
    pub in_memory: bool,
    /// Some directories lie too deep and were not counted.
    pub is_partial: bool,
}

/// The bytes of a tree that is no volume, as [`VolumeUsage::bytes`]. Reads every directory: not for a hot path.
///
/// # Errors
/// When `root` is no directory that can be read.
pub fn tree_bytes(root: &Path) -> io::Result<u64> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = rustix::fs::open(root, flags, Mode::empty())?;
    Ok(measure("", root.as_fd(), false)?.bytes)
}

pub(crate) fn measure(
    volume: &str,
    root: BorrowedFd<'_>,
    in_memory: bool,
) -> io::Result<VolumeUsage> {
    let mut usage = VolumeUsage {
        volume: volume.to_owned(),
        bytes: 0,
        inodes: 0,
        in_memory,
        is_partial: false,
    };
    if in_memory {
        let fs = fstatvfs(root)?;
        usage.bytes = (fs.f_blocks - fs.f_bfree) * fs.f_frsize;
        usage.inodes = fs.f_files - fs.f_ffree;
        return Ok(usage);
    }
    let device = fstat(root)?.st_dev;
    let mut links = HashSet::new();
    // each level: the directory, and the names of those in it that are still to be looked into
    let mut open: Vec<(OwnedFd, Vec<std::ffi::CString>)> = Vec::new();
    let count = |directory: &OwnedFd,
                 usage: &mut VolumeUsage,
                 links: &mut HashSet<u64>|
     -> io::Result<Vec<std::ffi::CString>> {
        let mut inner = Vec::new();
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            // gone meanwhile: not counted
            let Ok(stat) = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            if stat.st_dev != device {
                continue;
            }
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                inner.push(name.to_owned());
            } else if stat.st_nlink > 1 && !links.insert(stat.st_ino) {
                continue;
            }
            usage.inodes += 1;
            usage.bytes += u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
        }
        Ok(inner)
    };
    let top = descend(root, c".")?;
    usage.inodes += 1;
    usage.bytes += u64::try_from(fstat(&top)?.st_blocks).unwrap_or(0) * 512;
    let inner = count(&top, &mut usage, &mut links)?;
    open.push((top, inner));
    while let Some((directory, names)) = open.last_mut() {
        let Some(name) = names.pop() else {
            open.pop();
            continue;
        };
        let Ok(next) = descend(directory.as_fd(), &name) else {
            continue;
        };
        if open.len() >= MAX_DEPTH {
            usage.is_partial = true;
            continue;
        }
        let inner = count(&next, &mut usage, &mut links)?;
        open.push((next, inner));
    }
    Ok(usage)
}

fn descend(parent: BorrowedFd<'_>, name: &std::ffi::CStr) -> io::Result<OwnedFd> {
    Ok(openat2(
        parent,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV,
    )?)
}
