//! The thread that follows the directory.
//!
//! ```text
//!            opened, read whole                    ┌── events: read those files ──┐
//!   Away ───────────────────────────► Following ───┤                              │
//!    ▲ ▲ tries again every second         │  ▲     └── every 20 s: read all ──────┤
//!    └─┴──── gone, moved, unreadable ─────┘  └────────────────────────────────────┘
//! ```
//!
//! A file that an event calls complete is read and believed at once. One that only changed (the slow re-read found it, or it was made
//! and not closed) may be half written: it is believed when two readings, a second apart, agree.

use crate::file::Content;
use crate::problem::Problem;
use crate::snapshot::Snapshot;
use crate::table::Table;
use crate::watch::{Directory, Sign, Signs, Watch};
use pod_model::WallTime;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch as channel;

const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Between two readings of a file that nobody said is complete.
pub(crate) const SETTLES_IN: Duration = Duration::from_secs(1);
/// How long an editor may take to write anew what it renamed to its backup's name.
const SET_ASIDE_FOR: Duration = Duration::from_millis(500);
/// Files taken in before the others hear of them.
const PUBLISH_AFTER: usize = 8;

pub(crate) struct Follower {
    directory: PathBuf,
    reread_every: Duration,
    table: Table,
    /// The directory, or why there is none to follow.
    watch: Result<Watch, Errno>,
    settling: BTreeMap<OsString, Settling>,
    sender: channel::Sender<Arc<Snapshot>>,
    /// What the last snapshot was made from.
    published: Option<(u64, Option<Problem>)>,
    stopped: OwnedFd,
}

/// A file that is not believed yet.
struct Settling {
    due: Instant,
    /// What the last reading gave; `None` waits for whatever is there when it is due.
    last: Option<Content>,
}

impl Follower {
    /// Nothing is touched before [`Follower::run`]. It ends when `stopped` becomes readable.
    pub(crate) fn new(
        directory: PathBuf,
        node_name: String,
        reread_every: Duration,
        sender: channel::Sender<Arc<Snapshot>>,
        stopped: OwnedFd,
    ) -> Self {
        Self {
            table: Table::new(directory.clone(), node_name),
            directory,
            reread_every,
            watch: Err(Errno::NOENT),
            settling: BTreeMap::new(),
            sender,
            published: None,
            stopped,
        }
    }

    pub(crate) fn run(&mut self) {
        let mut next_reread = Instant::now();
        loop {
            if Instant::now() >= next_reread {
                self.reread();
                self.publish();
                let wait = match self.watch {
                    Ok(_) => self.reread_every,
                    Err(_) => TRY_AGAIN_AFTER.min(self.reread_every),
                };
                next_reread = Instant::now() + wait;
            }
            let due = self.settling.values().map(|s| s.due).min();
            let until = due.map_or(next_reread, |due| due.min(next_reread));
            if self.wait(until) {
                return;
            }
            if self.take_events() || self.settle() {
                next_reread = Instant::now();
                continue;
            }
            self.publish();
        }
    }

