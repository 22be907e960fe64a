//! The files as last read, and the snapshot that follows from them. Values in, values out: no clock, no kernel.

use crate::file::Content;
use crate::identity::{self, Origin};
use crate::manifest::read_manifest;
use crate::problem::Problem;
use crate::snapshot::{Snapshot, SourcedPod};
use pod_model::{AdmittedPod, PodName, PodUid, WallTime};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Every manifest of the directory by name: one hash, its pods and its problems; no text is kept.
pub(crate) struct Table {
    directory: PathBuf,
    node_name: String,
    files: BTreeMap<OsString, Manifest>,
    version: u64,
}

struct Manifest {
    file: Arc<Path>,
    /// Of the text last read, good or bad; `None` when it could not be read.
    digest: Option<[u8; 32]>,
    /// The pods of the last good text; `None` before there was one.
    good: Option<Vec<AdmittedPod>>,
    /// What is wrong with the file as it is now.
    problems: Vec<Problem>,
}

impl Table {
    pub(crate) fn new(directory: PathBuf, node_name: String) -> Self {
        Self {
            directory,
            node_name,
            files: BTreeMap::new(),
            version: 0,
        }
    }

    /// Higher whenever a snapshot would tell something else than before.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Whether a text is the one that was last read from this file.
    pub(crate) fn is_known(&self, name: &OsStr, text: &str) -> bool {
        let manifest = self.files.get(name);
        manifest.is_some_and(|m| m.digest == Some(digest(text)))
    }

    /// Whether the file was never read.
    pub(crate) fn is_new(&self, name: &OsStr) -> bool {
        !self.files.contains_key(name)
    }

    /// Takes in what a file holds now.
    pub(crate) fn put(&mut self, name: &OsStr, content: Content, seen: WallTime) {
        match content {
            Content::Absent | Content::Directory => {
                let removed = self.files.remove(name).is_some();
                self.version += u64::from(removed);
            }
            Content::Unusable(reason) => self.put_unusable(name, &reason),
            Content::Text(text) => self.put_text(name, &text, seen),
        }
    }

    /// Forgets the files that are in the directory no more.
    pub(crate) fn retain(&mut self, still_there: impl Fn(&OsStr) -> bool) {
        let before = self.files.len();
        self.files.retain(|name, _| still_there(name));
        self.version += u64::from(self.files.len() != before);
    }

    fn manifest(&mut self, name: &OsStr) -> (&mut Manifest, bool) {
        match self.files.entry(name.to_owned()) {
            Entry::Occupied(entry) => (entry.into_mut(), false),
            Entry::Vacant(entry) => {
                let manifest = Manifest {
                    file: self.directory.join(name).into(),
                    digest: None,
                    good: None,
                    problems: Vec::new(),
                };
                (entry.insert(manifest), true)
            }
        }
    }

    fn put_unusable(&mut self, name: &OsStr, reason: &str) {
        let (manifest, is_new) = self.manifest(name);
        let problems = vec![Problem::of_file(&manifest.file, reason)];
        manifest.digest = None;
        if manifest.problems == problems && !is_new {
            return;
        }
        manifest.problems = problems;
        self.version += 1;
    }

    fn put_text(&mut self, name: &OsStr, text: &str, seen: WallTime) {
        let node_name = self.node_name.clone();
        let (manifest, _) = self.manifest(name);
        let digest = digest(text);
        if manifest.digest == Some(digest) {
            return;
        }
        manifest.digest = Some(digest);
        let origin = Origin {
            node_name: &node_name,
            file: &manifest.file,
            seen,
        };
        match read_manifest(text, &origin) {
            Ok(pods) => {
                manifest.problems.clear();
                let before = manifest.good.take().unwrap_or_default();
                manifest.good = Some(pods.into_iter().map(|p| same_or(p, &before)).collect());
            }
            Err(problems) => manifest.problems = problems,
        }
        self.version += 1;
    }

    /// What the files say together.
    pub(crate) fn snapshot(&self, ready: bool) -> Snapshot {
        let mut snapshot = Snapshot {
            ready,
            ..Snapshot::default()
        };
        let mut uids = BTreeMap::new();
        for manifest in self.files.values() {
            snapshot.problems.extend_from_slice(&manifest.problems);
            let Some(pods) = &manifest.good else {
                snapshot.undecided.insert(manifest.file.to_path_buf());
                continue;
            };
            for pod in pods {
                let sourced = SourcedPod {
                    pod: pod.clone(),
                    file: Arc::clone(&manifest.file),
                };
                if let Err(taken) = put(sourced, &mut snapshot.pods, &mut uids) {
                    let problem = Problem::of_file(&manifest.file, taken);
                    snapshot.problems.push(problem);
                }
            }
        }
        snapshot
    }
}

/// Adds a pod, unless an earlier one has its name or its uid: then the text says which.
fn put(
    sourced: SourcedPod,
    pods: &mut BTreeMap<PodName, SourcedPod>,
    uids: &mut BTreeMap<PodUid, PodName>,
) -> Result<(), String> {
    const WHO: &str = "already, and the first in sort order wins";
    let (name, uid) = (sourced.pod.name().clone(), sourced.pod.uid().clone());
    if let Some(first) = pods.get(&name) {
        return Err(format!("pod {name} is in {} {WHO}", first.file.display()));
    }
    if let Some((first, sourced)) = uids.get(&uid).and_then(|name| pods.get_key_value(name)) {
        let file = sourced.file.display();
        return Err(format!(
            "pod {name}: its uid {uid} is that of pod {first} in {file} {WHO}"
        ));
    }
    uids.insert(uid, name.clone());
    pods.insert(name, sourced);
    Ok(())
}

/// The pod as it was, when it is the same: so that it keeps the time when it was first seen.
fn same_or(pod: AdmittedPod, before: &[AdmittedPod]) -> AdmittedPod {
    before
        .iter()
        .find(|known| identity::is_of_same_manifest(known, &pod))
        .cloned()
        .unwrap_or(pod)
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}
