//! From a FIFO into a log such that a `kill -9` between any two instructions loses nothing and doubles nothing.
//!
//! ```text
//!   Idle ──journal says: this log, this size, this time──► splice ──► Writing ⇄ Rotating ──everything written──► truncate ──► Idle
//! ```
//!
//! - `splice` moves bytes from the FIFO to the spool file; its size says what was consumed, and the two never differ.
//! - Spooled bytes become lines by a function of the journal's record and the bytes alone. So the lines that should be in the log are
//!   known at any time, and the size of the log says which of them are.
//! - The record is written anew before each part (one buffer of lines, or one rotation) and never in between.
//!
//! There is one spool for all containers of a node: whoever writes finishes before the next begins. A batch that cannot be finished
//! (disk full) stays in the spool, and [`Spool::resume`] goes on with it; so does [`Spool::recover`] in a new process.
//!
//! It must have finished what it found before the first log is opened: a [`LogFile`] remembers its size.

use crate::journal::{Batch, Journal, Phase};
use crate::line::{Header, LONGEST_TEXT, Piece, Stream};
use crate::log_file::{self, LogError, LogFile};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::SpliceFlags;
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes that one transfer takes at most. A FIFO holds 64 KiB unless somebody enlarged it.
const LARGEST_BATCH: usize = 256 << 10;
/// Bytes of the spool that are looked at together. More than a longest text with its new line.
const WINDOW: usize = 32 << 10;
/// Bytes of lines that are written together.
const LINES: usize = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("cannot {doing} in the log spool {directory}")]
    Spool {
        doing: &'static str,
        directory: PathBuf,
        source: io::Error,
    },
    #[error("cannot read the output of the container that writes {log}")]
    Fifo { log: PathBuf, source: io::Error },
    #[error("output for log {log} could not be written and is kept")]
    Log { log: PathBuf, source: LogError },
    #[error("output for log {log} waits to be written first")]
    Outstanding { log: PathBuf },
}

impl SpoolError {
    /// There is no room; what was read is kept, and the same call to [`Spool::resume`] succeeds when there is.
    pub fn is_full(&self) -> bool {
        match self {
            SpoolError::Spool { source, .. } => Errno::from_io_error(source) == Some(Errno::NOSPC),
            SpoolError::Log { source, .. } => source.is_full(),
            SpoolError::Fifo { .. } | SpoolError::Outstanding { .. } => false,
        }
    }
}

/// What came of one [`Spool::transfer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transferred {
    /// So many bytes of output are in the log.
    Bytes(usize),
    /// The FIFO is empty.
    WouldBlock,
    /// The FIFO is empty and nobody has it open for writing.
    Closed,
}

/// What [`Spool::recover`] found.
#[derive(Debug)]
pub enum Recovered {
    Nothing,
    /// The batch of an earlier process is in its log.
    Finished {
        log: PathBuf,
        bytes: u64,
    },
    /// The batch can never be written, and was dropped: its log is gone or is not ours any more.
    Dropped {
        log: Option<PathBuf>,
        bytes: u64,
        why: Option<LogError>,
    },
}

/// The one spool of a node.
pub struct Spool {
    directory: PathBuf,
    file: File,
    journal: Journal,
    window: Vec<u8>,
    lines: Vec<u8>,
    /// A batch that is in the spool and not wholly in its log, with its log.
    pending: Option<(Batch, PathBuf)>,
    /// The spool held bytes when it was opened, and the journal does not say whose.
    orphaned: u64,
}

impl Spool {
    /// Opens the spool in `directory`, which is there and belongs to this process alone. Nothing is written to a log yet: call
    /// [`Spool::recover`] next.
    pub fn open(directory: &Path) -> Result<Self, SpoolError> {
        let failed = |doing| {
            move |source: io::Error| SpoolError::Spool {
                doing,
                directory: directory.to_owned(),
                source,
            }
        };
        let file = open(&directory.join("spool")).map_err(failed("open the spool file"))?;
        let journal = open(&directory.join("journal"))
            .and_then(Journal::new)
            .map_err(failed("open the journal"))?;
        let size = file
            .metadata()
            .map_err(failed("look at the spool file"))?
            .len();
        let record = journal.read().map_err(failed("read the journal"))?;
        let pending = record.filter(|_| size > 0);
        Ok(Self {
            orphaned: if pending.is_none() { size } else { 0 },
            directory: directory.to_owned(),
            file,
            journal,
            window: vec![0; WINDOW],
            lines: Vec::with_capacity(LINES),
            pending,
        })
    }

    /// The log that the batch in the spool belongs to, if there is one.
    pub fn outstanding(&self) -> Option<&Path> {
        self.pending.as_ref().map(|(_, log)| log.as_path())
    }

