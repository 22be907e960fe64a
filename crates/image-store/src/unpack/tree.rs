//! The private directory of one layer, worked on by file descriptors only.
//!
//! Every step down is one name below one descriptor, opened with `openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV)`:
//! there is no path that could be resolved twice, and nothing is ever created through a symbolic link. The way to the last
//! directory stays open, because an archive lists a directory's files one after another.

use super::error::{UnpackError, printable};
use super::name::Name;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, XattrFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Marks a directory that hides those of the layers below it (kernel documentation, overlayfs, "whiteouts and opaque directories").
pub(super) const OPAQUE_XATTR: &str = "trusted.overlay.opaque";
/// What remembering the names of directories may cost, in bytes.
const MOST_NAME_BYTES: usize = 64 << 20;

pub(super) struct Tree {
    root: OwnedFd,
    /// The directory last worked in, from the root downwards.
    open: Vec<(Box<[u8]>, OwnedFd)>,
    directories: BTreeMap<Box<[u8]>, Remembered>,
    name_bytes: usize,
}

/// What is still to be done for a directory when everything is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remembered {
    /// An entry described it: it gets this time.
    Described { mtime: (i64, u32) },
    /// Only needed by an entry below it: it looks like the directory of the layers below, if they have one.
    Implied,
}

/// What stands at a name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Nothing,
    Directory,
    Whiteout,
    Other,
}

impl Tree {
    pub(super) fn new(root: OwnedFd) -> Tree {
        Tree {
            root,
            open: Vec::new(),
            directories: BTreeMap::new(),
            name_bytes: 0,
        }
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    pub(super) fn remember(
        &mut self,
        components: &[&[u8]],
        what: Remembered,
    ) -> Result<(), UnpackError> {
        let path = Name::joined(components);
        self.name_bytes += path.len() + 64;
        if self.name_bytes > MOST_NAME_BYTES {
            return Err(UnpackError::Budget(
                "the names of its directories are too long to keep".into(),
            ));
        }
        self.directories.insert(path.into(), what);
        Ok(())
    }

    pub(super) fn remembered(&self) -> &BTreeMap<Box<[u8]>, Remembered> {
        &self.directories
    }

    /// The directory that `components` name; one that is missing is made, and `made` is asked first.
    pub(super) fn directory(
        &mut self,
        components: &[&[u8]],
        mut made: impl FnMut() -> Result<(), UnpackError>,
    ) -> Result<BorrowedFd<'_>, UnpackError> {
        let common = self
            .open
            .iter()
            .zip(components)
            .take_while(|((open, _), wanted)| open.as_ref() == **wanted)
            .count();
        self.open.truncate(common);
        for depth in common..components.len() {
            let name = components[depth];
            let parent = self.open.last().map_or(&self.root, |(_, fd)| fd).as_fd();
            let fd = match descend(parent, name) {
                Ok(fd) => fd,
                Err(Errno::NOENT) => {
                    made()?;
                    make_directory(parent, name, Mode::from_raw_mode(0o755))
                        .map_err(|errno| io(errno, "make directory", &components[..=depth]))?;
                    let fd = descend(parent, name)
                        .map_err(|errno| io(errno, "open directory", &components[..=depth]))?;
                    self.remember(&components[..=depth], Remembered::Implied)?;
                    fd
                }
                Err(Errno::NOTDIR) if standing(parent, name) == Ok(Standing::Whiteout) => {
                    made()?;
                    replace_whiteout(parent, name)
                        .map_err(|errno| io(errno, "make directory", &components[..=depth]))?;
                    let fd = descend(parent, name)
                        .map_err(|errno| io(errno, "open directory", &components[..=depth]))?;
                    self.remember(&components[..=depth], Remembered::Implied)?;
                    fd
                }
                Err(Errno::LOOP | Errno::NOTDIR | Errno::XDEV) => {
                    return Err(UnpackError::Entry {
                        entry: printable(&Name::joined(components)),
                        what: "lies below something that is not a directory (a link out of the tree?)",
                    });
                }
                Err(errno) => return Err(io(errno, "open directory", &components[..=depth])),
            };
            self.open.push((name.into(), fd));
        }
        Ok(self.open.last().map_or(&self.root, |(_, fd)| fd).as_fd())
    }

    /// The directory that `components` name, without making any. `None`: it is not there, or not a directory.
    pub(super) fn find(&self, components: &[&[u8]]) -> Result<Option<OwnedFd>, Errno> {
        let mut at: Option<OwnedFd> = None;
        for name in components {
            let parent = at.as_ref().map_or(self.root.as_fd(), |fd| fd.as_fd());
            match descend(parent, name) {
                Ok(fd) => at = Some(fd),
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(None),
                Err(errno) => return Err(errno),
            }
        }
        match at {
            Some(fd) => Ok(Some(fd)),
            None => descend(self.root.as_fd(), b".").map(Some),
        }
    }
}

/// One step down: a real directory on the same file system.
pub(super) fn descend(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    loop {
        match rustix::fs::openat2(
            parent,
            name,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::BENEATH
                | ResolveFlags::NO_SYMLINKS
                | ResolveFlags::NO_MAGICLINKS
                | ResolveFlags::NO_XDEV,
        ) {
            // A rename somewhere in the system raced with the check for "..": openat2(2) says to try again.
            Err(Errno::AGAIN) => continue,
            result => return result,
        }
    }
}

pub(super) fn stat(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Stat, Errno> {
    rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
}

pub(super) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

pub(super) fn standing(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Standing, Errno> {
    match stat(parent, name) {
        Ok(stat) if is_whiteout(&stat) => Ok(Standing::Whiteout),
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
            Ok(Standing::Directory)
        }
        Ok(_) => Ok(Standing::Other),
        Err(Errno::NOENT) => Ok(Standing::Nothing),
        Err(errno) => Err(errno),
    }
}

pub(super) fn make_directory(parent: BorrowedFd<'_>, name: &[u8], mode: Mode) -> Result<(), Errno> {
    rustix::fs::mkdirat(parent, name, mode)
}

pub(super) fn make_whiteout(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    rustix::fs::mknodat(
        parent,
        name,
        FileType::CharacterDevice,
        Mode::empty(),
        rustix::fs::makedev(0, 0),
    )
}

/// A layer that hides `name` and has a directory of that name: its directory, opaque (OCI: whiteouts apply to lower layers only).
pub(super) fn replace_whiteout(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
    make_directory(parent, name, Mode::from_raw_mode(0o755))?;
    make_opaque(parent, name)
}

pub(super) fn make_opaque(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let directory = open_directory(parent, name)?;
    rustix::fs::fsetxattr(directory, OPAQUE_XATTR, b"y", XattrFlags::empty())
}

/// A directory opened for attributes, which `O_PATH` does not allow.
pub(super) fn open_directory(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(
        parent,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

pub(super) fn io(errno: Errno, what: &'static str, components: &[&[u8]]) -> UnpackError {
    UnpackError::Io {
        what,
        entry: printable(&Name::joined(components)),
        source: std::sync::Arc::new(errno.into()),
    }
}
