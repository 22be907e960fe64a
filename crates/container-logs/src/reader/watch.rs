//! Knowing when a log may have grown.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

/// An inotify watch on a log's directory: readable when one of the files in it changed. There may be too few of them on the machine
/// (`fs.inotify.max_user_instances`); then whoever follows looks again every now and then.
#[derive(Debug)]
pub struct LogWatch {
    inotify: OwnedFd,
}

impl LogWatch {
    /// Watches the directory of the log at `path`. Open it before reading: what changes after that is told.
    pub fn new(path: &Path) -> io::Result<Self> {
        let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        inotify::add_watch(
            &inotify,
            directory,
            WatchFlags::MODIFY
                | WatchFlags::CREATE
                | WatchFlags::MOVED_FROM
                | WatchFlags::DELETE_SELF
                | WatchFlags::ONLYDIR
                | WatchFlags::DONT_FOLLOW,
        )?;
        Ok(Self { inotify })
    }
    /// Forgets the changes told so far.
    pub fn drain(&self) {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        while rustix::io::read(&self.inotify, &mut buffer).is_ok_and(|(read, _)| !read.is_empty()) {
        }
    }
    /// Blocks until something changed or `at_most` is over.
    pub fn wait(&self, at_most: Duration) {
        let at_most = Timespec {
            tv_sec: i64::try_from(at_most.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(at_most.subsec_nanos()),
        };
        // An interrupted wait looks again, as an ended one does.
        let _ = poll(
            &mut [PollFd::new(&self.inotify, PollFlags::IN)],
            Some(&at_most),
        );
        self.drain();
    }
}

impl AsFd for LogWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

/// For an async runtime's readiness.
impl AsRawFd for LogWatch {
    fn as_raw_fd(&self) -> RawFd {
        self.inotify.as_raw_fd()
    }
}
