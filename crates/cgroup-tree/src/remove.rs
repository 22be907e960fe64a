//! Taking cgroups away: deepest first, in every hierarchy, also when only some of them have the directory.

use crate::error::{self, CgroupError};
use crate::kill::processes_below;
use crate::tree::{CgroupTree, was_made_here};
use crate::{file, names};
use pod_model::{ContainerKey, PodUid};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    Removed,
    NothingThere,
}

/// One pod's cgroup that nobody owns, and what came of it.
#[derive(Debug)]
pub struct Swept {
    pub uid: PodUid,
    pub result: Result<Removed, CgroupError>,
}

/// How long a cgroup may stay busy after its last process has exited: the kernel drops the dead ones in the background.
const BUSY_DEADLINE: Duration = Duration::from_secs(1);

impl CgroupTree {
    /// Removes a dead container's cgroup and those of its exec sessions.
    ///
    /// # Errors
    /// [`CgroupError::Busy`] when processes live in it: kill first.
    pub fn remove_container(&self, key: &ContainerKey) -> Result<Removed, CgroupError> {
        match self.locate(key) {
            Ok(relative) => self.remove(&relative),
            Err(e) if e.is_gone() => Ok(Removed::NothingThere),
            Err(e) => Err(e),
        }
    }

    /// Removes a pod's cgroup with everything below it.
    pub fn remove_pod(&self, uid: &PodUid) -> Result<Removed, CgroupError> {
        let mut done = Removed::NothingThere;
        // after a crash, or a change of class, a pod may stand in more than one tier
        for qos in names::TIERS {
            if self.remove(&names::pod(uid, qos))? == Removed::Removed {
                done = Removed::Removed;
            }
        }
        Ok(done)
    }

    pub(crate) fn remove(&self, relative: &Path) -> Result<Removed, CgroupError> {
        let mut done = Removed::NothingThere;
        for hierarchy in &self.hierarchies {
            if remove_tree(&hierarchy.base.join(relative))? {
                done = Removed::Removed;
            }
        }
        Ok(done)
    }

    /// Kills and removes every pod's cgroup whose pod is not in `known`. A pod that cannot be removed is reported and does not stop the
    /// others.
    pub fn sweep(&self, known: &BTreeSet<PodUid>) -> Result<Vec<Swept>, CgroupError> {
        let mut swept = Vec::new();
        for (uid, directories) in self.pods_in_all_hierarchies()? {
            if known.contains(&uid) {
                continue;
            }
            let result = directories
                .into_iter()
                .try_for_each(|relative| {
                    self.kill(&relative)?;
                    self.remove(&relative)?;
                    Ok(())
                })
                .map(|()| Removed::Removed);
            swept.push(Swept { uid, result });
        }
        Ok(swept)
    }

    /// Every pod that has a directory in any hierarchy, with its paths relative to the root.
    pub(crate) fn pods_in_all_hierarchies(
        &self,
    ) -> Result<BTreeMap<PodUid, BTreeSet<PathBuf>>, CgroupError> {
        let mut found: BTreeMap<PodUid, BTreeSet<PathBuf>> = BTreeMap::new();
        for hierarchy in &self.hierarchies {
            for qos in names::TIERS {
                let tier = names::tier(qos);
                for directory in file::children(&hierarchy.base.join(tier))? {
                    if let Some(uid) = names::pod_of(&directory) {
                        found
                            .entry(uid.clone())
                            .or_default()
                            .insert(names::pod(&uid, qos));
                    }
                }
            }
        }
        Ok(found)
    }

    /// Takes `kubepods` away when no pod is left in it, and the root if it was made here and is empty.
    ///
    /// # Errors
    /// [`CgroupError::Busy`] when a process lives in a pod; what was empty is gone all the same.
    pub fn remove_all(&self) -> Result<Removed, CgroupError> {
        let done = self.remove(Path::new(names::KUBEPODS))?;
        self.remove_root();
        Ok(done)
    }

    /// Removes a cgroup that [`CgroupTree::create_service`] made, and the root if it was made here and is empty. What has not left it after
    /// a second is killed.
    pub fn remove_service(&self, name: &str) -> Result<Removed, CgroupError> {
        let relative = Path::new(name);
        let done = match self.remove(relative) {
            Err(CgroupError::Busy { .. }) => {
                self.kill(relative)?;
                self.remove(relative)?
            }
            other => other?,
        };
        self.remove_root();
        Ok(done)
    }

    /// Best effort: a root that still holds something stays, without a complaint.
    fn remove_root(&self) {
        for hierarchy in &self.hierarchies {
            for directory in hierarchy.base.ancestors() {
                if directory == hierarchy.mount
                    || !was_made_here(directory)
                    || fs::remove_dir(directory).is_err()
                {
                    break;
                }
            }
        }
    }
}

/// `true` if there was something. A cgroup's files go with it, so only directories are removed.
pub(crate) fn remove_tree(directory: &Path) -> Result<bool, CgroupError> {
    // nearly always there is nothing below it
    match fs::remove_dir(directory) {
        Ok(()) => return Ok(true),
        Err(e) if error::is_gone(&e) => return Ok(false),
        Err(_) => {}
    }
    for cgroup in file::deepest_first(directory)? {
        remove_one(&cgroup)?;
    }
    Ok(true)
}

fn remove_one(directory: &Path) -> Result<(), CgroupError> {
    let start = Instant::now();
    let mut pause = Duration::from_micros(100);
    loop {
        match fs::remove_dir(directory) {
            Ok(()) => return Ok(()),
            Err(e) if error::is_gone(&e) => return Ok(()),
            Err(e) if error::is_busy(&e) => {
                let processes = processes_below(directory)?.len();
                if start.elapsed() > BUSY_DEADLINE {
                    return Err(if processes > 0 {
                        CgroupError::Busy {
                            path: directory.to_owned(),
                            processes,
                        }
                    } else {
                        CgroupError::Remove {
                            path: directory.to_owned(),
                            source: e,
                        }
                    });
                }
            }
            Err(source) => {
                return Err(CgroupError::Remove {
                    path: directory.to_owned(),
                    source,
                });
            }
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}
