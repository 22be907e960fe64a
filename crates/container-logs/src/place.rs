//! Opening what lies in a log directory, whoever may have put it there.
//!
//! A pod with a `hostPath` on the log directory can swap a log, or a directory above it, for a link to a file of the host. So the last
//! directories of a path are resolved without following links, and a log is a regular file with one name or it is refused.

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Directories above a log that may be in a tenant's hands: the pod's and the container's.
const GUARDED: usize = 2;

/// Opens the directory of `path`, following no link in its last two parts.
pub(crate) fn open_directory(directory: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut base = directory;
    for _ in 0..GUARDED {
        base = base
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(base);
    }
    let below = directory.strip_prefix(base).unwrap_or(Path::new(""));
    let base = rustix::fs::openat(CWD, base, flags, Mode::empty())?;
    if below.as_os_str().is_empty() {
        return Ok(base);
    }
    rustix::fs::openat2(
        &base,
        below,
        flags,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    )
}

/// Directory and file name of a log's path.
pub(crate) fn split(path: &Path) -> Option<(PathBuf, OsString)> {
    Some((path.parent()?.to_owned(), path.file_name()?.to_owned()))
}

/// What a name in a log directory turned out to be.
pub(crate) enum Found {
    Log(File, Stat),
    /// A link, a FIFO, a directory, or a file with a second name: not something we wrote.
    Foreign(&'static str),
}

/// Opens `name` in `directory` with `flags`, never following a link and never waiting.
pub(crate) fn open_log(
    directory: impl AsFd,
    name: &OsStr,
    flags: OFlags,
    mode: Mode,
) -> rustix::io::Result<Found> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let fd = match rustix::fs::openat(directory, name, flags, mode) {
        Ok(fd) => fd,
        Err(Errno::LOOP) => return Ok(Found::Foreign("it is a symbolic link")),
        // A FIFO without a reader, a socket.
        Err(Errno::NXIO) => return Ok(Found::Foreign("it is not a regular file")),
        Err(e) => return Err(e),
    };
    let stat = rustix::fs::fstat(&fd)?;
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if stat.st_nlink > 1 => Found::Foreign("it has a second name"),
        FileType::RegularFile => Found::Log(File::from(fd), stat),
        _ => Found::Foreign("it is not a regular file"),
    })
}
