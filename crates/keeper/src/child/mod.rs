//! Between clone and exec: the child walks a description from top to bottom and becomes the program.
//!
//! It runs as a copy of the single-threaded keeper, so ordinary Rust is allowed. It chooses nothing and cleans nothing up: what it makes
//! is in its own mount namespace and goes with it. It tells the keeper how it went over a socket that exec closes ([`report`]).
//!
//! | module | step |
//! |---|---|
//! | [`cgroup`] | join, own cgroup namespace |
//! | [`resolve`] | a path inside the new root, as a descriptor |
//! | [`rootfs`] | the overlay, and making it the root |
//! | [`mounts`] | one mount after the other |
//! | [`devices`] | nodes, links and the console in `/dev` |
//! | [`masks`] | hidden and read-only paths |
//! | [`stdio`] | FIFOs, terminals, `/dev/null` |
//! | [`privileges`] | user, capabilities, working directory, seccomp |
//! | [`command`] | looking the program up, and exec |

mod cgroup;
mod command;
mod container;
mod devices;
mod masks;
mod mounts;
mod privileges;
pub(crate) mod report;
mod resolve;
mod rootfs;
mod session;
mod stdio;

pub(crate) use cgroup::birth_place;
pub(crate) use container::{ContainerSetup, run as run_container};
pub(crate) use session::{SessionSetup, run as run_session};

use crate::protocol::{Failure, FailureKind, Stage};
use launch_plan::description::FdIndex;
use linux_sys::clock::boottime_nanos;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What every child uses of the keeper's.
pub(crate) struct Ground {
    /// A mount of procfs that nobody else has, for the host's PID namespace: the only one that is ever written to.
    pub(crate) procfs: OwnedFd,
    /// The mount namespace that the agent's descriptors come from.
    pub(crate) host_mounts: OwnedFd,
    /// The limit of open files that the keeper was started with; its own is higher.
    pub(crate) open_files: rustix::process::Rlimit,
    /// What the keeper ignores, and a program is not to.
    pub(crate) ignored_signals: Vec<i32>,
}

pub(crate) type Step<T> = Result<T, Failure>;

/// An error of a system call, in the words of C and Go: `no such file or directory`.
pub(crate) fn words(e: &io::Error) -> String {
    let Some(errno) = e.raw_os_error() else {
        return e.to_string();
    };
    let text = nix::errno::Errno::from_raw(errno).desc();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        // "I/O error" stays, "No such file" does not
        let first = if letters.clone().next().is_some_and(char::is_lowercase) {
            first.to_ascii_lowercase()
        } else {
            first
        };
        std::iter::once(first).chain(letters).collect()
    })
}

/// Turns the error of a system call into the failure of a step.
pub(crate) fn failed<E: Into<io::Error>>(
    stage: Stage,
    doing: impl FnOnce() -> String,
) -> impl FnOnce(E) -> Failure {
    move |e| {
        let e = e.into();
        let kind = match stage {
            Stage::WorkingDirectory | Stage::Exec => FailureKind::Start,
            _ => FailureKind::Create,
        };
        Failure {
            stage,
            kind,
            errno: e.raw_os_error(),
            message: format!("{}: {}", doing(), words(&e)),
        }
    }
}

/// A failure that no system call reported.
pub(crate) fn refused(stage: Stage, kind: FailureKind, message: impl Into<String>) -> Failure {
    Failure {
        stage,
        kind,
        errno: None,
        message: message.into(),
    }
}

/// The child's first act. It ends with the keeper as long as it is not the program; and it lets go of what says "a keeper lives": the socket
/// that agents connect to, the lock, and the keeper's end of its own report: a keeper that was dead before this began kills nobody, so
/// that end has to be closed for the child to learn of it.
pub(crate) fn leave_the_keeper(
    listener: &mut OwnedFd,
    lock: &mut OwnedFd,
    keepers_end: &mut OwnedFd,
    instead: BorrowedFd<'_>,
) {
    // what fails here leaves the child as it was: a later step or the agent notices
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    for held in [listener, lock, keepers_end] {
        let _ = rustix::io::dup3(instead, held, rustix::io::DupFlags::CLOEXEC);
    }
}

/// The descriptor that a description names.
fn descriptor(fds: &[OwnedFd], index: FdIndex) -> Step<BorrowedFd<'_>> {
    usize::try_from(index.0)
        .ok()
        .and_then(|at| fds.get(at))
        .map(AsFd::as_fd)
        .ok_or_else(|| {
            refused(
                Stage::Prepare,
                FailureKind::Config,
                format!("descriptor {} did not come", index.0),
            )
        })
}

/// Steps done, and how long each took.
pub(crate) struct Timeline {
    last: u64,
    spans: Vec<(&'static str, u64)>,
}

impl Timeline {
    /// `since` is when the keeper called clone, on the same clock.
    fn start(since: u64) -> Self {
        let mut this = Self {
            last: since,
            spans: Vec::with_capacity(8),
        };
        this.done("clone");
        this
    }
    fn done(&mut self, step: &'static str) {
        let now = boottime_nanos();
        self.spans.push((step, now.saturating_sub(self.last)));
        self.last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_worded_as_runc_words_them() {
        let of = |errno| words(&io::Error::from_raw_os_error(errno));
        assert_eq!(of(2), "no such file or directory");
        assert_eq!(of(8), "exec format error");
        assert_eq!(of(5), "I/O error");
    }
}
