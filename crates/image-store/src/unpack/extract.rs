//! Writes the entries of one layer into its private directory, in the form that overlayfs reads.
//!
//! | the archive says | what happens |
//! |---|---|
//! | an absolute name, `..`, a NUL, more than 200 names deep | refused |
//! | a name below a symbolic link, a file, or a whiteout | refused: nothing is ever written through a link |
//! | a symbolic link | made; its target is data and is never followed here |
//! | a hard link | to a file that this layer brought already, by a name of the same form; else refused |
//! | a character or block device | refused: containers get their devices from the runtime |
//! | a FIFO | made |
//! | a directory a second time | its attributes are set again |
//! | anything else a second time | refused, or the last wins ([`crate::Duplicates`]) by unlinking first |
//! | `.wh.NAME` | a 0:0 character device; an opaque mark if this layer has a directory of the name; nothing if it has a file |
//! | `.wh..wh..opq` | `trusted.overlay.opaque=y` |
//! | `.wh.`, `.wh..`, `.wh...` | refused: a whiteout of its own directory or of its parent |
//! | `.wh..wh.*` otherwise | dropped: bookkeeping of aufs, as Docker drops it |
//! | `security.capability`, `security.ima`, `user.*`, `system.posix_acl_*` | set |
//! | `security.selinux`, `security.apparmor` … | dropped: labels are the node's policy |
//! | `trusted.*`, `user.overlay.*`, others | refused: they would steer overlayfs |
//! | more bytes or entries than the budget | refused before they are written |
//!
//! Directories that only follow from the names below them get the attributes of the same directory in the layers below, as if the
//! layer had been unpacked on top of them; [`Extracted::implied`] lists them for whoever knows those layers.

use super::budget::Budget;
use super::error::{UnpackError, printable};
use super::name::{Meaning, Name};
use super::tar_stream::{Entry, Kind, TarStream};
use super::tree::{self, Remembered, Standing, Tree};
use crate::config::Duplicates;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use std::io::BufRead;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What came out.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Extracted {
    /// Bytes of all files.
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
    /// The root directory itself is opaque: nothing of the layers below is seen.
    pub(crate) opaque_root: bool,
    /// Directories that no entry described, parents first. The root is the empty name.
    pub(crate) implied: Vec<Vec<u8>>,
}

/// Writes every entry of `tar` below `root` and reads the stream to its end. Runs on a thread of its own.
pub(crate) fn extract<R: BufRead>(
    tar: &mut TarStream<R>,
    root: OwnedFd,
    budget: &Budget,
) -> Result<Extracted, UnpackError> {
    own_umask().map_err(|errno| tree::io(errno, "set the umask for", &[]))?;
    let mut extractor = Extractor {
        tree: Tree::new(root),
        budget,
        out: Extracted::default(),
        root_described: false,
    };
    while let Some(entry) = tar.next()? {
        budget.take_entry()?;
        extractor.out.entries += 1;
        extractor.entry(tar, &entry)?;
    }
    tar.drain()?;
    extractor.finish()
}

/// A umask of nothing for this thread alone, so that a mode given to `open` and `mkdir` is the mode that is made.
fn own_umask() -> Result<(), Errno> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS)
        .map_err(|errno| Errno::from_raw_os_error(errno as i32))?;
    rustix::process::umask(Mode::empty());
    Ok(())
}

struct Extractor<'a> {
    tree: Tree,
    budget: &'a Budget,
    out: Extracted,
    root_described: bool,
}

/// Which attributes still differ from what the call that made it left.
struct Owner {
    uid: u32,
    gid: u32,
}

impl Owner {
    fn is_root(&self) -> bool {
        self.uid == 0 && self.gid == 0
    }
    fn ids(&self) -> (Option<Uid>, Option<Gid>) {
        (Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))
    }
}

