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
use super::leaf::{owner_of, times};
use super::name::{Meaning, Name};
use super::tar_stream::{Entry, Kind, TarStream};
use super::tree::{self, Remembered, Standing, Tree};
use super::xattrs::set_xattrs;
use crate::config::Duplicates;
use rustix::fs::{AtFlags, Mode};
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

pub(super) struct Extractor<'a> {
    pub(super) tree: Tree,
    pub(super) budget: &'a Budget,
    pub(super) out: Extracted,
    root_described: bool,
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

    /// The directory that holds `name`; it exists by now.
    pub(super) fn parent<'t, 'n>(
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
