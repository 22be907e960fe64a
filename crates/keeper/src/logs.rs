//! From a container's streams into its log, one stream at a time, each in turn.
//!
//! ```text
//!   Flowing ──no room──► Blocked ──room again──► Flowing
//! ```
//!
//! While Blocked nothing is read: what containers write waits in their FIFOs, then they wait. Exits and launches go on. A log that cannot
//! be written for another reason is given up: its container's output is read and dropped, so that the container does not stand still for it.

use crate::say::{chain, say};
use container_logs::{LogFile, Recovered, Spool, SpoolError, Stream, Transferred};
use launch_plan::description::ContainerFiles;
use linux_sys::clock::realtime_nanos;
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Bytes of a terminal that are read at once; less than a batch of the spool.
const TERMINAL_BYTES: usize = 16 << 10;
/// Batches that a drain takes from one stream at most: somebody may write for ever.
const DRAIN_BATCHES: usize = 1024;

/// A container's log, as far as it is open.
#[derive(Default)]
pub(crate) enum Log {
    #[default]
    Closed,
    Open(LogFile),
    /// Given up.
    Lost,
}

/// One stream that is read.
pub(crate) struct StreamEnd {
    pub(crate) fd: OwnedFd,
    pub(crate) stream: Stream,
    pub(crate) is_terminal: bool,
}

/// What came of one look at a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pumped {
    Some,
    Nothing,
    /// Nobody can write any more.
    Closed,
    /// No room; nothing was lost.
    Blocked,
}

pub(crate) struct Logs {
    spool: Spool,
    blocked: bool,
    /// Read from a terminal and not yet in the spool.
    unfed: Option<Unfed>,
}

struct Unfed {
    container: u64,
    bytes: Vec<u8>,
    at: i64,
}