impl Extractor<'_> {
    fn entry<R: BufRead>(
        &mut self,
        tar: &mut TarStream<R>,
        entry: &Entry,
    ) -> Result<(), UnpackError> {
        let refuse = |what| UnpackError::Entry {
            entry: printable(&entry.path),
            what,
        };
        let name = Name::parse(&entry.path, &self.budget.limits).map_err(refuse)?;
        let meaning = name.meaning().map_err(refuse)?;
        let Some((_, above)) = name.components.split_last() else {
            return self.describe_root(entry);
        };
        if meaning == Meaning::Aufs {
            return Ok(());
        }
        if entry.kind == Kind::Device {
            return Err(refuse("is a device node"));
        }
        let budget = self.budget;
        let made = &mut self.out.entries;
        let parent = self
            .tree
            .directory(above, || {
                budget.take_entry()?;
                *made += 1;
                Ok(())
            })
            .map_err(|error| match error {
                // Name the entry, not only the directory that it wanted.
                UnpackError::Entry { what, .. } => refuse(what),
                error => error,
            })?;
        let io = |what: &'static str| {
            let components = name.components.clone();
            move |errno| tree::io(errno, what, &components)
        };
        match meaning {
            Meaning::Aufs => Ok(()),
            Meaning::Whiteout(hidden) => match tree::make_whiteout(parent, hidden) {
                Err(Errno::EXIST) => match tree::standing(parent, hidden) {
                    Ok(Standing::Directory) => {
                        tree::make_opaque(parent, hidden).map_err(io("make opaque"))
                    }
                    Ok(_) => Ok(()),
                    Err(errno) => Err(io("look at")(errno)),
                },
                result => result.map_err(io("make whiteout")),
            },
            Meaning::Opaque => {
                if above.is_empty() {
                    self.out.opaque_root = true;
                }
                tree::make_opaque(parent, b".").map_err(io("make opaque"))
            }
            Meaning::Plain if entry.kind == Kind::Directory => self.make_directory(&name, entry),
            Meaning::Plain => self.make_leaf(tar, &name, entry),
        }
    }

    fn describe_root(&mut self, entry: &Entry) -> Result<(), UnpackError> {
        if entry.kind != Kind::Directory {
            return Err(UnpackError::Entry {
                entry: printable(&entry.path),
                what: "is the root directory, but not a directory",
            });
        }
        self.root_described = true;
        let root = tree::open_directory(self.tree.root(), b".")
            .map_err(|errno| tree::io(errno, "open", &[]))?;
        self.describe_directory(&root, entry, &[])
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

    /// The directory that holds `name`; it exists by now.
    fn parent<'t, 'n>(
        &'t mut self,
        name: &Name<'n>,
    ) -> Result<(&'n [u8], BorrowedFd<'t>), UnpackError> {
        let Some((last, above)) = name.components.split_last() else {
            return Ok((b".", self.tree.root()));
        };
        let parent = self.tree.directory(above, || Ok(()))?;
        Ok((last, parent))
    }

    fn make_directory(&mut self, name: &Name<'_>, entry: &Entry) -> Result<(), UnpackError> {
        let io = |what: &'static str| move |errno| tree::io(errno, what, &name.components);
        let duplicates = self.budget.limits.duplicates;
        let (last, parent) = self.parent(name)?;
        match tree::make_directory(parent, last, Mode::from_raw_mode(entry.mode)) {
            // Nothing is left to be done for most: made by root, with a mode that `mkdir` takes whole.
            Ok(())
                if owner_of(entry).is_root()
                    && entry.xattrs.is_empty()
                    && entry.mode & !0o1777 == 0 =>
            {
                let mtime = entry.mtime;
                return self
                    .tree
                    .remember(&name.components, Remembered::Described { mtime });
            }
            Ok(()) => {}
            Err(Errno::EXIST) => match tree::standing(parent, last).map_err(io("look at"))? {
                Standing::Directory => {}
                Standing::Whiteout => {
                    tree::replace_whiteout(parent, last).map_err(io("make directory"))?;
                }
                Standing::Other if duplicates == Duplicates::LastWins => {
                    rustix::fs::unlinkat(parent, last, AtFlags::empty())
                        .and_then(|()| {
                            tree::make_directory(parent, last, Mode::from_raw_mode(entry.mode))
                        })
                        .map_err(io("replace"))?;
                }
                Standing::Other | Standing::Nothing => {
                    return Err(UnpackError::Entry {
                        entry: printable(&entry.path),
                        what: "is a directory and something else",
                    });
                }
            },
            Err(errno) => return Err(io("make directory")(errno)),
        }
        let directory = tree::open_directory(parent, last).map_err(io("open directory"))?;
        self.describe_directory(&directory, entry, &name.components)
    }

    fn describe_directory(
        &mut self,
        directory: &OwnedFd,
        entry: &Entry,
        components: &[&[u8]],
    ) -> Result<(), UnpackError> {
        let io = |what: &'static str| move |errno| tree::io(errno, what, components);
        let owner = owner_of(entry);
        let (uid, gid) = owner.ids();
        rustix::fs::fchown(directory, uid, gid).map_err(io("change the owner of"))?;
        rustix::fs::fchmod(directory, Mode::from_raw_mode(entry.mode))
            .map_err(io("change the mode of"))?;
        set_xattrs(directory.as_fd(), entry)?;
        self.tree
            .remember(components, Remembered::Described { mtime: entry.mtime })
    }

    fn make_leaf<R: BufRead>(
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

    /// Times of directories last, when nothing more is put into them.
    fn finish(mut self) -> Result<Extracted, UnpackError> {
        for (path, remembered) in self.tree.remembered() {
            let Remembered::Described { mtime } = remembered else {
                self.out.implied.push(path.to_vec());
                continue;
            };
            let components: Vec<&[u8]> = path
                .split(|b| *b == b'/')
                .filter(|c| !c.is_empty())
                .collect();
            let io = |errno| tree::io(errno, "change the time of", &components);
            if let Some(directory) = self.tree.find(&components).map_err(io)? {
                rustix::fs::utimensat(directory, c".", &times(*mtime), AtFlags::empty())
                    .map_err(io)?;
            }
        }
        if !self.root_described {
            self.out.implied.insert(0, Vec::new());
        }
        Ok(self.out)
    }
}

fn owner_of(entry: &Entry) -> Owner {
    Owner {
        uid: entry.uid,
        gid: entry.gid,
    }
}

fn times((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// What to do with an extended attribute of an archive.
enum XattrPolicy {
    Set,
    Drop,
    Refuse,
}

fn policy(name: &[u8]) -> XattrPolicy {
    if name == b"security.capability"
        || name == b"security.ima"
        || name.starts_with(b"system.posix_acl_")
        || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
    {
        XattrPolicy::Set
    } else if name.starts_with(b"security.") {
        XattrPolicy::Drop
    } else {
        XattrPolicy::Refuse
    }
}

/// Whether any attribute is to be set; refuses those that must not come from an archive.
fn has_settable_xattrs(entry: &Entry) -> Result<bool, UnpackError> {
    let mut any = false;
    for (name, _) in &entry.xattrs {
        match policy(name) {
            XattrPolicy::Set => any = true,
            XattrPolicy::Drop => {}
            XattrPolicy::Refuse => {
                return Err(UnpackError::Entry {
                    entry: printable(&entry.path),
                    what: "has an extended attribute that an image may not set",
                });
            }
        }
    }
    Ok(any)
}

fn set_xattrs(fd: BorrowedFd<'_>, entry: &Entry) -> Result<(), UnpackError> {
    if entry.xattrs.is_empty() || !has_settable_xattrs(entry)? {
        return Ok(());
    }
    for (name, value) in &entry.xattrs {
        if !matches!(policy(name), XattrPolicy::Set) {
            continue;
        }
        match rustix::fs::fsetxattr(fd, name.as_slice(), value, XattrFlags::empty()) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::RANGE | Errno::TOOBIG) => {
                return Err(UnpackError::Entry {
                    entry: printable(&entry.path),
                    what: "has an extended attribute with a bad value",
                });
            }
            // A file system without user attributes or ACLs runs the program all the same; one without capabilities would not.
            Err(Errno::OPNOTSUPP) if name != b"security.capability" => {}
            Err(errno) => {
                return Err(UnpackError::Io {
                    what: "set an extended attribute of",
                    entry: printable(&entry.path),
                    source: std::sync::Arc::new(errno.into()),
                });
            }
        }
    }
    Ok(())
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
