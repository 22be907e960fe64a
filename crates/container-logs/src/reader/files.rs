//! The files of one log in their order, while a writer rotates, compresses and drops them.

use super::ReadError;
use super::input::Input;
use crate::housekeep;
use crate::place::{self, Found};
use crate::rotated::{self, Rotated};
use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

pub(super) struct Files {
    path: PathBuf,
    directory: OwnedFd,
    name: OsString,
    /// The last rotated file that needs no more reading.
    behind: Option<Rotated>,
}

/// What stays the same when a file is renamed or compressed.
#[derive(Clone, Copy)]
struct Identity {
    inode: u64,
    /// Seconds and nanoseconds.
    modified: (i64, u64),
}

impl Identity {
    fn of(stat: &Stat) -> Self {
        Self {
            inode: stat.st_ino,
            modified: (stat.st_mtime, stat.st_mtime_nsec),
        }
    }
}

/// One of the files.
pub(super) struct Open {
    pub(super) input: Input,
    identity: Identity,
    /// Which of the rotated files; `None` was the current one when last looked at.
    pub(super) rotated: Option<Rotated>,
}

/// Where to begin: `open` first (nothing if there is no file), passing over `skip` lines.
pub(super) struct Start {
    pub(super) open: Option<Open>,
    pub(super) skip: u64,
}

impl Files {
    pub(super) fn of(path: &Path) -> Result<Self, ReadError> {
        let missing = || ReadError::Missing {
            path: path.to_owned(),
        };
        let (directory, name) = place::split(path).ok_or_else(missing)?;
        let directory = place::open_directory(&directory).map_err(|e| match e {
            Errno::NOENT => missing(),
            e => ReadError::Read {
                path: path.to_owned(),
                source: e.into(),
            },
        })?;
        let files = Self {
            path: path.to_owned(),
            directory,
            name,
            behind: None,
        };
        let has_current = files.stat(&files.name)?.is_some();
        if !has_current && files.list()?.is_empty() {
            return Err(missing());
        }
        Ok(files)
    }

    /// Begins with the oldest file that may hold a line of time `since` or later.
    pub(super) fn oldest(&mut self, since: Option<i64>) -> Result<Start, ReadError> {
        if let Some(since) = since {
            // A file is not older than its lines; a second for clocks that are read one after the other.
            let since = since.div_euclid(1_000_000_000) - 1;
            for rotated in self.list()? {
                match self.stat(&rotated.name(&self.name))? {
                    Some(stat) if stat.st_mtime < since => self.behind = Some(rotated),
                    _ => break,
                }
            }
        }
        Ok(Start {
            open: self.open_next()?,
            skip: 0,
        })
    }

    /// Opens the file after the last finished one; `None` if it is not there yet.
    pub(super) fn open_next(&mut self) -> Result<Option<Open>, ReadError> {
        loop {
            let list = self.list()?;
            let newest = list.last().cloned();
            for rotated in list {
                if self.is_behind(&rotated) {
                    continue;
                }
                if let Some(open) = self.open_rotated(&rotated)? {
                    return Ok(Some(open));
                }
            }
            let current = self.open_current()?;
            // A rotation between the listing and the opening would be passed over.
            let now_newest = self.list()?.pop();
            let is_same = match (&newest, &now_newest) {
                (Some(a), Some(b)) => a.is_same_log(b),
                (None, None) => true,
                // Dropped meanwhile.
                (Some(_), None) => true,
                (None, Some(_)) => false,
            };
            if is_same {
                return Ok(current.map(|(file, stat)| Self::opened(file, &stat, None)));
            }
        }
    }

    fn is_behind(&self, rotated: &Rotated) -> bool {
        self.behind
            .as_ref()
            .is_some_and(|b| rotated < b || b.is_same_log(rotated))
    }

    /// `open` was read to its end and will not grow.
    pub(super) fn finished(&mut self, open: &Open) {
        self.behind = open.rotated.clone();
    }

    /// What the file that was the current one has been rotated to; `None` if it is still current.
    pub(super) fn became(&self, open: &Open) -> Result<Option<Rotated>, ReadError> {
        if self
            .stat(&self.name)?
            .is_some_and(|s| s.st_ino == open.identity.inode)
        {
            return Ok(None);
        }
        let mut older = None;
        for rotated in self.list()?.into_iter().rev() {
            match self.identity(&rotated)? {
                Some(it) if it.inode == open.identity.inode => return Ok(Some(rotated)),
                Some(it) if older.is_none() && it.modified < open.identity.modified => {
                    older = Some(rotated);
                }
                _ => {}
            }
        }
        // It was dropped: by the writer, and what is there comes after it, or by a person, and what is older was read.
        let oldest = Rotated::new(*b"00000000-000000", 0);
        Ok(older.or_else(|| self.behind.clone()).or(Some(oldest)))
    }

    /// The inode that a rotated file had when it was written, and its last modification.
    fn identity(&self, rotated: &Rotated) -> Result<Option<Identity>, ReadError> {
        let plain = rotated.with_compressed(false).name(&self.name);
        if let Some(stat) = self.stat(&plain)? {
            return Ok(Some(Identity::of(&stat)));
        }
        let compressed = rotated.with_compressed(true).name(&self.name);
        Ok(self.open_named(&compressed)?.and_then(|(file, stat)| {
            Some(Identity {
                inode: housekeep::original_inode(file)?,
                ..Identity::of(&stat)
            })
        }))
    }

    pub(super) fn list(&self) -> Result<Vec<Rotated>, ReadError> {
        rotated::list(&self.directory, &self.name).map_err(|e| self.error(e.into()))
    }

    pub(super) fn open_current(&self) -> Result<Option<(File, Stat)>, ReadError> {
        self.open_named(&self.name)
    }

    /// A rotated file by either of its names; `None` if it is gone.
    pub(super) fn open_rotated(&self, rotated: &Rotated) -> Result<Option<Open>, ReadError> {
        for compressed in [rotated.compressed, true] {
            let rotated = rotated.with_compressed(compressed);
            if let Some((file, stat)) = self.open_named(&rotated.name(&self.name))? {
                return Ok(Some(Self::opened(file, &stat, Some(rotated))));
            }
        }
        Ok(None)
    }

    pub(super) fn open_plain(&self, rotated: &Rotated) -> Result<Option<(File, Stat)>, ReadError> {
        self.open_named(&rotated.name(&self.name))
    }

    pub(super) fn opened(file: File, stat: &Stat, rotated: Option<Rotated>) -> Open {
        let is_compressed = rotated.as_ref().is_some_and(|r| r.compressed);
        Open {
            input: if is_compressed {
                Input::compressed(file)
            } else {
                Input::plain(file)
            },
            identity: Identity::of(stat),
            rotated,
        }
    }

    pub(super) fn error(&self, source: io::Error) -> ReadError {
        ReadError::Read {
            path: self.path.clone(),
            source,
        }
    }

    fn open_named(&self, name: &OsStr) -> Result<Option<(File, Stat)>, ReadError> {
        match place::open_log(&self.directory, name, OFlags::RDONLY, Mode::empty()) {
            Ok(Found::Log(file, stat)) => Ok(Some((file, stat))),
            Ok(Found::Foreign(what)) => Err(ReadError::Foreign {
                path: self.path.with_file_name(name),
                what,
            }),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(self.error(e.into())),
        }
    }

    fn stat(&self, name: &OsStr) -> Result<Option<Stat>, ReadError> {
        match rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(self.error(e.into())),
        }
    }
}
