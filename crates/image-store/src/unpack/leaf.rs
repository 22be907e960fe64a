//! Everything that is not a directory: files, links, FIFOs. In this order: made, written, owner, mode, attributes, time; a change of owner takes
//! set-id bits and capabilities away, and every other change sets the time.

use super::error::{UnpackError, printable};
use super::extract::Extractor;
use super::name::{Meaning, Name};
use super::tar_stream::{Entry, Kind, TarStream};
use super::tree::{self, Standing};
use super::xattrs::{has_settable_xattrs, set_xattrs};
use crate::config::Duplicates;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use std::io::BufRead;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

impl Extractor<'_> {
    pub(super) fn make_leaf<R: BufRead>(
        &mut self,
        tar: &mut TarStream<R>,
        name: &Name<'_>,
        entry: &Entry,
    ) -> Result<(), UnpackError> {
        let io = |what: &'static str| move |errno| tree::io(errno, what, &name.components);
        match entry.kind {
            Kind::File => self.make_file(tar, name, entry),
            Kind::HardLink => self.make_hard_link(name, entry),
            Kind::Symlink | Kind::Fifo => {
                if has_settable_xattrs(entry)? {
                    return Err(UnpackError::Entry {
                        entry: printable(&entry.path),
                        what: "has extended attributes, which only files and directories may",
                    });
                }
                if entry.kind == Kind::Symlink {
                    if entry.link.is_empty() || entry.link.contains(&0) || entry.link.len() > 4095 {
                        return Err(UnpackError::Entry {
                            entry: printable(&entry.path),
                            what: "is a symbolic link with no proper target",
                        });
                    }
                    self.create(name, entry, "make symbolic link", |parent, last| {
                        rustix::fs::symlinkat(entry.link.as_slice(), parent, last)
                    })?;
                } else {
                    let mode = Mode::from_raw_mode(entry.mode);
                    self.create(name, entry, "make FIFO", |parent, last| {
                        rustix::fs::mknodat(parent, last, FileType::Fifo, mode, 0)
                    })?;
                }
                let (last, parent) = self.parent(name)?;
                let owner = owner_of(entry);
                if !owner.is_root() {
                    let (uid, gid) = owner.ids();
                    rustix::fs::chownat(parent, last, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
                        .map_err(io("change the owner of"))?;
                }
                rustix::fs::utimensat(parent, last, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(io("change the time of"))
            }
            Kind::Directory | Kind::Device => unreachable!("handled by the caller"),
        }
    }

    fn make_file<R: BufRead>(
        &mut self,
        tar: &mut TarStream<R>,
        name: &Name<'_>,
        entry: &Entry,
    ) -> Result<(), UnpackError> {
        let io = |what: &'static str| move |errno| tree::io(errno, what, &name.components);
        let file = self.create(name, entry, "make file", |parent, last| {
            rustix::fs::openat(
                parent,
                last,
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::from_raw_mode(entry.mode),
            )
        })?;
        match &entry.sparse {
            None => tar.data(u64::MAX, |piece| {
                write_all(&file, piece).map_err(io("write file"))
            })?,
            Some(regions) => {
                // The holes cost no disk here, but they do as soon as somebody copies the file.
                self.budget.take_bytes(
                    entry.size - regions.iter().map(|(_, length)| length).sum::<u64>(),
                )?;
                for (offset, length) in regions {
                    let mut at = *offset;
                    tar.data(*length, |piece| {
                        write_all_at(&file, piece, at).map_err(io("write file"))?;
                        at += piece.len() as u64;
                        Ok(())
                    })?;
                }
                rustix::fs::ftruncate(&file, entry.size).map_err(io("write file"))?;
            }
        }
        self.out.bytes += entry.size;
        let owner = owner_of(entry);
        if !owner.is_root() {
            let (uid, gid) = owner.ids();
            rustix::fs::fchown(&file, uid, gid).map_err(io("change the owner of"))?;
        }
        if entry.mode & 0o7000 != 0 {
            // Writing and changing the owner take the set-id bits away.
            rustix::fs::fchmod(&file, Mode::from_raw_mode(entry.mode))
                .map_err(io("change the mode of"))?;
        }
        set_xattrs(file.as_fd(), entry)?;
        rustix::fs::futimens(&file, &times(entry.mtime)).map_err(io("change the time of"))
    }

    fn make_hard_link(&mut self, name: &Name<'_>, entry: &Entry) -> Result<(), UnpackError> {
        let refuse = |what| UnpackError::Entry {
            entry: printable(&entry.path),
            what,
        };
        let target = Name::parse(&entry.link, &self.budget.limits)
            .map_err(|_| refuse("is a hard link to a name outside of the layer"))?;
        if !matches!(target.meaning(), Ok(Meaning::Plain)) {
            return Err(refuse("is a hard link to a whiteout"));
        }
        let Some((target_last, target_above)) = target.components.split_last() else {
            return Err(refuse("is a hard link to the root directory"));
        };
        let io = |what: &'static str| move |errno| tree::io(errno, what, &name.components);
        let from = self
            .tree
            .find(target_above)
            .map_err(io("look for the target of"))?
            .ok_or_else(|| refuse("is a hard link to a file that this layer does not have"))?;
        match tree::standing(from.as_fd(), target_last).map_err(io("look at the target of"))? {
            Standing::Other => {}
            Standing::Directory => return Err(refuse("is a hard link to a directory")),
            Standing::Whiteout | Standing::Nothing => {
                return Err(refuse(
                    "is a hard link to a file that this layer does not have",
                ));
            }
        }
        // Without AT_SYMLINK_FOLLOW: a link to a symbolic link is one more name of the link itself.
        self.create(name, entry, "make hard link", |parent, last| {
            rustix::fs::linkat(&from, *target_last, parent, last, AtFlags::empty())
        })
    }

    /// Makes something other than a directory. It may take the place of a whiteout of this layer; anything else that stands there
    /// makes it a duplicate.
    fn create<T>(
        &mut self,
        name: &Name<'_>,
        entry: &Entry,
        what: &'static str,
        make: impl Fn(BorrowedFd<'_>, &[u8]) -> Result<T, Errno>,
    ) -> Result<T, UnpackError> {
        let io = |errno| tree::io(errno, what, &name.components);
        let refuse = |what| UnpackError::Entry {
            entry: printable(&entry.path),
            what,
        };
        let duplicates = self.budget.limits.duplicates;
        let (last, parent) = self.parent(name)?;
        match make(parent, last) {
            Err(Errno::EXIST) => {}
            result => return result.map_err(io),
        }
        match tree::standing(parent, last).map_err(io)? {
            Standing::Directory => return Err(refuse("is a directory and something else")),
            Standing::Other if duplicates == Duplicates::Refuse => {
                return Err(refuse("comes twice"));
            }
            Standing::Other | Standing::Whiteout | Standing::Nothing => {}
        }
        rustix::fs::unlinkat(parent, last, AtFlags::empty())
            .and_then(|()| make(parent, last))
            .map_err(io)
    }
}

/// Whose an entry is. What root makes is root's already.
pub(super) struct Owner {
    uid: u32,
    gid: u32,
}

impl Owner {
    pub(super) fn is_root(&self) -> bool {
        self.uid == 0 && self.gid == 0
    }
    pub(super) fn ids(&self) -> (Option<Uid>, Option<Gid>) {
        (Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))
    }
}

pub(super) fn owner_of(entry: &Entry) -> Owner {
    Owner {
        uid: entry.uid,
        gid: entry.gid,
    }
}

pub(super) fn times((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(0) => return Err(Errno::NOSPC),
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn write_all_at(file: &OwnedFd, mut bytes: &[u8], mut at: u64) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(file, bytes, at) {
            Ok(0) => return Err(Errno::NOSPC),
            Ok(written) => {
                bytes = &bytes[written..];
                at += written as u64;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
