//! The directory as the kernel shows it: an open directory, its listing, and inotify's events in words of this crate.

use crate::file::is_manifest_name;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, open, stat, statat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// An open directory that is being watched.
pub(crate) struct Watch {
    directory: OwnedFd,
    /// Why there are no events, if there are none: then only the slow re-read sees changes.
    inotify: Result<OwnedFd, Errno>,
}

/// What an event says about one manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    /// Written and closed, or put in place whole: read it now.
    Complete,
    /// Made or touched; somebody may be writing it still.
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

impl Watch {
    /// Opens the directory and begins to watch it, in this order of effect: what changes after this call gives an event.
    pub(crate) fn open(path: &Path) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = open(path, flags, Mode::empty())?;
        let inotify = watch(&directory);
        Ok(Self { directory, inotify })
    }

    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
    /// To poll for events; `None` when there are none to come.
    pub(crate) fn events_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().ok().map(AsFd::as_fd)
    }
    pub(crate) fn why_no_events(&self) -> Option<Errno> {
        self.inotify.as_ref().err().copied()
    }

    /// Whether `path` still leads to the open directory.
    pub(crate) fn is_still_at(&self, path: &Path) -> bool {
        match (fstat(&self.directory), stat(path)) {
            (Ok(open), Ok(there)) => {
                (open.st_dev, open.st_ino) == (there.st_dev, there.st_ino) && open.st_nlink > 0
            }
            _ => false,
        }
    }

    /// The names of manifests, in no order.
    pub(crate) fn names(&self) -> Result<Vec<OsString>, Errno> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if is_manifest_name(name) && entry.file_type() != FileType::Directory {
                names.push(OsStr::from_bytes(name).to_owned());
            }
        }
        Ok(names)
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
                self.created(name)
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

    /// A new name: a link is whole from the start, a new file is followed by its being closed.
    fn created(&self, name: &OsStr) -> Sign {
        match statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat)
                if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink
                    || stat.st_nlink > 1 =>
            {
                Sign::Complete
            }
            _ => Sign::Touched,
        }
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
