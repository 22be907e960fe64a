//! A path inside the new root, as a descriptor; what is missing is made.
//!
//! The image and shared volumes are a tenant's: any part of a path may be a link, also one to nowhere, also one that is being exchanged at
//! this moment. So the walk holds the part of the path that is known to be free of links and opens it anew by `openat2` with
//! `RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS` at each step: a name that became a link in between is an error, never a way out. Links are read
//! by descriptor and walked inside the root. Directories and files are made through a descriptor of their parent.

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// As many links as the kernel follows.
const MOST_LINKS: usize = 40;

/// What the last part of a path is to be, if it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Make {
    Directory,
    File,
    Nothing,
}

/// What a link on the way means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    /// Walked inside the root: what a tenant's volume may be mounted on.
    Follow,
    /// Refused: what the runtime itself mounts.
    Refuse,
}

fn walk_flags() -> ResolveFlags {
    ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS
}

/// Opens `path` by `O_PATH` in the tree below `root`.
pub(super) fn target(
    root: BorrowedFd<'_>,
    path: &str,
    make: Make,
    links: Links,
) -> Result<OwnedFd, Errno> {
    // most are there already and without a link on the way; of most others only the last part is missing
    let quick = match open(root, Path::new(path)) {
        Err(Errno::NOENT) if make != Make::Nothing => make_last(root, Path::new(path), make)?,
        other => other.ok(),
    };
    match quick {
        Some(found) if kind_of(found.as_fd())? != FileType::Symlink => Ok(found),
        _ => walk(root, path, make, links),
    }
}

/// Makes the last part of `path`; `None` when what is before it is not a directory by these very names.
fn make_last(root: BorrowedFd<'_>, path: &Path, make: Make) -> Result<Option<OwnedFd>, Errno> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(None);
    };
    let Ok(directory) = open(root, parent) else {
        return Ok(None);
    };
    if kind_of(directory.as_fd())? != FileType::Directory {
        return Ok(None);
    }
    create(directory.as_fd(), name, make == Make::Directory)?;
    Ok(open(directory.as_fd(), Path::new(name)).ok())
}

fn walk(root: BorrowedFd<'_>, path: &str, make: Make, links: Links) -> Result<OwnedFd, Errno> {
    let mut left: VecDeque<OsString> = parts(OsStr::new(path)).collect();
    let mut done = PathBuf::from(".");
    let mut followed = 0;
    while let Some(part) = left.pop_front() {
        if part == ".." {
            if done.as_os_str() != "." {
                done.pop();
            }
            continue;
        }
        let here = done.join(&part);
        let found = match open(root, &here) {
            Err(Errno::NOENT) if make != Make::Nothing => {
                let directory = open(root, &done)?;
                create(
                    directory.as_fd(),
                    &part,
                    !left.is_empty() || make == Make::Directory,
                )?;
                open(root, &here)?
            }
            other => other?,
        };
        match FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) {
            FileType::Symlink if links == Links::Refuse => return Err(Errno::LOOP),
            FileType::Symlink => {
                followed += 1;
                if followed > MOST_LINKS {
                    return Err(Errno::LOOP);
                }
                let to = rustix::fs::readlinkat(&found, c"", Vec::new())?;
                let to = OsStr::from_bytes(to.as_bytes());
                if to.as_bytes().starts_with(b"/") {
                    done = PathBuf::from(".");
                }
                for part in parts(to).collect::<Vec<_>>().into_iter().rev() {
                    left.push_front(part);
                }
            }
            _ if left.is_empty() => return Ok(found),
            _ => done = here,
        }
    }
    open(root, &done)
}

fn parts(path: &OsStr) -> impl Iterator<Item = OsString> {
    path.as_bytes()
        .split(|b| *b == b'/')
        .filter(|p| !p.is_empty() && *p != b".")
        .map(|p| OsString::from_vec(p.to_vec()))
}

/// `path` has no link before its last part; the last is not followed. `NO_SYMLINKS` with `O_NOFOLLOW` still opens a last link itself.
fn open(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    again(|| rustix::fs::openat2(root, path, flags, Mode::empty(), walk_flags()))
}

