//! What the writer is doing, in one page that outlives it.
//!
//! The record is written with one `pwrite` inside one page, which no signal can interrupt half way, so a reader finds the old record
//! or the new one. The page is allocated when the journal is opened: a full run directory cannot refuse a record later.

use crate::line::Stream;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const PAGE: usize = 4096;
const FIXED: usize = 56;
const MAGIC: &[u8; 4] = b"clog";
/// Of the record and of the way in which spooled bytes become lines: a change of either is a new number.
const VERSION: u32 = 1;

/// Where the batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// `done` bytes of the spool are in the log for certain; the file `inode` had `size` bytes before the lines that follow.
    Writing,
    /// The file `inode` is full and is being renamed away; nothing of what follows `done` is written.
    Rotating,
}

/// One transfer from a FIFO into a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) phase: Phase,
    pub(crate) stream: Stream,
    /// Bytes of the spool that are in the log.
    pub(crate) done: u64,
    pub(crate) inode: u64,
    pub(crate) size: u64,
    pub(crate) max_bytes: u64,
    pub(crate) max_files: u32,
    /// Wall time of the batch in nanoseconds; every line of it bears this time.
    pub(crate) at: i64,
}

pub(crate) struct Journal {
    file: File,
}

impl Journal {
    /// Takes a file and makes its page stand.
    pub(crate) fn new(file: File) -> io::Result<Self> {
        if file.metadata()?.len() < PAGE as u64 {
            file.write_all_at(&[0; PAGE], 0)?;
        }
        Ok(Self { file })
    }
    pub(crate) fn write(&self, batch: &Batch, log: &Path) -> io::Result<()> {
        let path = log.as_os_str().as_bytes();
        if path.len() > PAGE - FIXED {
            return Err(io::ErrorKind::InvalidFilename.into());
        }
        let mut page = [0; PAGE];
        page[0..4].copy_from_slice(MAGIC);
        page[4..8].copy_from_slice(&VERSION.to_le_bytes());
        page[8] = match batch.phase {
            Phase::Writing => 1,
            Phase::Rotating => 2,
        };
        page[9] = match batch.stream {
            Stream::Stdout => 1,
            Stream::Stderr => 2,
        };
        let length = u16::try_from(path.len()).map_err(io::Error::other)?;
        page[10..12].copy_from_slice(&length.to_le_bytes());
        for (at, number) in [
            (16, batch.done),
            (24, batch.inode),
            (32, batch.size),
            (40, batch.max_bytes),
        ] {
            page[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        page[12..16].copy_from_slice(&batch.max_files.to_le_bytes());
        page[48..56].copy_from_slice(&batch.at.to_le_bytes());
        page[FIXED..FIXED + path.len()].copy_from_slice(path);
        self.file.write_all_at(&page[..FIXED + path.len()], 0)
    }
    /// The last record; `None` if there is none that this version understands.
    pub(crate) fn read(&self) -> io::Result<Option<(Batch, PathBuf)>> {
        let mut page = [0; PAGE];
        self.file.read_exact_at(&mut page, 0)?;
        Ok(decode(&page))
    }
}

fn decode(page: &[u8; PAGE]) -> Option<(Batch, PathBuf)> {
    let number = |at: usize| Some(u64::from_le_bytes(page[at..at + 8].try_into().ok()?));
    if &page[0..4] != MAGIC || page[4..8] != VERSION.to_le_bytes() {
        return None;
    }
    let phase = match page[8] {
        1 => Phase::Writing,
        2 => Phase::Rotating,
        _ => return None,
    };
    let stream = match page[9] {
        1 => Stream::Stdout,
        2 => Stream::Stderr,
        _ => return None,
    };
    let length = usize::from(u16::from_le_bytes([page[10], page[11]]));
    let path = page.get(FIXED..FIXED + length).filter(|p| !p.is_empty())?;
    let batch = Batch {
        phase,
        stream,
        done: number(16)?,
        inode: number(24)?,
        size: number(32)?,
        max_bytes: number(40)?,
        max_files: u32::from_le_bytes(page[12..16].try_into().ok()?),
        at: i64::from_le_bytes(page[48..56].try_into().ok()?),
    };
    Some((batch, PathBuf::from(std::ffi::OsStr::from_bytes(path))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal() -> Journal {
        Journal::new(tempfile::tempfile().unwrap()).unwrap()
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let journal = journal();
        assert_eq!(journal.read().unwrap(), None);
        let batch = Batch {
            phase: Phase::Rotating,
            stream: Stream::Stderr,
            done: 1,
            inode: 2,
            size: 3,
            max_bytes: u64::MAX,
            max_files: 7,
            at: -5,
        };
        let path = Path::new("/var/log/pods/a_b_c/d/0.log");
        journal.write(&batch, path).unwrap();
        assert_eq!(journal.read().unwrap(), Some((batch, path.to_owned())));
        let short = Path::new("/x");
        journal.write(&batch, short).unwrap();
        assert_eq!(journal.read().unwrap(), Some((batch, short.to_owned())));
    }

    #[test]
    fn a_path_that_does_not_fit_is_refused() {
        let batch = Batch {
            phase: Phase::Writing,
            stream: Stream::Stdout,
            done: 0,
            inode: 0,
            size: 0,
            max_bytes: 0,
            max_files: 5,
            at: 0,
        };
        let long = PathBuf::from(format!("/{}", "x".repeat(PAGE)));
        assert!(journal().write(&batch, &long).is_err());
    }

    #[test]
    fn another_version_or_a_damaged_record_is_not_understood() {
        let whole = |change: fn(&mut [u8; PAGE])| {
            let journal = journal();
            let batch = Batch {
                phase: Phase::Writing,
                stream: Stream::Stdout,
                done: 0,
                inode: 0,
                size: 0,
                max_bytes: 0,
                max_files: 5,
                at: 0,
            };
            journal.write(&batch, Path::new("/x")).unwrap();
            let mut page = [0; PAGE];
            journal.file.read_exact_at(&mut page, 0).unwrap();
            change(&mut page);
            decode(&page)
        };
        assert!(whole(|_| ()).is_some());
        assert!(whole(|p| p[0] = 0).is_none());
        assert!(whole(|p| p[4] = 9).is_none());
        assert!(whole(|p| p[8] = 9).is_none());
        assert!(whole(|p| p[9] = 0).is_none());
        assert!(whole(|p| p[10..12].fill(0xff)).is_none());
        assert!(whole(|p| p[10..12].fill(0)).is_none());
    }
}