    /// Waits for an event or the time; true means to stop.
    fn wait(&self, until: Instant) -> bool {
        let left = until.saturating_duration_since(Instant::now());
        // Rounded up to a millisecond: a poll that is a little late beats one that spins.
        let timeout = Timespec::try_from(left + Duration::from_millis(1)).unwrap_or(Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        });
        let mut fds = vec![PollFd::from_borrowed_fd(
            self.stopped.as_fd(),
            PollFlags::IN,
        )];
        if let Ok(watch) = &self.watch
            && let Some(fd) = watch.events_fd()
        {
            fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
        }
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) => !fds[0].revents().is_empty(),
            Err(Errno::INTR) => false,
            // Nothing else can be wrong with two open descriptors.
            Err(e) => {
                tracing::error!(error = %e, "waiting for changes of the manifests failed");
                true
            }
        }
    }

    /// Reads everything; begins to watch the directory first when it is not watched or is another one now.
    fn reread(&mut self) {
        let mut directory = self.enter();
        let is_new = directory.is_none();
        if is_new {
            self.settling.clear();
            self.watch = Watch::new(&self.directory);
            directory = self.enter();
        }
        let Some(directory) = directory else { return };
        let names = match directory.names() {
            Ok(names) => names,
            Err(errno) => {
                self.watch = Err(errno);
                return;
            }
        };
        for name in names
            .iter()
            .filter(|n| !self.settling.contains_key(*n))
            .collect::<Vec<_>>()
        {
            let content = directory.read(name);
            if is_new || !self.may_be_half_written(name, &content) {
                self.table.put(name, content, wall_now());
            } else {
                self.wait_for(name, SETTLES_IN, Some(content));
            }
        }
        let names: BTreeSet<&OsStr> = names.iter().map(OsString::as_os_str).collect();
        let settling = &self.settling;
        self.table
            .retain(|name| names.contains(name) || settling.contains_key(name));
    }

    /// Opens the directory; the reason why it cannot be followed any more is kept.
    fn enter(&mut self) -> Option<Directory> {
        let watch = self.watch.as_ref().ok()?;
        match watch.enter(&self.directory) {
            Ok(directory) => Some(directory),
            Err(errno) => {
                self.watch = Err(errno);
                None
            }
        }
    }

    fn wait_for(&mut self, name: &OsStr, time: Duration, last: Option<Content>) {
        let due = Instant::now() + time;
        self.settling
            .insert(name.to_owned(), Settling { due, last });
    }

    fn may_be_half_written(&self, name: &OsStr, content: &Content) -> bool {
        match content {
            Content::Text(text) => !self.table.is_known(name, text),
            _ => self.table.is_new(name),
        }
    }

    /// Takes in what the events say; true means to read everything anew.
    fn take_events(&mut self) -> bool {
        let Ok(watch) = &self.watch else { return false };
        let signs = watch.signs();
        if signs == Signs::default() {
            return false;
        }
        if signs.directory_gone {
            self.watch = Err(Errno::NOENT);
            return true;
        }
        // Files that vanished with their directory are not gone: the source is.
        let Some(directory) = self.enter() else {
            return true;
        };
        for (count, (name, sign)) in signs.files.into_iter().enumerate() {
            self.take_sign(&directory, &name, sign);
            if count % PUBLISH_AFTER == PUBLISH_AFTER - 1 {
                self.publish();
            }
        }
        if signs.everything {
            self.believe_everything(&directory);
        }
        false
    }

    fn take_sign(&mut self, directory: &Directory, name: &OsStr, sign: Sign) {
        if sign == Sign::SetAside {
            return self.wait_for(name, SET_ASIDE_FOR, None);
        }
        let content = directory.read(name);
        let is_whole = match sign {
            Sign::Complete => true,
            Sign::Created => directory.is_link(name),
            // What is there again is another file, and may be being written.
            Sign::Gone => content == Content::Absent,
            Sign::Touched | Sign::SetAside => false,
        };
        if is_whole {
            self.settling.remove(name);
            self.table.put(name, content, wall_now());
        } else if self.may_be_half_written(name, &content) {
            self.wait_for(name, SETTLES_IN, Some(content));
        }
    }

    /// After lost events nothing says what is half written, and links are switched whole.
    fn believe_everything(&mut self, directory: &Directory) {
        let Ok(names) = directory.names() else { return };
        for name in &names {
            self.table.put(name, directory.read(name), wall_now());
        }
        let names: BTreeSet<&OsStr> = names.iter().map(OsString::as_os_str).collect();
        self.table.retain(|name| names.contains(name));
        self.settling.clear();
    }

    /// Reads again what is due, and believes what has come to rest; true means to read everything anew.
    fn settle(&mut self) -> bool {
        let now = Instant::now();
        if self.settling.values().all(|s| s.due > now) {
            return false;
        }
        // In a directory that is gone every file is absent, and it means nothing.
        let Some(directory) = self.enter() else {
            return true;
        };
        for (name, settling) in &mut self.settling {
            if settling.due > now {
                continue;
            }
            let content = directory.read(name);
            if settling.last.as_ref().is_none_or(|last| *last == content) {
                self.table.put(name, content, wall_now());
            } else {
                settling.due = now + SETTLES_IN;
                settling.last = Some(content);
            }
        }
        self.settling.retain(|_, s| s.due > now);
        false
    }

    /// Tells the others, if there is anything new to tell.
    fn publish(&mut self) {
        let own = self.own_problem();
        let basis = Some((self.table.version(), own.clone()));
        if self.published == basis {
            return;
        }
        self.published = basis;
        let mut snapshot = self.table.snapshot(self.watch.is_ok());
        snapshot.problems.splice(0..0, own);
        self.sender.send_replace(Arc::new(snapshot));
    }

    /// What is wrong with the directory itself.
    fn own_problem(&self) -> Option<Problem> {
        let (errno, what) = match &self.watch {
            Err(errno) => (*errno, "the directory of the manifests cannot be read"),
            Ok(watch) => (
                watch.why_no_events()?,
                "changes are seen only by reading everything again, for inotify gives no events",
            ),
        };
        let reason = std::io::Error::from(errno);
        Some(Problem::of_file(
            &self.directory,
            format!("{what}: {reason}"),
        ))
    }
}

fn wall_now() -> WallTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let nanos = since.map(|d| d.as_nanos()).unwrap_or_default();
    WallTime(i64::try_from(nanos).unwrap_or(i64::MAX))
}