fn create(directory: BorrowedFd<'_>, name: &OsStr, is_directory: bool) -> Result<(), Errno> {
    let made = if is_directory {
        rustix::fs::mkdirat(directory, name, Mode::from_raw_mode(0o755))
    } else {
        let mode = Mode::from_raw_mode(0o644);
        rustix::fs::mknodat(directory, name, FileType::RegularFile, mode, 0)
    };
    // somebody else made it meanwhile: the next open looks at what it is
    match made {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

/// `openat2` gives up with `EAGAIN` when names change under it.
fn again<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    for _ in 0..128 {
        match call() {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// Opens what is at `path` in the tree below `root`, links followed inside it, for use; never a magic link.
pub(super) fn existing(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    again(|| rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), how))
}

/// What kind of file a descriptor is.
pub(super) fn kind_of(fd: BorrowedFd<'_>) -> Result<FileType, Errno> {
    Ok(FileType::from_raw_mode(
        rustix::fs::statat(fd, c"", AtFlags::EMPTY_PATH)?.st_mode,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    type Done = Result<(), Box<dyn std::error::Error>>;

    struct Tree {
        outer: tempfile::TempDir,
        root: fs::File,
    }

    impl Tree {
        fn new() -> std::io::Result<Self> {
            let outer = tempfile::tempdir()?;
            fs::create_dir(outer.path().join("root"))?;
            fs::write(outer.path().join("canary"), "host")?;
            let root = fs::File::open(outer.path().join("root"))?;
            Ok(Self { outer, root })
        }
        fn path(&self, inside: &str) -> PathBuf {
            self.outer.path().join("root").join(inside)
        }
        fn same(&self, fd: &OwnedFd, path: &Path) -> std::io::Result<bool> {
            use std::os::unix::fs::MetadataExt;
            let a = rustix::fs::fstat(fd)?;
            let b = fs::metadata(path)?;
            Ok(a.st_ino == b.ino())
        }
        fn target(&self, path: &str, make: Make, links: Links) -> Result<OwnedFd, Errno> {
            target(self.root.as_fd(), path, make, links)
        }
    }

    #[test]
    fn what_is_missing_is_made() -> Done {
        let tree = Tree::new()?;
        let fd = tree.target("/a/b/../c/file", Make::File, Links::Follow)?;
        assert!(tree.same(&fd, &tree.path("a/c/file"))?);
        assert!(tree.path("a/b").is_dir());
        let fd = tree.target("/", Make::Directory, Links::Refuse)?;
        assert!(tree.same(&fd, &tree.path(""))?);
        assert_eq!(
            tree.target("/none", Make::Nothing, Links::Follow).map(drop),
            Err(Errno::NOENT)
        );
        Ok(())
    }

    #[test]
    fn links_stay_inside() -> Done {
        let tree = Tree::new()?;
        let outside = tree.outer.path().join("canary");
        symlink(&outside, tree.path("absolute"))?;
        symlink("../../../../canary", tree.path("relative"))?;
        symlink("../run/resolve/stub.conf", tree.path("dangling"))?;
        fs::create_dir(tree.path("etc"))?;
        symlink("/etc", tree.path("dir"))?;
        let fd = tree.target("/absolute", Make::File, Links::Follow)?;
        assert!(tree.same(
            &fd,
            &tree.path(outside.strip_prefix("/")?.to_str().unwrap_or_default())
        )?);
        let fd = tree.target("/relative", Make::File, Links::Follow)?;
        assert!(tree.same(&fd, &tree.path("canary"))?);
        let fd = tree.target("/dangling", Make::File, Links::Follow)?;
        assert!(tree.same(&fd, &tree.path("run/resolve/stub.conf"))?);
        let fd = tree.target("/dir/new", Make::Directory, Links::Follow)?;
        assert!(tree.same(&fd, &tree.path("etc/new"))?);
        assert_eq!(fs::read_to_string(&outside)?, "host");
        assert!(!tree.outer.path().join("run").exists());
        for link in ["/absolute", "/relative", "/dangling", "/dir", "/dir/new"] {
            assert_eq!(
                tree.target(link, Make::Directory, Links::Refuse).map(drop),
                Err(Errno::LOOP),
                "{link}"
            );
        }
        Ok(())
    }

    #[test]
    fn a_ring_of_links_ends() -> Done {
        let tree = Tree::new()?;
        symlink("b", tree.path("a"))?;
        symlink("a", tree.path("b"))?;
        assert_eq!(
            tree.target("/a/x", Make::File, Links::Follow).map(drop),
            Err(Errno::LOOP)
        );
        fs::write(tree.path("file"), "")?;
        assert_eq!(
            tree.target("/file/x", Make::File, Links::Follow).map(drop),
            Err(Errno::NOTDIR)
        );
        Ok(())
    }

    #[test]
    fn an_exchange_of_links_never_leads_out() -> Done {
        let tree = Tree::new()?;
        let canary = tree.outer.path().join("victim");
        fs::create_dir(&canary)?;
        fs::create_dir(tree.path("v"))?;
        fs::create_dir(tree.path("v/x"))?;
        symlink(&canary, tree.path("v/y"))?;
        let (x, y) = (tree.path("v/x"), tree.path("v/y"));
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let racer = std::thread::spawn({
            let stop = stop.clone();
            move || {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let flags = rustix::fs::RenameFlags::EXCHANGE;
                    let _ =
                        rustix::fs::renameat_with(rustix::fs::CWD, &x, rustix::fs::CWD, &y, flags);
                }
            }
        });
        for n in 0..2000 {
            // any answer is right, as long as it is inside
            let _ = tree.target(&format!("/v/x/n{n}"), Make::Directory, Links::Follow);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(racer.join().is_ok());
        assert_eq!(fs::read_dir(&canary)?.count(), 0, "made outside the root");
        Ok(())
    }
}