    /// Finishes what an earlier process left. When it fails (disk full), call it again; nothing else can be written before.
    pub fn recover(&mut self) -> Result<Recovered, SpoolError> {
        if self.orphaned > 0 {
            let bytes = self.orphaned;
            self.truncate()?;
            self.orphaned = 0;
            return Ok(Recovered::Dropped {
                log: None,
                bytes,
                why: None,
            });
        }
        let Some((batch, path)) = self.pending.clone() else {
            return Ok(Recovered::Nothing);
        };
        let opened = match batch.phase {
            // Made by the batch's first process: a missing one was deleted.
            Phase::Writing => {
                log_file::look_at(&path).and_then(|_| LogFile::open(&path, batch.max_bytes))
            }
            Phase::Rotating => LogFile::open(&path, batch.max_bytes),
        };
        match opened {
            Ok(log) => self.resume(&mut log.keeping(batch.max_files)),
            Err(e) if e.is_full() => Err(SpoolError::Log {
                log: path,
                source: e,
            }),
            Err(why) => self.drop_batch(Some(why)),
        }
    }

    /// Goes on with the batch that could not be written to `log`. Ends with [`Recovered::Nothing`] if there is none, and drops it if
    /// `log` is not the file that the batch was begun with.
    pub fn resume(&mut self, log: &mut LogFile) -> Result<Recovered, SpoolError> {
        let Some((batch, path)) = self.pending.clone() else {
            return Ok(Recovered::Nothing);
        };
        if log.path() != path {
            return Err(SpoolError::Outstanding { log: path });
        }
        let size = log.look_again().map_err(|source| SpoolError::Log {
            log: path.clone(),
            source,
        })?;
        let mut already = 0;
        if batch.phase == Phase::Writing {
            if log.inode() != batch.inode || size < batch.size {
                return self.drop_batch(None);
            }
            already = size - batch.size;
        }
        let bytes = self
            .file
            .metadata()
            .map_err(|e| self.failed("look at the spool file", e))?
            .len();
        self.finish(batch, log, bytes, already)?;
        Ok(Recovered::Finished { log: path, bytes })
    }

    /// Drops the batch in the spool: for a log that will never be writable again.
    pub fn discard(&mut self) -> Result<Recovered, SpoolError> {
        if self.pending.is_none() {
            return Ok(Recovered::Nothing);
        }
        self.drop_batch(None)
    }

    /// Moves what is in `fifo` now, at most 256 KiB, into `log`. Never waits. `at` is wall time in nanoseconds.
    ///
    /// A FIFO opened after its last writer had left never polls as hung up: try each once after opening it. And a FIFO that nobody
    /// has open forgets what it holds: for output to outlive both the container and this process, a third keeps a reading end open.
    pub fn transfer(
        &mut self,
        fifo: BorrowedFd<'_>,
        log: &mut LogFile,
        stream: Stream,
        at: i64,
    ) -> Result<Transferred, SpoolError> {
        let batch = self.begin(log, stream, at)?;
        let flags = SpliceFlags::NONBLOCK;
        let taken = loop {
            match rustix::pipe::splice(fifo, None, &self.file, Some(&mut 0), LARGEST_BATCH, flags) {
                Ok(0) => return Ok(Transferred::Closed),
                Ok(n) => break n,
                Err(Errno::AGAIN) => return Ok(Transferred::WouldBlock),
                Err(Errno::INTR) => {}
                Err(e @ Errno::NOSPC) => return Err(self.failed("spool output", e.into())),
                Err(e) => {
                    return Err(SpoolError::Fifo {
                        log: log.path().to_owned(),
                        source: e.into(),
                    });
                }
            }
        };
        self.finish(batch, log, taken as u64, 0)?;
        Ok(Transferred::Bytes(taken))
    }

