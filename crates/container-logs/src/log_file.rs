//! The file that is written now, and its rotation.
//!
//! ```text
//!   Writing ──next line does not fit──► renamed away ──► new file, empty ──► Writing
//! ```
//!
//! Both steps of a rotation can be repeated: a name that is ours is renamed away, a name that is gone is made.

use crate::housekeep::drop_oldest;
use crate::line;
use crate::place::{self, Found};
use crate::rotated::Rotated;
use rustix::fs::{CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// A limit below this is raised to it: a file must hold at least some lines.
pub const SMALLEST_LIMIT: u64 = 1024;

/// `containerLogMaxFiles` of a kubelet that nobody configured.
const DEFAULT_FILES: u32 = 5;

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("log path {0} names no file in a directory")]
    Path(PathBuf),
    #[error("cannot open log {path}")]
    Open { path: PathBuf, source: io::Error },
    #[error("log {path} is refused: {what}")]
    Foreign { path: PathBuf, what: &'static str },
    #[error("cannot rotate log {path}")]
    Rotate { path: PathBuf, source: io::Error },
    #[error("cannot write log {path}")]
    Write { path: PathBuf, source: io::Error },
}

impl LogError {
    fn source_error(&self) -> Option<&io::Error> {
        match self {
            LogError::Open { source, .. }
            | LogError::Rotate { source, .. }
            | LogError::Write { source, .. } => Some(source),
            LogError::Path(_) | LogError::Foreign { .. } => None,
        }
    }
    /// The file or its directory is not there any more.
    pub fn is_gone(&self) -> bool {
        self.source_error()
            .is_some_and(|e| e.kind() == io::ErrorKind::NotFound)
    }
    /// There is no room; the same step succeeds when there is.
    pub fn is_full(&self) -> bool {
        self.source_error()
            .and_then(Errno::from_io_error)
            .is_some_and(|e| e == Errno::NOSPC || e == Errno::DQUOT)
    }
}

/// The open log of one attempt of a container.
pub struct LogFile {
    path: PathBuf,
    file: File,
    inode: u64,
    size: u64,
    max_bytes: u64,
    max_files: u32,
    /// The last rotation's second and how many came before it within that second.
    last_rotation: ([u8; 15], u32),
}

