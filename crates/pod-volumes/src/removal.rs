//! Deleting volumes: renamed away at once, deleted later by a thread of low priority that ends when there is nothing left.
//!
//! Deleting never leaves the file system: a directory on which something is mounted stays, with all above it, and is reported. It
//! needs a bounded number of descriptors however deep a tenant built: what lies deeper than [`MAX_DEPTH`] is first moved up.

use crate::error::VolumeError;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, openat2, renameat, unlinkat};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

const MAX_DEPTH: usize = 48;
/// Least urgent of the ordinary scheduling classes; the priority of its disk I/O follows.
const NICE: i32 = 19;

#[derive(Debug, Clone)]
pub(crate) struct Trash {
    dir: PathBuf,
    /// Whether the thread runs, and the number of the next thing thrown away.
    state: Arc<Mutex<(bool, u64)>>,
}

impl Trash {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            state: Arc::new(Mutex::new((false, 0))),
        }
    }

    /// Takes `path` away from its place. It is on the same file system as the trash.
    pub(crate) fn take(&self, path: &Path, name: &str) -> Result<(), VolumeError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
            .map_err(|e| VolumeError::files("create", &self.dir, e))?;
        loop {
            let number = {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                state.1 += 1;
                state.1
            };
            let target = self.dir.join(format!("{name}.{number}"));
            // an earlier agent may have left one of this name; an empty one would be overwritten, which is as well
            match fs::rename(path, target) {
                Ok(()) => break,
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                    ) => {}
                Err(e) => return Err(VolumeError::files("rename", path, e)),
            }
        }
        self.empty();
        Ok(())
    }

    /// Starts the thread, unless it runs or there is nothing to do.
    pub(crate) fn empty(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0 || names(&self.dir).is_empty() {
            return;
        }
        let trash = self.clone();
        let thread = thread::Builder::new()
            .name("volume-removal".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || trash.run());
        match thread {
            Ok(_) => state.0 = true,
            Err(error) => {
                tracing::warn!(%error, "cannot start the thread that deletes old volumes; the next removal tries again")
            }
        }
    }

    fn run(&self) {
        if let Err(error) =
            rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE)
        {
            tracing::debug!(%error, "deleting old volumes at normal priority");
        }
        // what cannot be deleted now is tried again by the next thread
        let mut hopeless = BTreeSet::new();
        loop {
            let next = {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                let next = names(&self.dir)
                    .into_iter()
                    .find(|name| !hopeless.contains(name));
                // told under the lock: whoever throws away after this starts a new thread
                state.0 = next.is_some();
                next
            };
            let Some(name) = next else { return };
            if let Err(error) = delete(&self.dir, &name) {
                tracing::warn!(path = %self.dir.join(name.to_string_lossy().as_ref()).display(), %error, "cannot delete an old volume");
                hopeless.insert(name);
            }
        }
    }
}

fn names(dir: &Path) -> Vec<CString> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| CString::new(entry.file_name().into_encoded_bytes()).ok())
        .collect()
}

/// Deletes one entry of `dir` with everything beneath it. Goes on after an error and returns the first.
pub(crate) fn delete(dir: &Path, name: &CStr) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = rustix::fs::open(dir, flags, Mode::empty())?;
    let mut work = Deletion {
        top: top.as_fd(),
        moved_up: 0,
        first_error: None,
    };
    work.entry(top.as_fd(), name, 0);
    match work.first_error {
        None => Ok(()),
        Some(error) => Err(error.into()),
    }
}

struct Deletion<'a> {
    top: BorrowedFd<'a>,
    moved_up: u32,
    first_error: Option<Errno>,
}

impl Deletion<'_> {
    fn entry(&mut self, parent: BorrowedFd<'_>, name: &CStr, depth: usize) {
        let done = match unlinkat(parent, name, AtFlags::empty()) {
            Err(Errno::ISDIR) if depth < MAX_DEPTH => self.directory(parent, name, depth),
            Err(Errno::ISDIR) => self.move_up(parent, name),
            other => other,
        };
        match done {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => {
                self.first_error.get_or_insert(error);
            }
        }
    }

    fn directory(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        depth: usize,
    ) -> Result<(), Errno> {
        let directory = open_directory(parent, name)?;
        // a directory may be read with gaps while it is emptied: again, as long as that leads somewhere
        loop {
            let mut left = 0;
            for entry in Dir::read_from(&directory)? {
                let entry = entry?;
                let name = entry.file_name();
                if matches!(name.to_bytes(), b"." | b"..") {
                    continue;
                }
                if entry.file_type() == FileType::Directory && depth + 1 >= MAX_DEPTH {
                    if let Err(error) = self.move_up(directory.as_fd(), name) {
                        self.first_error.get_or_insert(error);
                    }
                } else {
                    self.entry(directory.as_fd(), name, depth + 1);
                }
                left += 1;
            }
            if left == 0 || self.first_error.is_some() {
                break;
            }
        }
        unlinkat(parent, name, AtFlags::REMOVEDIR)
    }

    /// To the top, where the thread finds it later.
    fn move_up(&mut self, parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
        loop {
            self.moved_up += 1;
            let target = format!(
                "deep.{}.{}",
                rustix::process::getpid().as_raw_nonzero(),
                self.moved_up
            );
            match renameat(parent, name, self.top, target.as_str()) {
                Err(Errno::NOTEMPTY | Errno::EXIST) => {}
                other => return other,
            }
        }
    }
}

/// Not through a symbolic link, and not onto another file system: that is `EXDEV`.
fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    openat2(
        parent,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV,
    )
}
