//! Everything that is remembered of a pod. It is the whole state: [`step`](crate::step()) reads nothing else of the past.
//!
//! The record is written to disk whenever it changed, before the actions that it speaks of are issued. What the kernel can tell
//! (which containers run) is asked of the kernel after a restart; what it cannot (exit codes, counts, back-off) is here.

use crate::{Admission, ContainerRecord, Remains, Retry};
use pod_model::{
    Action, AdmittedPod, ContainerName, MonoTime, Now, PodUid, SandboxPart, Seq, WallTime,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// Where the pod stands. It only goes down this list; see the crate's documentation for the drawing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Nothing is done for it yet: see [`PodRecord::admission`], or another pod of its name is still there.
    Admitted,
    /// Its sandbox is being made.
    Preparing,
    /// Its containers are started, and started again, in their order and by their policy.
    Running,
    /// Nothing is started any more. What runs is told to stop, and killed at the deadline.
    Terminating(Terminating),
    /// No process of it lives. What its containers and its sandbox left is taken away.
    CleaningUp,
    /// Nothing of it is left but this record, its status and its logs.
    Finished,
}

impl Stage {
    /// Its place in the list above.
    pub fn rank(&self) -> u8 {
        match self {
            Stage::Admitted => 0,
            Stage::Preparing => 1,
            Stage::Running => 2,
            Stage::Terminating(_) => 3,
            Stage::CleaningUp => 4,
            Stage::Finished => 5,
        }
    }
    /// Whether containers may still be started in it.
    pub fn is_before_termination(&self) -> bool {
        self.rank() < 3
    }
}

/// Why and how fast a pod ends. Entered once, never left but forwards; the deadline only ever comes nearer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terminating {
    pub why: WhyTerminating,
    /// When it began.
    pub since: Now,
    /// The shortest grace period asked for so far.
    pub grace: Duration,
    /// When what still runs is killed.
    pub deadline: MonoTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WhyTerminating {
    /// Its containers have ended, and their policy starts none again.
    Completed,
    /// Somebody deleted it.
    Deleted,
    /// The node ends it: see [`PodRecord::evicted`].
    Evicted,
    /// Nobody wants it: it is known only from the kernel, or from a record whose pod is in no source.
    Unwanted,
}

/// One part of the sandbox. `retry` tells when to try (again); whether a try is under way, `in_flight` tells.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum PartState {
    /// There is nothing of it.
    #[default]
    Absent,
    /// It is wanted; a part of it may be there already.
    Preparing {
        retry: Retry,
    },
    Ready,
    /// It is to go; some of it may still be there.
    Undoing {
        retry: Retry,
    },
}

/// The parts of the sandbox, in their order of preparing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sandbox {
    pub cgroup: PartState,
    pub network: PartState,
    pub volumes: PartState,
}

impl Sandbox {
    pub fn part(&self, part: SandboxPart) -> &PartState {
        match part {
            SandboxPart::Cgroup => &self.cgroup,
            SandboxPart::Network => &self.network,
            SandboxPart::Volumes => &self.volumes,
        }
    }
    pub(crate) fn part_mut(&mut self, part: SandboxPart) -> &mut PartState {
        match part {
            SandboxPart::Cgroup => &mut self.cgroup,
            SandboxPart::Network => &mut self.network,
            SandboxPart::Volumes => &mut self.volumes,
        }
    }
    pub fn is_ready(&self) -> bool {
        SandboxPart::ALL
            .iter()
            .all(|part| *self.part(*part) == PartState::Ready)
    }
    pub fn is_absent(&self) -> bool {
        SandboxPart::ALL
            .iter()
            .all(|part| *self.part(*part) == PartState::Absent)
    }
}

/// The phase of the status. It only goes down this list, and the last two are never left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum Phase {
    #[default]
    Pending,
    Running,
    Succeeded,
    Failed,
}

impl Phase {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// A condition of the pod, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Condition {
    pub holds: bool,
    pub since: WallTime,
}

