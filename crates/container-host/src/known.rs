//! What the host knows of each attempt, and the version of that knowledge.

use crate::attempt::Launch;
use cgroup_tree::Session;
use keeper::protocol;
use launch_plan::FdIndex;
use pod_model::{
    ContainerKey, ExitRecord, Now, Observed, ObservedContainer, ObservedState, Seq, WallTime,
};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// A container that runs.
#[derive(Debug, Clone)]
pub struct Started {
    pub pid: u32,
    pub at: Now,
    /// When its program was executed, which is when the last span ended; `None` if it was started before.
    pub executed_at: Option<Now>,
    /// Where the keeper's time went, in order.
    pub spans: Vec<(String, Duration)>,
}

/// How an exec session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecExit {
    /// As a shell's `$?`.
    pub code: i32,
    pub signal: Option<i32>,
}

/// One attempt.
pub(crate) struct Known {
    /// `None`: made, and not known to have executed its program.
    pub(crate) process: Option<(u32, Now)>,
    pub(crate) pidfd: Option<Arc<OwnedFd>>,
    /// Ends of FIFOs and the master of a terminal: held so that nothing is lost while there is no keeper.
    pub(crate) held: Held,
    pub(crate) launch: Option<Arc<Launch>>,
    pub(crate) exit: Option<ExitRecord>,
}

#[derive(Default)]
pub(crate) struct Held {
    /// Never read from: an open end is what keeps a FIFO's content.
    pub(crate) fifos: [Option<OwnedFd>; 2],
    pub(crate) terminal: Option<OwnedFd>,
}

impl Known {
    pub(crate) fn launched(
        launched: &protocol::Launched,
        fds: Vec<OwnedFd>,
        launch: Launch,
    ) -> Self {
        let mut fds: Vec<Option<OwnedFd>> = fds.into_iter().map(Some).collect();
        let mut take = |index: FdIndex| {
            usize::try_from(index.0)
                .ok()
                .and_then(|at| fds.get_mut(at))
                .and_then(Option::take)
        };
        Self {
            process: Some((launched.process.pid, launched.process.started_at)),
            pidfd: take(launched.pidfd).map(Arc::new),
            held: Held {
                fifos: [launched.stdout, launched.stderr].map(|index| index.and_then(&mut take)),
                terminal: launched.terminal.and_then(&mut take),
            },
            launch: Some(Arc::new(launch)),
            exit: None,
        }
    }

    fn state(&self) -> ObservedState {
        match (&self.exit, &self.process) {
            (Some(exit), _) => ObservedState::Exited(exit.clone()),
            (None, Some((pid, at))) => ObservedState::Running {
                pid: *pid,
                started_at: at.wall,
            },
            (None, None) => ObservedState::Created,
        }
    }
    fn runs(&self) -> bool {
        self.exit.is_none() && self.process.is_some()
    }
}

/// A session that is not known to have been ended.
struct Exec {
    session: Session,
    tell: Option<oneshot::Sender<ExecExit>>,
}

#[derive(Default)]
struct Inner {
    seq: u64,
    attempts: BTreeMap<ContainerKey, Known>,
    execs: BTreeMap<u64, Exec>,
}

/// Locked for moments only; nothing waits inside.
#[derive(Default)]
pub(crate) struct Table(Mutex<Inner>);

