//! In which order actions go out, and how many run at once. Limits over all pods are here, not in semaphores of executors.
//!
//! ```text
//!  prepare, start, remove, undo, forget ──► one queue, first in first out ──► at most `kernel_slots` run
//!  hooks, stop, kill, ensure image      ──► out at once
//!  a pull that is to begin              ──► one queue, first in first out ──► at most `max_parallel_image_pulls` run
//! ```
//!
//! Looking for an image is not counted, so that a pod whose image is here does not wait behind somebody's slow registry.

use pod_model::{Action, PodUid};
use std::collections::{BTreeSet, VecDeque};

#[derive(Debug)]
pub(crate) struct Dispatcher {
    kernel_slots: usize,
    pull_slots: usize,
    express: VecDeque<Action>,
    kernel: VecDeque<Action>,
    /// Of the kernel stage: out and not answered.
    running: BTreeSet<Action>,
    pulls: VecDeque<Action>,
    pulling: BTreeSet<Action>,
    cancelled: VecDeque<Action>,
    /// Out, and nobody waits for them any more; their answers are not handed on.
    abandoned: BTreeSet<Action>,
    /// Issued again while the abandoned one is still out: a uid came back. They go out when it has been answered.
    deferred: BTreeSet<Action>,
}

impl Dispatcher {
    pub(crate) fn new(kernel_slots: usize, pull_slots: usize) -> Self {
        Self {
            kernel_slots: kernel_slots.max(1),
            pull_slots: pull_slots.max(1),
            express: VecDeque::new(),
            kernel: VecDeque::new(),
            running: BTreeSet::new(),
            pulls: VecDeque::new(),
            pulling: BTreeSet::new(),
            cancelled: VecDeque::new(),
            abandoned: BTreeSet::new(),
            deferred: BTreeSet::new(),
        }
    }

    pub(crate) fn issue(&mut self, action: Action) {
        if self.abandoned.contains(&action) {
            self.deferred.insert(action);
            return;
        }
        match action {
            Action::PostStart { .. }
            | Action::PreStop { .. }
            | Action::Stop { .. }
            | Action::Kill { .. }
            | Action::EnsureImage { .. } => self.express.push_back(action),
            Action::Prepare { .. }
            | Action::Start { .. }
            | Action::Remove { .. }
            | Action::Undo { .. }
            | Action::Forget { .. } => {
                self.kernel.push_back(action);
            }
        }
    }

    pub(crate) fn next_action(&mut self) -> Option<Action> {
        if let Some(action) = self.express.pop_front() {
            return Some(action);
        }
        if self.running.len() >= self.kernel_slots {
            return None;
        }
        let action = self.kernel.pop_front()?;
        self.running.insert(action.clone());
        Some(action)
    }

    /// The action was answered. Whether somebody still waits for that.
    pub(crate) fn answered(&mut self, action: &Action) -> bool {
        self.running.remove(action);
        self.pulling.remove(action);
        self.pulls.retain(|pull| pull != action);
        let is_abandoned = self.abandoned.remove(action);
        if let Some(again) = self.deferred.take(action) {
            self.issue(again);
        }
        !is_abandoned
    }

    /// Takes back what would build the pod up and has not gone out yet.
    pub(crate) fn withdraw(&mut self, pod: &PodUid) -> Vec<Action> {
        let builds = |action: &Action| {
            action.pod() == pod && matches!(action, Action::Prepare { .. } | Action::Start { .. })
        };
        let (withdrawn, kept): (VecDeque<_>, _) = std::mem::take(&mut self.kernel)
            .into_iter()
            .partition(builds);
        self.kernel = kept;
        withdrawn.into()
    }

    /// Nobody waits for it any more.
    pub(crate) fn cancel(&mut self, action: Action) {
        if self.deferred.remove(&action) {
            return;
        }
        let before = self.express.len();
        self.express.retain(|waiting| *waiting != action);
        if self.express.len() == before && self.abandoned.insert(action.clone()) {
            self.cancelled.push_back(action);
        }
    }
    pub(crate) fn next_cancelled(&mut self) -> Option<Action> {
        self.cancelled.pop_front()
    }

    /// It is out, and nobody waits for its answer.
    pub(crate) fn is_abandoned(&self, action: &Action) -> bool {
        self.abandoned.contains(action)
    }

    pub(crate) fn want_pull(&mut self, action: Action) {
        if !self.pulling.contains(&action) && !self.pulls.contains(&action) {
            self.pulls.push_back(action);
        }
    }
    pub(crate) fn next_pull(&mut self) -> Option<Action> {
        if self.pulling.len() >= self.pull_slots {
            return None;
        }
        let action = self.pulls.pop_front()?;
        self.pulling.insert(action.clone());
        Some(action)
    }
}