impl LogFile {
    /// Opens the log at `path` for appending, made with mode 0640 if it is missing. No file of it will be larger than `max_bytes`
    /// (at least [`SMALLEST_LIMIT`]). The directory must be there.
    pub fn open(path: &Path, max_bytes: u64) -> Result<Self, LogError> {
        let (file, inode, size) = open(path, OFlags::CREATE)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            inode,
            size,
            max_bytes: max_bytes.max(SMALLEST_LIMIT),
            max_files: DEFAULT_FILES,
            last_rotation: ([0; 15], 0),
        })
    }
    /// Keeps at most `max_files` files, the current one counted, instead of five: at a rotation the oldest goes, so that a container
    /// in full flow never has more than `max_files * max_bytes` on disk, even when no agent is there to tidy up.
    #[must_use]
    pub fn keeping(mut self, max_files: u32) -> Self {
        self.max_files = max_files.max(2);
        self
    }
    pub fn path(&self) -> &Path {
        &self.path
    }
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }
    pub(crate) fn max_files(&self) -> u32 {
        self.max_files
    }
    pub(crate) fn inode(&self) -> u64 {
        self.inode
    }
    pub(crate) fn size(&self) -> u64 {
        self.size
    }
    /// Asks the kernel again: a write may have been cut short.
    pub(crate) fn look_again(&mut self) -> Result<u64, LogError> {
        let stat = rustix::fs::fstat(&self.file).map_err(|e| self.write_error(e))?;
        self.size = size_of(&stat);
        Ok(self.size)
    }
    /// Appends all of `bytes`.
    pub(crate) fn append(&mut self, mut bytes: &[u8]) -> Result<(), LogError> {
        while !bytes.is_empty() {
            match rustix::io::write(&self.file, bytes) {
                Ok(0) => return Err(self.write_error(Errno::IO)),
                Ok(n) => {
                    self.size += n as u64;
                    bytes = &bytes[n..];
                }
                Err(Errno::INTR) => {}
                Err(e) => return Err(self.write_error(e)),
            }
        }
        Ok(())
    }
    /// Renames the file with inode `old` away, if it is still at our path, and opens a new, empty one there.
    pub(crate) fn rotate(&mut self, old: u64, at: i64) -> Result<(), LogError> {
        let error = |path: &Path, source: Errno| LogError::Rotate {
            path: path.to_owned(),
            source: source.into(),
        };
        let (directory, name) =
            place::split(&self.path).ok_or_else(|| LogError::Path(self.path.clone()))?;
        let directory = place::open_directory(&directory).map_err(|e| error(&self.path, e))?;
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        match rustix::fs::statat(&directory, &name, flags) {
            // Somebody's new file is ours only if it is empty: then the rotation got this far before.
            Ok(stat) if stat.st_ino != old && stat.st_size == 0 => {}
            Ok(_) => loop {
                let rotated = self.next_rotated(at);
                let compressed = rotated.with_compressed(true).name(&name);
                if rustix::fs::statat(&directory, &compressed, flags).is_ok() {
                    continue;
                }
                let rotated = rotated.name(&name);
                match rustix::fs::renameat_with(
                    &directory,
                    &name,
                    &directory,
                    &rotated,
                    RenameFlags::NOREPLACE,
                ) {
                    Ok(()) | Err(Errno::NOENT) => break,
                    Err(Errno::EXIST) => {}
                    Err(e) => return Err(error(&self.path, e)),
                }
            },
            Err(Errno::NOENT) => {}
            Err(e) => return Err(error(&self.path, e)),
        }
        drop_oldest(&directory, &name, self.max_files.saturating_sub(1) as usize)
            .map_err(|e| error(&self.path, e))?;
        let (file, inode, size) = open(&self.path, OFlags::CREATE)?;
        (self.file, self.inode, self.size) = (file, inode, size);
        Ok(())
    }
    /// The second and later ones of a second are numbered.
    fn next_rotated(&mut self, at: i64) -> Rotated {
        let stamp = line::rotation_stamp(at);
        let number = match self.last_rotation {
            (last, number) if last == stamp => number + 1,
            _ => 0,
        };
        self.last_rotation = (stamp, number);
        Rotated::new(stamp, number)
    }
    fn write_error(&self, source: Errno) -> LogError {
        LogError::Write {
            path: self.path.clone(),
            source: source.into(),
        }
    }
}

/// Inode and size of the log at `path`, which is not made.
pub(crate) fn look_at(path: &Path) -> Result<(u64, u64), LogError> {
    open(path, OFlags::empty()).map(|(_, inode, size)| (inode, size))
}

fn open(path: &Path, create: OFlags) -> Result<(File, u64, u64), LogError> {
    let error = |source: Errno| LogError::Open {
        path: path.to_owned(),
        source: source.into(),
    };
    let (directory, name) = place::split(path).ok_or_else(|| LogError::Path(path.to_owned()))?;
    let directory = if directory.as_os_str().is_empty() {
        rustix::fs::openat(
            CWD,
            ".",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
    } else {
        place::open_directory(&directory)
    }
    .map_err(error)?;
    let flags = OFlags::WRONLY | OFlags::APPEND | create;
    match place::open_log(&directory, &name, flags, Mode::from_raw_mode(0o640)).map_err(error)? {
        Found::Log(file, stat) => Ok((file, stat.st_ino, size_of(&stat))),
        Found::Foreign(what) => Err(LogError::Foreign {
            path: path.to_owned(),
            what,
        }),
    }
}

fn size_of(stat: &rustix::fs::Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}
