//! Detecting the hierarchies and making cgroups in them.

use crate::devices::DevicePolicy;
use crate::error::CgroupError;
use crate::hierarchy::{Hierarchy, v2_hierarchy};
use crate::mounts::{self, V1_CONTROLLERS};
use crate::{device_program::DeviceFilters, file, names, v1, v2};
use node_policy::{CgroupNumbers, NodeNumbers, TierShares};
use pod_model::{ContainerKey, PodUid, QosClass};
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupKind {
    V1,
    V2,
}

/// Whether a call found its work done already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    Created,
    AlreadyThere,
}

/// Where a process is to go. On v2 it is cloned into the directory; on v1 it writes `0` to `tasks` of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    V2 { directory: PathBuf },
    V1 { directories: Vec<PathBuf> },
}

/// The tree of one node.
#[derive(Debug)]
pub struct CgroupTree {
    pub(crate) kind: CgroupKind,
    pub(crate) root: String,
    pub(crate) hierarchies: Vec<Hierarchy>,
    pub(crate) filters: DeviceFilters,
}

const MOUNT_TABLE: &str = "/proc/self/mountinfo";

impl CgroupTree {
    /// Chooses the hierarchies: v2 if its tree has cpu, memory and pids, else v1. Makes nothing. `root` is the cgroup that `kubepods` stands
    /// in, as `/` or `/node-a`, the same in every hierarchy.
    ///
    /// # Errors
    /// When neither is complete: the message says what each lacks.
    pub fn detect(root: &str) -> Result<Self, CgroupError> {
        let table =
            std::fs::read_to_string(MOUNT_TABLE).map_err(|source| CgroupError::MountTable {
                path: MOUNT_TABLE.into(),
                source,
            })?;
        Self::detect_in(root, &table)
    }

    pub(crate) fn detect_in(root: &str, mount_table: &str) -> Result<Self, CgroupError> {
        if !root.starts_with('/') || root.split('/').any(|p| p == "." || p == "..") {
            return Err(CgroupError::BadRoot {
                root: root.to_owned(),
            });
        }
        let mounts = mounts::parse(mount_table);
        let unified = mounts.iter().find(|m| m.v1_controllers.is_none());
        let v2 = match unified {
            None => Err("cgroup2 is not mounted".to_owned()),
            Some(mount) => v2_hierarchy(&mount.point, root),
        };
        let lack_v2 = match v2 {
            Ok(hierarchy) => return Ok(Self::over(CgroupKind::V2, root, vec![hierarchy])),
            Err(lack) => lack,
        };
        let mut hierarchies = Vec::new();
        let mut missing: Vec<&str> = V1_CONTROLLERS.to_vec();
        for mount in &mounts {
            let Some(has) = &mount.v1_controllers else {
                continue;
            };
            let used: Vec<_> = V1_CONTROLLERS
                .into_iter()
                .filter(|c| has.iter().any(|h| h == c))
                .collect();
            if used.is_empty() {
                continue;
            }
            missing.retain(|c| !used.contains(c));
            hierarchies.push(Hierarchy {
                mount: mount.point.clone(),
                base: mounts::below(&mount.point, root),
                controllers: used,
            });
        }
        if missing.is_empty() {
            Ok(Self::over(CgroupKind::V1, root, hierarchies))
        } else {
            Err(CgroupError::NoControllers {
                v2: lack_v2,
                v1: format!("cgroup v1 lacks {}", missing.join(", ")),
            })
        }
    }

    pub(crate) fn over(kind: CgroupKind, root: &str, hierarchies: Vec<Hierarchy>) -> Self {
        Self {
            kind,
            root: root.to_owned(),
            hierarchies,
            filters: DeviceFilters::default(),
        }
    }

    pub fn kind(&self) -> CgroupKind {
        self.kind
    }

