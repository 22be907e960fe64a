//! The directory as the kernel shows it: an open directory, its listing, and inotify's events in words of this crate.

use crate::file::{self, Content, is_manifest_name};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, open, statat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A directory that is being watched. It is not kept open: while a directory is open, the kernel does not tell of its removal.
pub(crate) struct Watch {
    /// Device and inode, to know the directory again.
    id: (u64, u64),
    /// Why there are no events, if there are none: then only the slow re-read sees changes.
    inotify: Result<OwnedFd, Errno>,
}

/// The directory, open for a moment of reading.
pub(crate) struct Directory(OwnedFd);

/// What an event says about one manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    /// Written and closed, or put in place whole: read it now.
    Complete,
    /// A new name: a link, which is whole, or a file that somebody may be writing still.
    Created,
    /// Touched; somebody may be writing it still.
    Touched,
    /// Its name is gone.
    Gone,
    /// Renamed within the directory to a name that is no manifest's, as editors do before they write the file anew.
    SetAside,
}

/// What happened since the last look.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Signs {
    /// The last sign of each file.
    pub(crate) files: BTreeMap<OsString, Sign>,
    /// Events were lost, or links were switched: look at everything.
    pub(crate) everything: bool,
    /// The directory was removed, moved or unmounted.
    pub(crate) directory_gone: bool,
}

impl Directory {
    fn open(path: &Path) -> Result<(Self, (u64, u64)), Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = open(path, flags, Mode::empty())?;
        let stat = fstat(&directory)?;
        Ok((Self(directory), (stat.st_dev, stat.st_ino)))
    }

    /// The names of manifests, in no order.
    pub(crate) fn names(&self) -> Result<Vec<OsString>, Errno> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if is_manifest_name(name) && entry.file_type() != FileType::Directory {
                names.push(OsStr::from_bytes(name).to_owned());
            }
        }
        Ok(names)
    }

    /// What the file holds now.
    pub(crate) fn read(&self, name: &OsStr) -> Content {
        file::read(self.0.as_fd(), name)
    }

    /// Whether a new name is a link, symbolic or hard: those are whole from the start.
    pub(crate) fn is_link(&self, name: &OsStr) -> bool {
        statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| {
            FileType::from_raw_mode(stat.st_mode) == FileType::Symlink || stat.st_nlink > 1
        })
    }
}

impl Watch {
    /// Begins to watch the directory: what changes after this call gives an event.
    pub(crate) fn new(path: &Path) -> Result<Self, Errno> {
        let (directory, id) = Directory::open(path)?;
        let inotify = watch(&directory.0);
        Ok(Self { id, inotify })
    }

    /// Opens the directory for reading.
    ///
    /// # Errors
    /// Also when `path` leads to another directory by now.
    pub(crate) fn enter(&self, path: &Path) -> Result<Directory, Errno> {
        match Directory::open(path)? {
            (directory, id) if id == self.id => Ok(directory),
            _ => Err(Errno::NOENT),
        }
    }

    /// To poll for events; `None` when there are none to come.
    pub(crate) fn events_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().ok().map(AsFd::as_fd)
    }
    pub(crate) fn why_no_events(&self) -> Option<Errno> {
        self.inotify.as_ref().err().copied()
    }

    /// Takes every event that waits; never blocks.
    pub(crate) fn signs(&self) -> Signs {
        let mut signs = Signs::default();
        let Ok(inotify) = &self.inotify else {
            return signs;
        };
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let mut reader = inotify::Reader::new(inotify, &mut buffer);
        // The rename whose other half the next event may be.
        let mut moved_from: Option<(u32, OsString)> = None;
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::INTR) => continue,
                Err(_) => break,
            };
            let flags = event.events();
            let name = event.file_name().map(|n| OsStr::from_bytes(n.to_bytes()));
            let previous = moved_from.take();
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                signs.everything = true;
            }
            if flags.intersects(
                ReadFlags::DELETE_SELF
                    | ReadFlags::MOVE_SELF
                    | ReadFlags::UNMOUNT
                    | ReadFlags::IGNORED,
            ) {
                signs.directory_gone = true;
            }
            let Some(name) = name else { continue };
            if !is_manifest_name(name.as_bytes()) {
                match previous {
                    Some((cookie, from))
                        if flags.contains(ReadFlags::MOVED_TO) && cookie == event.cookie() =>
                    {
                        signs.files.insert(from, Sign::SetAside);
                    }
                    // `..data`, the link through which a mounted ConfigMap changes all its files at once.
                    _ if name.as_bytes().starts_with(b"..") => signs.everything = true,
                    _ => {}
                }
                continue;
            }
            let sign = if flags.intersects(ReadFlags::CLOSE_WRITE | ReadFlags::MOVED_TO) {
                Sign::Complete
            } else if flags.intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM) {
                Sign::Gone
            } else if flags.contains(ReadFlags::CREATE) {
                Sign::Created
            } else {
                Sign::Touched
            };
            if flags.contains(ReadFlags::MOVED_FROM) {
                moved_from = Some((event.cookie(), name.to_owned()));
            }
            // A touch after a close adds nothing.
            let known = signs.files.get(name);
            if !(sign == Sign::Touched && known == Some(&Sign::Complete)) {
                signs.files.insert(name.to_owned(), sign);
            }
        }
        signs
    }
}

fn watch(directory: &OwnedFd) -> Result<OwnedFd, Errno> {
    let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    // By descriptor, so that it is this directory and not another that has taken its name meanwhile.
    let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let flags = WatchFlags::CLOSE_WRITE
        | WatchFlags::MOVED_TO
        | WatchFlags::MOVED_FROM
        | WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::ATTRIB
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF;
    inotify::add_watch(&inotify, path, flags)?;
    Ok(inotify)
}
