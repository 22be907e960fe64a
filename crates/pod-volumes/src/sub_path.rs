//! A `subPath` of a volume, which its containers may change while it is resolved.
//!
//! `openat2` with `RESOLVE_BENEATH` resolves in the kernel, in one step: a symbolic link may lead to another place of the volume, never
//! out of it, and what comes back is the place itself, whatever happens to its name afterwards (CVE-2017-1002101, CVE-2021-25741).

use crate::error::VolumeError;
use rustix::fs::{Mode, OFlags, ResolveFlags, fchmod, fstat, mkdirat, openat, openat2};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

const WITHIN: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);
/// The kernel answers `EAGAIN` when somebody renames along the way.
const TRIES: usize = 128;

/// Opens the place, and makes what is missing of it with the mode of the volume, as the kubelet does.
pub(crate) fn open(
    volume: BorrowedFd<'_>,
    name: &str,
    sub_path: &str,
) -> Result<OwnedFd, VolumeError> {
    let invalid = |problem| VolumeError::SubPathInvalid {
        volume: name.to_owned(),
        sub_path: sub_path.to_owned(),
        problem,
    };
    let path = Path::new(sub_path);
    if path.is_absolute() {
        return Err(invalid("must be a relative path"));
    }
    if path.components().any(|c| c == Component::ParentDir) {
        return Err(invalid("must not contain '..'"));
    }
    let fail = |what: &'static str| {
        move |error: Errno| VolumeError::SubPath {
            what: if error == Errno::XDEV {
                "leave the volume for"
            } else {
                what
            },
            volume: name.to_owned(),
            sub_path: sub_path.to_owned(),
            source: io::Error::from(error),
        }
    };
    match resolve(volume, path, OFlags::PATH) {
        Err(Errno::NOENT) => make(volume, path).map_err(fail("make")),
        found => found.map_err(fail("open")),
    }
}

fn resolve(volume: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    // an empty path is the volume itself
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let mut tries = 0;
    loop {
        match openat2(volume, path, flags | OFlags::CLOEXEC, Mode::empty(), WITHIN) {
            Err(Errno::AGAIN | Errno::INTR) if tries < TRIES => tries += 1,
            answer => return answer,
        }
    }
}

/// Walks as far as there is a way, then makes one directory after the other, each beneath the one that was opened before.
fn make(volume: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    let directory = OFlags::RDONLY | OFlags::DIRECTORY;
    let mode = Mode::from_raw_mode(fstat(volume)?.st_mode & 0o777);
    let mut way = PathBuf::new();
    let mut parent: OwnedFd = resolve(volume, Path::new("."), directory)?;
    let mut names = path.components().filter_map(|c| match c {
        Component::Normal(name) => Some(name),
        _ => None,
    });
    let mut missing = None;
    for name in names.by_ref() {
        way.push(name);
        match resolve(volume, &way, directory) {
            Ok(next) => parent = next,
            Err(Errno::NOENT) => {
                missing = Some(name);
                break;
            }
            Err(error) => return Err(error),
        }
    }
    let mut missing = missing.into_iter().chain(names).peekable();
    while let Some(name) = missing.next() {
        let is_ours = match mkdirat(&parent, name, mode) {
            Ok(()) => true,
            // somebody was faster; if it is a link, opening it fails
            Err(Errno::EXIST) => false,
            Err(error) => return Err(error),
        };
        let made = openat(
            &parent,
            name,
            directory | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        if is_ours {
            // whatever the umask says. As the kubelet leaves it: the last without a setgid bit, those above with the inherited one,
            // which hands the volume's group down
            let inherited = if missing.peek().is_some() {
                Mode::from_raw_mode(fstat(&made)?.st_mode) & Mode::SGID
            } else {
                Mode::empty()
            };
            fchmod(&made, mode | inherited)?;
        }
        parent = made;
    }
    // as a place only, like every other answer
    openat(
        parent.as_fd(),
        ".",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
}