    /// What `detect` was given.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The hierarchies in use, for a line in the log: mount point and controllers.
    pub fn hierarchies(&self) -> impl Iterator<Item = (&Path, &[&'static str])> {
        self.hierarchies
            .iter()
            .map(|h| (h.mount.as_path(), h.controllers.as_slice()))
    }

    /// The hierarchy that tells which cgroups and processes there are: on v1 the freezer's, in which an exec session has a cgroup of its own.
    pub(crate) fn anchor(&self) -> &Hierarchy {
        self.hierarchies
            .iter()
            .find(|h| h.has("freezer"))
            .unwrap_or(&self.hierarchies[0])
    }

    pub(crate) fn with(&self, controller: &str) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|h| h.has(controller))
    }

    pub(crate) fn placement(&self, relative: &Path) -> Placement {
        match self.kind {
            CgroupKind::V2 => Placement::V2 {
                directory: self.hierarchies[0].base.join(relative),
            },
            CgroupKind::V1 => Placement::V1 {
                directories: self
                    .hierarchies
                    .iter()
                    .map(|h| h.base.join(relative))
                    .collect(),
            },
        }
    }

    /// Makes the root and `kubepods` with its two tiers, hands the controllers down and sets the node's numbers. At start, once.
    pub fn create_node_level(&self, numbers: &NodeNumbers) -> Result<Made, CgroupError> {
        for hierarchy in &self.hierarchies {
            self.make_root(hierarchy)?;
        }
        self.hand_down("")?;
        let made = self.make(Path::new(names::KUBEPODS), &numbers.cgroup_numbers())?;
        self.hand_down(names::KUBEPODS)?;
        for tier in [names::BURSTABLE, names::BESTEFFORT] {
            self.make(Path::new(tier), &CgroupNumbers::UNLIMITED)?;
            self.hand_down(tier)?;
        }
        Ok(made)
    }

    /// On v2 a cgroup has the files of a controller only when its parent has handed it down.
    fn hand_down(&self, relative: impl AsRef<Path>) -> Result<(), CgroupError> {
        if self.kind == CgroupKind::V2 {
            let hierarchy = &self.hierarchies[0];
            v2::hand_down(hierarchy, &hierarchy.base.join(relative))?;
        }
        Ok(())
    }

    /// Sets the shares of the two tiers; when the set of pods changes.
    pub fn set_tier_shares(&self, shares: TierShares) -> Result<(), CgroupError> {
        for (tier, cpu_shares) in [
            (names::BURSTABLE, shares.burstable),
            (names::BESTEFFORT, shares.besteffort),
        ] {
            if let Some(hierarchy) = self.with("cpu") {
                let directory = hierarchy.base.join(tier);
                match self.kind {
                    CgroupKind::V1 => v1::write_shares(&directory, cpu_shares)?,
                    CgroupKind::V2 => v2::write_weight(&directory, cpu_shares)?,
                }
            }
        }
        Ok(())
    }

    /// A cgroup beside `kubepods` for a process of ours (the keeper): no limits.
    pub fn create_service(&self, name: &str) -> Result<Placement, CgroupError> {
        for hierarchy in &self.hierarchies {
            self.make_root(hierarchy)?;
            file::make(&hierarchy.base.join(name))?;
        }
        Ok(self.placement(Path::new(name)))
    }

    /// Makes a pod's cgroup; one that is there gets the numbers again.
    pub fn create_pod(
        &self,
        uid: &PodUid,
        qos: QosClass,
        numbers: &CgroupNumbers,
    ) -> Result<Made, CgroupError> {
        let relative = names::pod(uid, qos);
        let made = self.make(&relative, numbers)?;
        self.hand_down(&relative)?;
        Ok(made)
    }

    /// Makes a container's cgroup in its pod's, with its limits and its device rules.
    pub fn create_container(
        &self,
        key: &ContainerKey,
        qos: QosClass,
        numbers: &CgroupNumbers,
        devices: DevicePolicy,
    ) -> Result<Placement, CgroupError> {
        let relative = names::container(key, qos);
        self.make(&relative, numbers)?;
        match self.kind {
            CgroupKind::V1 => {
                if let Some(hierarchy) = self.with("devices") {
                    v1::write_devices(&hierarchy.base.join(&relative), devices)?;
                }
            }
            CgroupKind::V2 => self
                .filters
                .attach(&self.hierarchies[0].base.join(&relative), devices)?,
        }
        Ok(self.placement(&relative))
    }

    /// The pod's cgroup relative to the root, wherever it is: the tier is not part of what callers remember.
    pub(crate) fn locate_pod(&self, uid: &PodUid) -> Result<PathBuf, CgroupError> {
        let relative = |qos| names::pod(uid, qos);
        let in_anchor = |relative: &PathBuf| self.anchor().base.join(relative).is_dir();
        let in_any = |relative: &PathBuf| {
            self.hierarchies
                .iter()
                .any(|h| h.base.join(relative).is_dir())
        };
        let mut tiers = names::TIERS.into_iter().map(relative);
        tiers
            .find(in_anchor)
            // half made, or half removed
            .or_else(|| names::TIERS.into_iter().map(relative).find(in_any))
            .ok_or_else(|| CgroupError::Gone {
                path: self
                    .anchor()
                    .base
                    .join(names::KUBEPODS)
                    .join(format!("pod{uid}")),
            })
    }

    /// The container's cgroup relative to the root.
    pub(crate) fn locate(&self, key: &ContainerKey) -> Result<PathBuf, CgroupError> {
        Ok(self.locate_pod(&key.pod)?.join(key.dir_name()))
    }

    /// Makes one cgroup in every hierarchy and writes its numbers; missing parents are made, without limits.
    fn make(&self, relative: &Path, numbers: &CgroupNumbers) -> Result<Made, CgroupError> {
        let mut made = Made::AlreadyThere;
        for hierarchy in &self.hierarchies {
            let directory = hierarchy.base.join(relative);
            let new = match file::make(&directory) {
                Err(e) if file::is_missing_parent(&e) => {
                    self.make_parents(hierarchy, &directory)?;
                    file::make(&directory)?
                }
                other => other?,
            };
            if new {
                made = Made::Created;
            }
            match self.kind {
                CgroupKind::V1 => v1::write_numbers(hierarchy, &directory, numbers)?,
                CgroupKind::V2 => v2::write_numbers(hierarchy, &directory, numbers)?,
            }
        }
        Ok(made)
    }

    fn make_parents(&self, hierarchy: &Hierarchy, directory: &Path) -> Result<(), CgroupError> {
        let missing: Vec<_> = directory
            .ancestors()
            .skip(1)
            .take_while(|p| *p != hierarchy.mount && !p.is_dir())
            .collect();
        for parent in missing.into_iter().rev() {
            file::make(parent)?;
            if self.kind == CgroupKind::V2 {
                v2::hand_down(hierarchy, parent)?;
            }
        }
        Ok(())
    }

    /// Makes `--cgroup-root`, and remembers in an attribute of each directory that it was made here, so that `remove_all` takes no
    /// cgroup of somebody else's away.
    fn make_root(&self, hierarchy: &Hierarchy) -> Result<(), CgroupError> {
        let missing: Vec<_> = hierarchy
            .base
            .ancestors()
            .take_while(|p| *p != hierarchy.mount && !p.is_dir())
            .collect();
        for directory in missing.into_iter().rev() {
            if file::make(directory)? {
                mark_made(directory);
            }
        }
        Ok(())
    }
}

const MADE_HERE: &str = "trusted.coracle";

/// Best effort: without the mark the directory is left behind, which harms nobody.
fn mark_made(directory: &Path) {
    let _ = rustix::fs::setxattr(
        directory,
        MADE_HERE,
        b"made",
        rustix::fs::XattrFlags::empty(),
    );
}

pub(crate) fn was_made_here(directory: &Path) -> bool {
    let mut value = [0u8; 8];
    rustix::fs::getxattr(directory, MADE_HERE, &mut value[..]).is_ok_and(|n| n == 4)
}

#[cfg(test)]
mod tests;
