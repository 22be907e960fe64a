//! The agent's files: in the run directory at once, in the root directory a moment later, as `pod_worker::records` keeps them.

use pod_lifecycle::PodRecord;
use pod_model::{AdmittedPod, PodUid};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Files {
    pub(crate) pod: Option<AdmittedPod>,
    pub(crate) record: Option<PodRecord>,
}

/// A pod that an agent finds at its start.
pub(crate) struct Stored {
    pub(crate) pod: AdmittedPod,
    /// `None`: unreadable.
    pub(crate) record: Option<PodRecord>,
    pub(crate) from_earlier_boot: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) run: BTreeMap<PodUid, Files>,
    pub(crate) root: BTreeMap<PodUid, Files>,
    /// To be copied to root by the agent's writer; forgotten when the agent dies.
    pending: BTreeSet<PodUid>,
    pub(crate) run_full: bool,
    pub(crate) root_full: bool,
    /// Pods whose files in the run directory are not the newest, as writing failed.
    pub(crate) stale: BTreeSet<PodUid>,
    unsaved_pods: BTreeSet<PodUid>,
    /// Their record in the run directory is there and cannot be read.
    damaged: BTreeSet<PodUid>,
    /// Removed in the run directory, and not yet in the root directory.
    gone: BTreeSet<PodUid>,
}

impl Disk {
    pub(crate) fn save_pod(&mut self, pod: &AdmittedPod) {
        let uid = pod.uid();
        if self.run_full {
            self.unsaved_pods.insert(uid.clone());
            self.stale.insert(uid.clone());
            return;
        }
        self.unsaved_pods.remove(uid);
        self.gone.remove(uid);
        self.run.entry(uid.clone()).or_default().pod = Some(pod.clone());
        self.pending.insert(uid.clone());
    }
    /// Another pod of that uid is written down than this one.
    pub(crate) fn has_other_pod(&self, pod: &AdmittedPod) -> bool {
        let of = |files: &BTreeMap<PodUid, Files>| files.get(pod.uid())?.pod.clone();
        let written = of(&self.run).or_else(|| of(&self.root));
        written.is_some_and(|written| written != *pod)
    }
    pub(crate) fn save_record(&mut self, record: &PodRecord) {
        let uid = &record.uid;
        if self.run_full {
            self.stale.insert(uid.clone());
            return;
        }
        if !self.unsaved_pods.contains(uid) {
            self.stale.remove(uid);
        }
        self.damaged.remove(uid);
        self.run.entry(uid.clone()).or_default().record = Some(record.clone());
        self.pending.insert(uid.clone());
    }
    pub(crate) fn remove(&mut self, uid: &PodUid) {
        self.run.remove(uid);
        self.damaged.remove(uid);
        self.stale.remove(uid);
        self.unsaved_pods.remove(uid);
        self.gone.insert(uid.clone());
        self.pending.insert(uid.clone());
    }
    /// The record cannot be read any more; root's is not taken instead.
    pub(crate) fn damage_record(&mut self, uid: &PodUid) {
        let files = self.run.get_mut(uid);
        if files.and_then(|files| files.record.take()).is_some() {
            self.damaged.insert(uid.clone());
        }
    }
    /// The pod's text cannot be read any more: it is set aside, and root's is not taken instead.
    pub(crate) fn damage_pod(&mut self, uid: &PodUid) {
        if self.run.remove(uid).is_some() {
            self.damaged.remove(uid);
            self.gone.insert(uid.clone());
        }
    }
    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }
    /// What the writer's thread does now and then. What cannot be written is written with the next change.
    pub(crate) fn flush(&mut self) {
        for uid in std::mem::take(&mut self.pending) {
            match self.run.get(&uid) {
                None => {
                    self.root.remove(&uid);
                    self.gone.remove(&uid);
                }
                Some(files) if !self.root_full => {
                    // of a pod that came from root only the record is written
                    let Files { pod, record } = files.clone();
                    let copy = self.root.entry(uid).or_default();
                    copy.pod = pod.or(copy.pod.take());
                    copy.record = record.or(copy.record.take());
                }
                Some(_) => {}
            }
        }
    }
    /// The agent dies, and its writer with it.
    pub(crate) fn agent_died(&mut self) {
        self.pending.clear();
    }
    pub(crate) fn rebooted(&mut self) {
        self.pending.clear();
        self.gone.clear();
        self.run.clear();
        self.damaged.clear();
        self.stale.clear();
        self.unsaved_pods.clear();
    }
    /// What the next agent finds: the run directory's files, and root's for pods that it does not know.
    pub(crate) fn load(&mut self) -> Vec<Stored> {
        self.pending.extend(self.gone.iter().cloned());
        let mut stored = Vec::new();
        for uid in self.uids().collect::<BTreeSet<_>>() {
            let (run, root) = (self.run.get(uid), self.root.get(uid));
            let run_record = run.and_then(|files| files.record.clone());
            let of_root = || root.and_then(|files| files.pod.clone());
            let (pod, record, from_earlier_boot) = match run.and_then(|files| files.pod.clone()) {
                Some(pod) => (Some(pod), run_record, false),
                None if run_record.is_some() || self.damaged.contains(uid) => {
                    (of_root(), run_record, false)
                }
                None if self.gone.contains(uid) => continue,
                None => (of_root(), root.and_then(|files| files.record.clone()), true),
            };
            stored.extend(pod.map(|pod| Stored {
                pod,
                record,
                from_earlier_boot,
            }));
        }
        stored
    }
    pub(crate) fn uids(&self) -> impl Iterator<Item = &PodUid> {
        self.run.keys().chain(self.root.keys())
    }
}