impl Condition {
    pub(crate) fn set(&mut self, holds: bool, now: WallTime) {
        if self.holds != holds || self.since == WallTime::default() {
            *self = Self { holds, since: now };
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Conditions {
    pub ready_to_start_containers: Condition,
    pub initialized: Condition,
    pub ready: Condition,
    pub containers_ready: Condition,
    pub scheduled: Condition,
    #[serde(default)]
    pub all_containers_restarting: Condition,
    /// `DisruptionTarget`; not said unless it holds.
    #[serde(default)]
    pub disruption_target: Condition,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodRecord {
    pub uid: PodUid,
    pub stage: Stage,
    #[serde(default)]
    pub admission: Admission,
    /// It is to be forgotten once it is finished. There is no way back from this.
    pub deleted: bool,
    pub sandbox: Sandbox,
    /// Init containers in order, then the main ones.
    pub containers: Vec<ContainerRecord>,
    pub remains: Vec<Remains>,
    /// Issued and not answered yet.
    pub in_flight: BTreeSet<Action>,
    /// Of [`Stage::Finished`]: forgetting it.
    pub forgetting: Retry,
    /// It was forgotten: nothing refers to this record any more.
    pub forgotten: bool,
    /// The container host's version after the last completed action or exit: an older look says nothing about what is missing.
    pub seq: Seq,
    /// A look or an exit older than this is from before the pod: it is about a former pod of the same uid.
    pub born: Seq,
    /// The pod's, IPv4 first. They stay in the status after the network is gone.
    pub addresses: Vec<String>,
    pub first_seen: Now,
    /// `startTime` of the status: when this agent took it on.
    pub start_time: Option<WallTime>,
    pub phase: Phase,
    pub conditions: Conditions,
    /// The machine was booted anew: init containers have to run again.
    pub rebooted: bool,
    /// All its containers are being killed and removed, so that it begins again in its sandbox: see KEP-5532.
    #[serde(default)]
    pub restarting_all: bool,
    /// The node ends it and it fails for that: the message of its status. Written once. What of is said by the two below; if neither
    /// holds, it used more disk space than it may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evicted: Option<String>,
    /// It was active for longer than `activeDeadlineSeconds`.
    #[serde(default)]
    pub past_deadline: bool,
    /// It makes room for a critical pod.
    #[serde(default)]
    pub preempted: bool,
    /// It was told that the pod takes longer to end than who evicts or preempts it waits.
    #[serde(default)]
    pub overdue: bool,
    /// In this boot, since when `activeDeadlineSeconds` counts, and what of it had passed by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<(MonoTime, Duration)>,
}

impl PodRecord {
    /// A pod that was not known before.
    pub fn new(pod: &AdmittedPod, now: Now) -> Self {
        let containers = pod
            .containers()
            .map(|(_, name, _)| ContainerRecord::new(name.clone()))
            .collect();
        Self::empty(pod.uid().clone(), containers, now)
    }

    /// A pod that nobody wants and of which something is there: it is taken away.
    pub(crate) fn unwanted(uid: PodUid, now: Now) -> Self {
        let mut record = Self::empty(uid, Vec::new(), now);
        record.deleted = true;
        record.stage = Stage::Terminating(Terminating {
            why: WhyTerminating::Unwanted,
            since: now,
            grace: Duration::ZERO,
            deadline: now.mono,
        });
        for part in SandboxPart::ALL {
            *record.sandbox.part_mut(part) = PartState::Undoing {
                retry: Retry::default(),
            };
        }
        record
    }

    fn empty(uid: PodUid, containers: Vec<ContainerRecord>, now: Now) -> Self {
        Self {
            uid,
            stage: Stage::Admitted,
            admission: Admission::Undecided,
            deleted: false,
            sandbox: Sandbox::default(),
            containers,
            remains: Vec::new(),
            in_flight: BTreeSet::new(),
            forgetting: Retry::default(),
            forgotten: false,
            seq: Seq::default(),
            born: Seq::default(),
            addresses: Vec::new(),
            first_seen: now,
            start_time: None,
            phase: Phase::default(),
            conditions: Conditions::default(),
            rebooted: false,
            restarting_all: false,
            evicted: None,
            past_deadline: false,
            preempted: false,
            overdue: false,
            active: None,
        }
    }

    /// Something of the sandbox is there that this record knows nothing of: it was lost, and begun anew.
    pub(crate) fn sandbox_was_found(&mut self) {
        let is_wanted = self.stage.is_before_termination();
        for part in SandboxPart::ALL {
            let state = self.sandbox.part_mut(part);
            if *state == PartState::Absent {
                let retry = Retry::default();
                *state = if is_wanted {
                    PartState::Preparing { retry }
                } else {
                    PartState::Undoing { retry }
                };
            }
        }
    }

    /// Sees to it that every container of the pod has its place, in the pod's order, whatever an older record holds.
    pub(crate) fn fit(&mut self, pod: &AdmittedPod) {
        let mut known = std::mem::take(&mut self.containers);
        self.containers = pod
            .containers()
            .map(
                |(_, name, _)| match known.iter().position(|c| c.name == *name) {
                    Some(index) => known.swap_remove(index),
                    None => ContainerRecord::new(name.clone()),
                },
            )
            .collect();
        // a container that the pod does not have any more, if it lives, is found by the first look and killed
    }

    pub fn container(&self, name: &ContainerName) -> Option<&ContainerRecord> {
        self.containers.iter().find(|c| c.name == *name)
    }
    pub(crate) fn container_mut(&mut self, name: &ContainerName) -> Option<&mut ContainerRecord> {
        self.containers.iter_mut().find(|c| c.name == *name)
    }

    /// Whether a process of the pod may live.
    pub fn may_have_processes(&self) -> bool {
        self.containers
            .iter()
            .any(|c| c.state.live_attempt().is_some())
            || self.remains.iter().any(|r| r.alive)
            || self
                .in_flight
                .iter()
                .any(|a| matches!(a, Action::Start { .. }))
    }
}