    /// Writes `bytes` that were read elsewhere: the output of a terminal, which cannot be spliced. What was read and not yet given to
    /// this function dies with the process. After a failure either the batch is [`Self::outstanding`], or nothing of `bytes` was
    /// taken, if they were at most 256 KiB: then the same call may be made again.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        log: &mut LogFile,
        stream: Stream,
        at: i64,
    ) -> Result<(), SpoolError> {
        for part in bytes.chunks(LARGEST_BATCH) {
            let batch = self.begin(log, stream, at)?;
            if let Err(e) = self.file.write_all_at(part, 0) {
                // The caller still has all of `part`.
                self.truncate()?;
                return Err(self.failed("spool output", e));
            }
            self.finish(batch, log, part.len() as u64, 0)?;
        }
        Ok(())
    }

    /// Says in the journal what the spool will hold. The spool is empty now.
    fn begin(&mut self, log: &LogFile, stream: Stream, at: i64) -> Result<Batch, SpoolError> {
        if self.orphaned > 0 {
            self.recover()?;
        }
        if let Some((_, log)) = &self.pending {
            return Err(SpoolError::Outstanding { log: log.clone() });
        }
        let batch = Batch {
            phase: Phase::Writing,
            stream,
            done: 0,
            inode: log.inode(),
            size: log.size(),
            max_bytes: log.max_bytes(),
            max_files: log.max_files(),
            at,
        };
        self.note(&batch, log)?;
        Ok(batch)
    }

    /// Brings the spool's `end` bytes into the log from where `batch` stands. `already` bytes of the lines that come next are there.
    fn finish(
        &mut self,
        mut batch: Batch,
        log: &mut LogFile,
        end: u64,
        already: u64,
    ) -> Result<(), SpoolError> {
        let finished = self.write_out(&mut batch, log, end, already);
        if finished.is_err() {
            self.pending = Some((batch, log.path().to_owned()));
        }
        finished
    }

    /// As [`Self::finish`]; on failure `batch` is what the journal says.
    fn write_out(
        &mut self,
        batch: &mut Batch,
        log: &mut LogFile,
        end: u64,
        mut already: u64,
    ) -> Result<(), SpoolError> {
        let header = Header::new(batch.at, batch.stream);
        let kept = |log: &LogFile, source| SpoolError::Log {
            log: log.path().to_owned(),
            source,
        };
        loop {
            if batch.phase == Phase::Rotating {
                log.rotate(batch.inode, batch.at)
                    .map_err(|e| kept(log, e))?;
                let next = Batch {
                    phase: Phase::Writing,
                    inode: log.inode(),
                    size: 0,
                    ..*batch
                };
                self.note(&next, log)?;
                *batch = next;
            }
            if batch.done >= end {
                break;
            }
            let length = usize::try_from(end - batch.done).map_or(WINDOW, |n| n.min(WINDOW));
            self.file
                .read_exact_at(&mut self.window[..length], batch.done)
                .map_err(|e| self.failed("read output", e))?;
            let is_last = batch.done + length as u64 == end;
            let window = &self.window[..length];
            let part = format_part(&header, window, is_last, batch, &mut self.lines);
            let skip = already.min(self.lines.len() as u64);
            already -= skip;
            let skip = usize::try_from(skip).unwrap_or(usize::MAX);
            log.append(&self.lines[skip..]).map_err(|e| kept(log, e))?;
            let next = Batch {
                phase: part.next,
                done: batch.done + part.taken as u64,
                size: batch.size + self.lines.len() as u64,
                ..*batch
            };
            if next.done < end {
                self.note(&next, log)?;
            }
            *batch = next;
        }
        self.truncate()?;
        self.pending = None;
        Ok(())
    }

    fn drop_batch(&mut self, why: Option<LogError>) -> Result<Recovered, SpoolError> {
        let bytes = self
            .file
            .metadata()
            .map_err(|e| self.failed("look at the spool file", e))?
            .len();
        self.truncate()?;
        let log = self.pending.take().map(|(_, log)| log);
        Ok(Recovered::Dropped { log, bytes, why })
    }

    fn truncate(&self) -> Result<(), SpoolError> {
        self.file
            .set_len(0)
            .map_err(|e| self.failed("empty the spool file", e))
    }

    fn note(&self, batch: &Batch, log: &LogFile) -> Result<(), SpoolError> {
        self.journal
            .write(batch, log.path())
            .map_err(|e| self.failed("write the journal", e))
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> SpoolError {
        SpoolError::Spool {
            doing,
            directory: self.directory.clone(),
            source,
        }
    }
}

struct Part {
    /// Bytes of the window that became lines.
    taken: usize,
    next: Phase,
}

/// Formats the beginning of `window` into `lines`, as much as fits the buffer and the file: a function of its arguments alone.
fn format_part(
    header: &Header,
    window: &[u8],
    is_last: bool,
    batch: &Batch,
    lines: &mut Vec<u8>,
) -> Part {
    lines.clear();
    // A longest line fits an empty file.
    let room_for_text = usize::try_from(batch.max_bytes).unwrap_or(usize::MAX) - 64;
    let longest = LONGEST_TEXT.min(room_for_text);
    let mut taken = 0;
    while taken < window.len() {
        let rest = &window[taken..];
        let piece = Piece::first_of(rest, longest);
        let cut_by_window = !is_last && !piece.is_whole() && piece.taken == rest.len();
        if (cut_by_window && taken > 0) || lines.len() + piece.formatted() > LINES {
            break;
        }
        let size = batch.size + lines.len() as u64;
        if size > 0 && size + piece.formatted() as u64 > batch.max_bytes {
            return Part {
                taken,
                next: Phase::Rotating,
            };
        }
        header.write(lines, rest, &piece);
        taken += piece.taken;
    }
    Part {
        taken,
        next: Phase::Writing,
    }
}

fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o600))?.into())
}

#[cfg(test)]
mod tests;
