//! The machine under the agent: processes, parts of sandboxes, logs, images. It does what it is told, and knows no rules.

use crate::history::Program;
use pod_model::{
    ContainerKey, ExitRecord, Now, Observed, ObservedContainer, ObservedState, PodUid, SandboxPart,
    Seq,
};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) started: Now,
    pub(crate) program: Program,
    pub(crate) image_id: String,
    /// Its program was executed; if not, an agent died in between.
    pub(crate) executed: bool,
    /// When it ends, as things stand: the number of the event that says so, and its time.
    pub(crate) ends: Option<(u64, u64)>,
    pub(crate) exit: Option<ExitRecord>,
    /// The agent that lives now has heard of the exit.
    pub(crate) noted: bool,
}

impl Process {
    pub(crate) fn lives(&self) -> bool {
        self.executed && self.exit.is_none()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Kernel {
    pub(crate) processes: BTreeMap<ContainerKey, Process>,
    /// Whether the part is whole.
    pub(crate) parts: BTreeMap<(PodUid, SandboxPart), bool>,
    pub(crate) logs: BTreeSet<PodUid>,
    pub(crate) images: BTreeSet<String>,
    next_pid: u32,
}

impl Kernel {
    pub(crate) fn living(&self) -> impl Iterator<Item = (&ContainerKey, &Process)> {
        self.processes.iter().filter(|(_, p)| p.lives())
    }
    pub(crate) fn new_pid(&mut self) -> u32 {
        self.next_pid += 1;
        1000 + self.next_pid
    }
    pub(crate) fn observe(&self, as_of: Seq) -> Observed {
        let state = |p: &Process| match &p.exit {
            Some(exit) if p.noted => ObservedState::Exited(exit.clone()),
            _ if !p.executed => ObservedState::Created,
            _ => ObservedState::Running {
                pid: p.pid,
                started_at: p.started.wall,
            },
        };
        Observed {
            as_of,
            containers: self
                .processes
                .iter()
                .map(|(key, p)| {
                    (
                        key.clone(),
                        ObservedContainer {
                            state: state(p),
                            last_words: None,
                        },
                    )
                })
                .collect(),
        }
    }
    /// Pods of which something is there.
    pub(crate) fn uids(&self) -> impl Iterator<Item = &PodUid> {
        let parts = self.parts.keys().map(|(uid, _)| uid);
        parts.chain(self.processes.keys().map(|key| &key.pod))
    }
    /// The machine was switched off: files stay.
    pub(crate) fn rebooted(&mut self) {
        self.processes.clear();
        self.parts
            .retain(|(_, part), _| *part == SandboxPart::Volumes);
    }
    pub(crate) fn has_image(&self, id: &str) -> bool {
        self.images.iter().any(|image| image_id(image) == id)
    }
}

/// The digest that an image of this name has here.
pub(crate) fn image_id(image: &str) -> String {
    let sum = image.bytes().fold(7u64, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u64::from(byte))
    });
    format!("sha256:{sum:016x}")
}