impl Logs {
    /// Finishes what an earlier keeper left half written, if there is room.
    pub(crate) fn open(directory: &Path) -> Result<Self, SpoolError> {
        let mut this = Self {
            spool: Spool::open(directory)?,
            blocked: false,
            unfed: None,
        };
        let recovered = this.spool.recover();
        this.heard(recovered);
        Ok(this)
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// The log that waits for room, and the container whose terminal does.
    pub(crate) fn waits_for(&self) -> (Option<&Path>, Option<u64>) {
        (
            self.spool.outstanding(),
            self.unfed.as_ref().map(|u| u.container),
        )
    }

    fn heard(&mut self, recovered: Result<Recovered, SpoolError>) {
        match recovered {
            Ok(Recovered::Nothing | Recovered::Finished { .. }) => self.blocked = false,
            Ok(Recovered::Dropped { log, bytes, why }) => {
                self.blocked = false;
                let log =
                    log.map_or_else(|| "an unknown log".to_owned(), |l| l.display().to_string());
                let why = why.map(|e| format!(": {}", chain(&e))).unwrap_or_default();
                say(&format!(
                    "{bytes} bytes of output for {log} were dropped{why}"
                ));
            }
            Err(e) if e.is_full() => self.blocked = true,
            Err(e) => {
                say(&format!("output was dropped: {}", chain(&e)));
                match self.spool.discard() {
                    Ok(_) => self.blocked = false,
                    Err(e) => {
                        say(&chain(&e));
                        self.blocked = true;
                    }
                }
            }
        }
    }

    /// Tries again to write what waits. `log` is the open log that [`Self::waits_for`] names, if there is one.
    pub(crate) fn retry(&mut self, log: Option<&mut LogFile>) {
        if !self.blocked {
            return;
        }
        let result = match (log, self.spool.outstanding()) {
            (Some(log), Some(path)) if log.path() == path => self.spool.resume(log),
            _ => self.spool.recover(),
        };
        self.heard(result);
    }

    /// Feeds what was read from a terminal before there was no room.
    pub(crate) fn retry_unfed(&mut self, files: &ContainerFiles, log: &mut Log) {
        let Some(unfed) = self.unfed.take() else {
            return;
        };
        match self.open_log(files, log) {
            Some(file) => {
                let fed = self
                    .spool
                    .feed(&unfed.bytes, file, Stream::Stdout, unfed.at);
                self.judge_feed(fed, unfed);
            }
            None if self.blocked => self.unfed = Some(unfed),
            None => {}
        }
    }

    /// The container's log, opened at its first use. `None` when there is no room for it, or it is given up.
    fn open_log<'a>(
        &mut self,
        files: &ContainerFiles,
        log: &'a mut Log,
    ) -> Option<&'a mut LogFile> {
        if matches!(log, Log::Closed) {
            match LogFile::open(&files.log, files.log_max_bytes) {
                Ok(open) => *log = Log::Open(open.keeping(files.log_max_files)),
                Err(e) if e.is_full() => self.blocked = true,
                Err(e) => {
                    say(&format!(
                        "output of {} is dropped: {}",
                        files.log.display(),
                        chain(&e)
                    ));
                    *log = Log::Lost;
                }
            }
        }
        match log {
            Log::Open(open) => Some(open),
            Log::Closed | Log::Lost => None,
        }
    }

    /// What was read from a terminal and is nowhere else: (container, bytes, time).
    pub(crate) fn unfed(&self) -> Option<(u64, Vec<u8>, i64)> {
        self.unfed
            .as_ref()
            .map(|u| (u.container, u.bytes.clone(), u.at))
    }

    /// Takes over what [`Self::unfed`] gave.
    pub(crate) fn resume_unfed(&mut self, unfed: Option<(u64, Vec<u8>, i64)>) {
        if let Some((container, bytes, at)) = unfed {
            self.unfed = Some(Unfed {
                container,
                bytes,
                at,
            });
            self.blocked = true;
        }
    }

    pub(crate) fn drop_unfed(&mut self) {
        self.unfed = None;
    }

    fn judge_feed(&mut self, fed: Result<(), SpoolError>, unfed: Unfed) -> Pumped {
        match fed {
            Ok(()) => Pumped::Some,
            Err(e) if e.is_full() => {
                if self.spool.outstanding().is_none() {
                    self.unfed = Some(unfed);
                }
                self.blocked = true;
                Pumped::Blocked
            }
            Err(e) => {
                self.heard(Err(e));
                Pumped::Some
            }
        }
    }

    /// Moves what one stream has now into its container's log.
    pub(crate) fn pump(
        &mut self,
        container: u64,
        files: &ContainerFiles,
        log: &mut Log,
        end: &StreamEnd,
    ) -> Pumped {
        if self.blocked {
            return Pumped::Blocked;
        }
        let Some(file) = self.open_log(files, log) else {
            return if self.blocked {
                Pumped::Blocked
            } else {
                drop_output(end.fd.as_fd())
            };
        };
        if end.is_terminal {
            return self.pump_terminal(container, file, end);
        }
        match self
            .spool
            .transfer(end.fd.as_fd(), file, end.stream, realtime_nanos())
        {
            Ok(Transferred::Bytes(_)) => Pumped::Some,
            Ok(Transferred::WouldBlock) => Pumped::Nothing,
            Ok(Transferred::Closed) => Pumped::Closed,
            Err(e) if e.is_full() => {
                self.blocked = true;
                Pumped::Blocked
            }
            Err(e @ SpoolError::Fifo { .. }) => {
                say(&chain(&e));
                Pumped::Closed
            }
            Err(e) => {
                self.heard(Err(e));
                *log = Log::Lost;
                Pumped::Some
            }
        }
    }

    fn pump_terminal(&mut self, container: u64, log: &mut LogFile, end: &StreamEnd) -> Pumped {
        let mut bytes = vec![0; TERMINAL_BYTES];
        match rustix::io::read(&end.fd, &mut bytes) {
            // EIO: no process has the other side open
            Ok(0) | Err(Errno::IO) => Pumped::Closed,
            Ok(n) => {
                bytes.truncate(n);
                let at = realtime_nanos();
                let fed = self.spool.feed(&bytes, log, end.stream, at);
                self.judge_feed(
                    fed,
                    Unfed {
                        container,
                        bytes,
                        at,
                    },
                )
            }
            Err(Errno::AGAIN | Errno::INTR) => Pumped::Nothing,
            Err(e) => {
                say(&format!(
                    "cannot read the terminal that writes {}: {e}",
                    log.path().display()
                ));
                Pumped::Closed
            }
        }
    }

    /// Moves everything that one stream has.
    pub(crate) fn drain(
        &mut self,
        container: u64,
        files: &ContainerFiles,
        log: &mut Log,
        end: &StreamEnd,
    ) -> Pumped {
        for _ in 0..DRAIN_BATCHES {
            match self.pump(container, files, log, end) {
                Pumped::Some => {}
                other => return other,
            }
        }
        Pumped::Some
    }
}

fn drop_output(fd: BorrowedFd<'_>) -> Pumped {
    let mut bytes = vec![0; TERMINAL_BYTES];
    match rustix::io::read(fd, &mut bytes) {
        Ok(0) | Err(Errno::IO) => Pumped::Closed,
        Ok(_) => Pumped::Some,
        Err(Errno::AGAIN | Errno::INTR) => Pumped::Nothing,
        Err(_) => Pumped::Closed,
    }
}
