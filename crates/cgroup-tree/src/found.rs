//! What the tree says there is: the names carry uid, container and attempt, so a restarted agent needs no record to find its containers.

use crate::error::CgroupError;
use crate::kill::processes_below;
use crate::tree::CgroupTree;
use crate::{file, names};
use pod_model::{ContainerKey, PodUid, QosClass};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundPod {
    pub uid: PodUid,
    pub qos: QosClass,
    /// By name and attempt.
    pub containers: Vec<FoundContainer>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundContainer {
    pub key: ContainerKey,
    /// With those of exec sessions. Empty: it has exited, or was never started.
    pub processes: Vec<u32>,
}

impl CgroupTree {
    /// Every pod with a cgroup in any hierarchy, by uid, and its containers. Names that are not ours are left out.
    pub fn list(&self) -> Result<Vec<FoundPod>, CgroupError> {
        let mut pods = Vec::new();
        for (uid, directories) in self.pods_in_all_hierarchies()? {
            for relative in directories {
                let Some(qos) = names::TIERS
                    .into_iter()
                    .find(|qos| names::pod(&uid, *qos) == relative)
                else {
                    continue;
                };
                let mut containers = Vec::new();
                for hierarchy in &self.hierarchies {
                    for directory in file::children(&hierarchy.base.join(&relative))? {
                        if let Some(key) = names::container_of(&uid, &directory)
                            && !containers.iter().any(|c: &FoundContainer| c.key == key)
                        {
                            let anchor = self.anchor().base.join(&relative).join(key.dir_name());
                            containers.push(FoundContainer {
                                key,
                                processes: processes_below(&anchor)?,
                            });
                        }
                    }
                }
                containers.sort_by(|a, b| a.key.cmp(&b.key));
                pods.push(FoundPod {
                    uid: uid.clone(),
                    qos,
                    containers,
                });
            }
        }
        Ok(pods)
    }
}
