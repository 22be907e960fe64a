//! Exec sessions: more processes in a container, each session in a cgroup of its own below the container's. It can be killed by itself and
//! counts as the container's. On v1 only the anchor has a cgroup for it; in the others it joins the container.

use crate::error::CgroupError;
use crate::kill::processes_below;
use crate::remove::{Removed, remove_tree};
use crate::tree::{CgroupKind, CgroupTree, Placement};
use crate::{file, names};
use pod_model::{ContainerKey, QosClass};
use std::path::{Path, PathBuf};

/// Who waits for a session. The cgroup's name says it, so that another agent knows what to do with a session that it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionOwner {
    /// It goes on when the agent dies, like the container that it runs in.
    Person,
    /// A probe or a hook: without the agent that began it, nobody wants its answer.
    Agent,
}

impl SessionOwner {
    pub(crate) const ALL: [Self; 2] = [Self::Person, Self::Agent];

    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Person => "exec",
            Self::Agent => "own",
        }
    }
}

/// One session of a container: all that its cgroup's path is made of. Numbers grow: a later agent's are larger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub container: ContainerKey,
    /// Of the pod.
    pub qos: QosClass,
    pub owner: SessionOwner,
    pub number: u64,
}

impl CgroupTree {
    /// Makes a place for a session. One call to the kernel.
    pub fn create_session(&self, session: &Session) -> Result<Placement, CgroupError> {
        let relative = names::container(&session.container, session.qos);
        let own = names::session(session);
        file::make(&self.anchor().base.join(&own))?;
        Ok(match self.kind {
            CgroupKind::V2 => self.placement(&own),
            CgroupKind::V1 => Placement::V1 {
                directories: self
                    .hierarchies
                    .iter()
                    .map(|h| {
                        let own_here = h.has("freezer");
                        h.base.join(if own_here { &own } else { &relative })
                    })
                    .collect(),
            },
        })
    }

    /// Removes the place of a session that has ended. One call to the kernel. `false`: something lives in it.
    pub fn remove_session(&self, session: &Session) -> bool {
        file::remove_empty(&self.anchor().base.join(names::session(session)))
    }

    /// Kills every process of a session and removes its place. One that is gone is fine.
    pub fn end_session(&self, session: &Session) -> Result<Removed, CgroupError> {
        self.end_at(&names::session(session))
    }

    fn end_at(&self, relative: &Path) -> Result<Removed, CgroupError> {
        let directory = self.anchor().base.join(relative);
        // nearly always everything in it has ended
        if file::remove_empty(&directory) {
            return Ok(Removed::Removed);
        }
        self.kill(relative)?;
        Ok(match remove_tree(&directory)? {
            true => Removed::Removed,
            false => Removed::NothingThere,
        })
    }

    /// Takes away what agents of before have left: sessions with a number below `before`, whole where they were the agent's own, and where
    /// they are a person's only if nothing lives in them. What cannot be removed is told and does not stop the others.
    pub fn sweep_sessions(&self, before: u64) -> Result<Vec<SweptSession>, CgroupError> {
        let mut swept = Vec::new();
        for container in self.containers()? {
            let here = self.anchor().base.join(&container);
            for directory in file::children(&here)? {
                let Some((name, owner, number)) = names::session_of(&directory) else {
                    continue;
                };
                if number >= before
                    || owner == SessionOwner::Person && !processes_below(&directory)?.is_empty()
                {
                    continue;
                }
                let relative = container.join(name);
                let result = self.end_at(&relative);
                swept.push(SweptSession { relative, result });
            }
        }
        Ok(swept)
    }

    /// All containers' cgroups, relative to the root, in the hierarchy that has those of sessions.
    fn containers(&self) -> Result<Vec<PathBuf>, CgroupError> {
        let mut found = Vec::new();
        for (uid, directories) in self.pods_in_all_hierarchies()? {
            for relative in directories {
                let here = file::children(&self.anchor().base.join(&relative))?;
                let keys = here
                    .iter()
                    .filter_map(|directory| names::container_of(&uid, directory));
                found.extend(keys.map(|key| relative.join(key.dir_name())));
            }
        }
        Ok(found)
    }
}

/// A session that an agent of before has left, and what came of it.
#[derive(Debug)]
pub struct SweptSession {
    /// Its cgroup, relative to the root.
    pub relative: PathBuf,
    pub result: Result<Removed, CgroupError>,
}
