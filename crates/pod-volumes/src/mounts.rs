//! What is mounted beneath a directory of ours, and detaching it.

use crate::error::VolumeError;
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxAttributes, StatxFlags, openat2, statx,
};
use rustix::mount::{UnmountFlags, unmount};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Without following a symbolic link at the end.
pub(crate) fn is_mount_point(path: &Path) -> io::Result<bool> {
    let found = statx(
        CWD,
        path,
        AtFlags::SYMLINK_NOFOLLOW,
        StatxFlags::BASIC_STATS,
    )?;
    if found
        .stx_attributes_mask
        .contains(StatxAttributes::MOUNT_ROOT)
    {
        return Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT));
    }
    // before Linux 5.8
    let path = fs::canonicalize(path)?;
    Ok(mount_points()?.contains(&path))
}

/// Detaches everything that is mounted beneath `dir`, innermost first.
///
/// The names below `dir` were a tenant's to choose: each is resolved beneath `dir` without symbolic links, whatever was put in its place.
pub(crate) fn detach_beneath(dir: &Path) -> Result<(), VolumeError> {
    let dir = match fs::canonicalize(dir) {
        Ok(dir) => dir,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(VolumeError::files("examine", dir, e)),
    };
    // each round takes away a layer of mounts that lay on one another
    for _ in 0..64 {
        let beneath = beneath(&dir)?;
        if beneath.is_empty() {
            return Ok(());
        }
        for path in beneath.iter().rev() {
            detach(&dir, path).map_err(|e| VolumeError::files("unmount", path, e))?;
        }
    }
    match beneath(&dir)?.pop() {
        Some(path) => Err(VolumeError::StillMounted { path }),
        None => Ok(()),
    }
}

/// Mount points strictly beneath `dir`, outer ones first.
pub(crate) fn beneath(dir: &Path) -> Result<Vec<PathBuf>, VolumeError> {
    let mut found: Vec<PathBuf> = mount_points()
        .map_err(|e| VolumeError::files("read the mount table for", dir, e))?
        .into_iter()
        .filter(|at| at != dir && at.starts_with(dir))
        .collect();
    found.sort_by_key(|path| path.components().count());
    Ok(found)
}

fn detach(dir: &Path, path: &Path) -> io::Result<()> {
    let relative = path.strip_prefix(dir).map_err(io::Error::other)?;
    let parent = relative
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let Some(name) = relative.file_name() else {
        return Ok(());
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(dir, flags, Mode::empty())?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let parent = openat2(&dir, parent, flags, Mode::empty(), resolve)?;
    let at = PathBuf::from(format!("/proc/self/fd/{}", parent.as_raw_fd())).join(name);
    match unmount(&at, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        // gone with one that lay further out
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn mount_points() -> io::Result<Vec<PathBuf>> {
    // of the thread: a test may have a mount namespace of its own
    let table = fs::read("/proc/thread-self/mountinfo")?;
    Ok(table
        .split(|b| *b == b'\n')
        .filter_map(|line| line.split(|b| *b == b' ').nth(4))
        .map(|at| PathBuf::from(OsString::from_vec(unescape(at))))
        .collect())
}

/// `\040` and its like: blanks, tabs, newlines and backslashes.
pub(crate) fn unescape(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let octal = bytes
            .get(at + 1..at + 4)
            .filter(|_| bytes[at] == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        out.push(octal.unwrap_or(bytes[at]));
        at += if octal.is_some() { 4 } else { 1 };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::unescape;

    #[test]
    fn the_mount_table_writes_blanks_in_octal() {
        assert_eq!(unescape(br"/a\040b\134c"), br"/a b\c");
        assert_eq!(unescape(br"/a\04"), br"/a\04");
    }
}