impl Table {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub(crate) fn seq(&self) -> Seq {
        Seq(self.lock().seq)
    }
    pub(crate) fn look(&self) -> Observed {
        let inner = self.lock();
        let containers = inner.attempts.iter().map(|(key, known)| {
            (
                key.clone(),
                ObservedContainer {
                    state: known.state(),
                    // who knows the pod reads them
                    last_words: None,
                },
            )
        });
        Observed {
            as_of: Seq(inner.seq),
            containers: containers.collect(),
        }
    }
    pub(crate) fn running(&self) -> Vec<(ContainerKey, u32, WallTime)> {
        let inner = self.lock();
        let runs = inner.attempts.iter().filter(|(_, known)| known.runs());
        runs.filter_map(|(key, known)| known.process.map(|(pid, at)| (key.clone(), pid, at.wall)))
            .collect()
    }
    pub(crate) fn runs(&self, key: &ContainerKey) -> bool {
        self.lock().attempts.get(key).is_some_and(Known::runs)
    }
    /// It was started: it runs, or has run.
    pub(crate) fn started(&self, key: &ContainerKey) -> Option<Started> {
        let inner = self.lock();
        let (pid, at) = inner.attempts.get(key)?.process?;
        Some(Started {
            pid,
            at,
            executed_at: None,
            spans: Vec::new(),
        })
    }
    pub(crate) fn pidfd(&self, key: &ContainerKey) -> Option<Arc<OwnedFd>> {
        self.lock()
            .attempts
            .get(key)
            .filter(|known| known.runs())
            .and_then(|known| known.pidfd.clone())
    }
    /// Bytes that the attempt printed and the keeper has not taken yet.
    pub(crate) fn unread(&self, key: &ContainerKey) -> u64 {
        let inner = self.lock();
        let held = inner.attempts.get(key).map(|known| &known.held);
        let ends = held.into_iter().flat_map(|held| {
            let fifos = held.fifos.iter().flatten();
            fifos.chain(&held.terminal)
        });
        ends.map(|end| rustix::io::ioctl_fionread(end).unwrap_or(0))
            .sum()
    }
    pub(crate) fn launch(&self, key: &ContainerKey) -> Option<Arc<Launch>> {
        self.lock()
            .attempts
            .get(key)
            .and_then(|known| known.launch.clone())
    }

    pub(crate) fn launched(&self, key: &ContainerKey, known: Known) {
        let mut inner = self.lock();
        inner.seq += 1;
        // an exit may have overtaken the answer to the launch
        let exit = inner.attempts.remove(key).and_then(|early| early.exit);
        inner.attempts.insert(key.clone(), Known { exit, ..known });
    }
    pub(crate) fn found(&self, key: &ContainerKey, known: Known) {
        let mut inner = self.lock();
        inner.seq += 1;
        inner.attempts.insert(key.clone(), known);
    }
    /// Keeps the terminal of a container that is known without one.
    pub(crate) fn hold_terminal(&self, key: &ContainerKey, terminal: OwnedFd) {
        if let Some(known) = self.lock().attempts.get_mut(key) {
            known.held.terminal.get_or_insert(terminal);
        }
    }
    /// Notes an exit; `None` when it was noted before.
    pub(crate) fn exited(&self, key: &ContainerKey, exit: &ExitRecord) -> Option<Seq> {
        let mut inner = self.lock();
        let known = inner.attempts.entry(key.clone()).or_insert_with(|| Known {
            process: None,
            pidfd: None,
            held: Held::default(),
            launch: None,
            exit: None,
        });
        if known.exit.is_some() {
            return None;
        }
        known.exit = Some(exit.clone());
        inner.seq += 1;
        Some(Seq(inner.seq))
    }
    pub(crate) fn removed(&self, key: &ContainerKey) {
        let mut inner = self.lock();
        inner.seq += 1;
        inner.attempts.remove(key);
    }
    /// Calls `each` for every attempt that has not ended.
    pub(crate) fn with_living(&self, mut each: impl FnMut(&ContainerKey, &Known)) {
        for (key, known) in &self.lock().attempts {
            if known.exit.is_none() {
                each(key, known);
            }
        }
    }
    pub(crate) fn knows(&self, key: &ContainerKey) -> bool {
        self.lock().attempts.contains_key(key)
    }

    pub(crate) fn begin_exec(&self, session: Session) {
        let (number, tell) = (session.number, None);
        self.lock().execs.insert(number, Exec { session, tell });
    }
    pub(crate) fn expect_exec(&self, session: u64) -> oneshot::Receiver<ExecExit> {
        let (tell, exit) = oneshot::channel();
        if let Some(exec) = self.lock().execs.get_mut(&session) {
            exec.tell = Some(tell);
        }
        exit
    }
    pub(crate) fn exec_exited(&self, session: u64, exit: ExecExit) {
        let mut inner = self.lock();
        if let Some(tell) = inner.execs.get_mut(&session).and_then(|e| e.tell.take()) {
            // who asked may have left
            let _ = tell.send(exit);
        }
    }
    /// Takes a session out that is to be ended; `None`: that was done before.
    pub(crate) fn end_exec(&self, session: u64) -> Option<Session> {
        Some(self.lock().execs.remove(&session)?.session)
    }
    /// A keeper that is gone cannot tell any more.
    pub(crate) fn forget_all_execs(&self) {
        for exec in self.lock().execs.values_mut() {
            exec.tell = None;
        }
    }
}
