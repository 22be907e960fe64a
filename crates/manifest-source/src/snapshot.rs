//! What the directory says now.

use crate::problem::Problem;
use pod_model::{AdmittedPod, PodName};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Everything that the source knows, complete each time: whoever missed nine of them loses nothing by reading the tenth.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// The directory could be read when it was last looked at. While it cannot, `pods` are those of the last time that it could, and
    /// absence from them means nothing.
    pub ready: bool,
    /// The pods to run. A file that cannot be read or does not parse goes on with its last good pods.
    pub pods: BTreeMap<PodName, SourcedPod>,
    /// Everything that is wrong now, in the order of files and lines.
    pub problems: Vec<Problem>,
    /// Files that are there, cannot be understood, and could not since this agent started: what pods they meant is not known here.
    /// Whoever has a record of pods from before keeps those of these files.
    pub undecided: BTreeSet<PathBuf>,
}

/// A pod and the file it is from.
#[derive(Debug, Clone, PartialEq)]
pub struct SourcedPod {
    pub pod: AdmittedPod,
    /// Absolute path; shared by the pods of one file.
    pub file: Arc<Path>,
}

/// What a snapshot says about a pod that ran before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// This very pod is wanted, as it is or changed.
    Wanted,
    /// The source does not know: keep it as it is.
    Undecided,
    /// It is gone, or replaced by another of its name.
    Gone,
}

impl Snapshot {
    /// Judges a pod that was found on disk or is running. Its manifest's path is in its annotations.
    pub fn verdict(&self, pod: &AdmittedPod) -> Verdict {
        let is_it = |wanted: &SourcedPod| wanted.pod.uid() == pod.uid();
        let named = self.pods.get(pod.name());
        // its name comes first because that is where it mostly is; a manifest that kept the uid may name another pod now
        if named.is_some_and(is_it) || self.pods.values().any(is_it) {
            return Verdict::Wanted;
        }
        if named.is_some() {
            return Verdict::Gone;
        }
        let undecided = crate::manifest_file(pod).is_some_and(|file| self.undecided.contains(file));
        if !self.ready || undecided {
            Verdict::Undecided
        } else {
            Verdict::Gone
        }
    }
}
