//! Everything that is remembered of a pod. It is the whole state: [`step`](crate::step()) reads nothing else of the past.
//!
//! The record is written to disk whenever it changed, before the actions that it speaks of are issued. What the kernel can tell
//! (which containers run) is asked of the kernel after a restart; what it cannot (exit codes, counts, back-off) is here.

use crate::{CrashBackOff, Ending, PullBackOff, Retry};
use pod_model::{
    Action, AdmittedPod, Attempt, ContainerName, ImageFact, MonoTime, Now, PodUid, SandboxPart,
    Seq, WallTime,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// How many of the latest endings of a container are kept: `state` and `lastState` of its status need one each.
const ENDINGS: usize = 2;

/// Where the pod stands. It only goes down this list; see the crate's documentation for the drawing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Nothing is done for it yet: another pod of its name is still there.
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

/// One container. Attempts follow one another; at most one is live.
///
/// ```text
///            Start issued            Started
///  Waiting ───────────────► Creating ────────► Up ──── Stop/Kill ───► Stopping
///   ▲ ▲ ▲   refused: same     │   │            │                        │
///   │ │ └─────────────────────┘   │ exit first │ exit                   │ exit
///   │ │         attempt           ▼            ▼                        │
///   │ └───── started again ───── Down ◄────────────────────────────────-┘
///   │        (next attempt)
///  Unsure    the agent died while Start was in flight: the first look at the kernel says Up, Down or Waiting
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerState {
    /// No container of it lives; one is to be started when its turn comes.
    Waiting,
    /// Its start is in flight.
    Creating {
        attempt: Attempt,
    },
    /// Its start was in flight when the agent died.
    Unsure {
        attempt: Attempt,
    },
    Up(Live),
    /// It has been told to stop.
    Stopping {
        live: Live,
        stop: StopProgress,
    },
    /// It ended; the first of `endings` tells how. Whether it is started again is the policy's matter.
    Down,
}

/// A container whose program was executed and whose end has not been seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    pub attempt: Attempt,
    pub pid: u32,
    pub started_at: WallTime,
}

/// How far the stopping of one container is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopProgress {
    /// When it is killed.
    pub deadline: MonoTime,
    /// The stop signal was delivered, or there is no time for one.
    pub told: bool,
    /// Of the stop signal before the deadline, of the kill after it.
    pub retry: Retry,
    /// The kill has been issued at least once.
    pub killed: bool,
}

impl ContainerState {
    /// The attempt that may have a living process.
    pub fn live_attempt(&self) -> Option<Attempt> {
        match self {
            Self::Creating { attempt } | Self::Unsure { attempt } => Some(*attempt),
            Self::Up(live) | Self::Stopping { live, .. } => Some(live.attempt),
            Self::Waiting | Self::Down => None,
        }
    }
    pub fn running(&self) -> Option<&Live> {
        match self {
            Self::Up(live) | Self::Stopping { live, .. } => Some(live),
            _ => None,
        }
    }
}

/// Why a container waits, as its status says it. Kept until a start succeeds, as in a kubelet's reason cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    pub reason: WaitReason,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WaitReason {
    CrashLoopBackOff,
    ImagePullBackOff,
    ErrImagePull,
    ErrImageNeverPull,
    InvalidImageName,
    ImageInspectError,
    RegistryUnavailable,
    CreateContainerConfigError,
    CreateContainerError,
    RunContainerError,
}

impl WaitReason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CrashLoopBackOff => "CrashLoopBackOff",
            Self::ImagePullBackOff => "ImagePullBackOff",
            Self::ErrImagePull => "ErrImagePull",
            Self::ErrImageNeverPull => "ErrImageNeverPull",
            Self::InvalidImageName => "InvalidImageName",
            Self::ImageInspectError => "ImageInspectError",
            Self::RegistryUnavailable => "RegistryUnavailable",
            Self::CreateContainerConfigError => "CreateContainerConfigError",
            Self::CreateContainerError => "CreateContainerError",
            Self::RunContainerError => "RunContainerError",
        }
    }
}

/// The image for the next attempt. Looked for before every attempt, so that `Always` means always and a deleted image comes back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ImageProgress {
    /// It is here, for the attempt that starts next.
    pub ready: Option<ImageFact>,
    /// Number of the try in flight, or of the next one.
    pub try_number: u32,
    pub issued_at: MonoTime,
    /// The event that it is being pulled has been told, for this try.
    pub pull_told: bool,
    pub back_off: PullBackOff,
    pub retry: Retry,
    /// When the error gives way to `ImagePullBackOff` in the status.
    pub back_off_shown_at: Option<MonoTime>,
}

/// The newest attempt that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    pub attempt: Attempt,
    /// `imageID` of the status; empty if a record was lost and nobody knows.
    pub image_id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRecord {
    pub name: ContainerName,
    pub state: ContainerState,
    /// The attempt that starts next.
    pub next: Attempt,
    pub made: Option<Made>,
    /// The last two endings, the newest first.
    pub endings: Vec<Ending>,
    /// An init container that has succeeded in this sandbox.
    pub succeeded: bool,
    pub crash: CrashBackOff,
    /// The back-off before the next attempt is over and counted.
    pub back_off_served: bool,
    pub image: ImageProgress,
    /// After a start that was refused.
    pub refused: Retry,
    pub waiting: Option<Waiting>,
}

impl ContainerRecord {
    fn new(name: ContainerName) -> Self {
        Self {
            name,
            state: ContainerState::Waiting,
            next: Attempt::FIRST,
            made: None,
            endings: Vec::new(),
            succeeded: false,
            crash: CrashBackOff::default(),
            back_off_served: false,
            image: ImageProgress::default(),
            refused: Retry::default(),
            waiting: None,
        }
    }
    pub fn last_ending(&self) -> Option<&Ending> {
        self.endings.first()
    }
    pub(crate) fn ended(&mut self, ending: Ending) {
        self.next = self.next.max(ending.attempt.next());
        self.back_off_served = false;
        self.image.ready = None;
        self.endings.insert(0, ending);
        self.endings.truncate(ENDINGS);
    }
}

/// What a dead attempt left behind and has to be removed. Also an attempt that should not live (`alive`): killed first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remains {
    pub container: ContainerName,
    pub attempt: Attempt,
    pub alive: bool,
    pub retry: Retry,
}

impl Remains {
    /// What was waited for before the next kill does not delay the removal.
    pub(crate) fn is_dead(&mut self) {
        if std::mem::replace(&mut self.alive, false) {
            self.retry = Retry::default();
        }
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
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodRecord {
    pub uid: PodUid,
    pub stage: Stage,
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
    /// A look older than this is from before the pod: what it shows belongs to a former pod of the same uid.
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

    /// The record as the next agent of the same boot has to take it: nobody will answer what was in flight. Each such action is
    /// issued again, which its key allows; a start is looked for first.
    #[must_use]
    pub fn restarted(mut self) -> Self {
        self.in_flight.clear();
        // the container host counts from the beginning again
        self.seq = Seq::default();
        self.born = Seq::default();
        for container in &mut self.containers {
            if let ContainerState::Creating { attempt } = container.state {
                container.state = ContainerState::Unsure { attempt };
            }
            container.image.pull_told = false;
        }
        self
    }

    /// The record as an agent has to take it after the machine was booted: no process lives, no cgroup and no namespace is there.
    /// Containers that lived have ended as `ContainerStatusUnknown`; the sandbox is made anew; init containers run again; the policy
    /// says which main containers do. Counts and back-off are kept; the back-off is counted from `now`, as the old clock is gone.
    #[must_use]
    pub fn rebooted(mut self, now: Now) -> Self {
        self = self.restarted();
        for container in &mut self.containers {
            if let Some(attempt) = container.state.live_attempt() {
                let started = container.state.running().map(|live| live.started_at);
                let was_unsure = started.is_none();
                if was_unsure
                    && container
                        .made
                        .as_ref()
                        .is_none_or(|made| made.attempt < attempt)
                {
                    // its start was never answered: the attempt counts, as its log file may be there
                    container.made = Some(Made {
                        attempt,
                        image_id: String::new(),
                    });
                }
                container.ended(Ending::lost(attempt, started, now));
                container.state = ContainerState::Down;
            }
            for ending in &mut container.endings {
                ending.finished_mono = now.mono;
            }
            container.crash.rebooted(now.mono);
            container.image.back_off.rebooted(now.mono);
            container.image.retry.rebooted();
            container.image.back_off_shown_at = None;
            container.refused.rebooted();
        }
        for remains in &mut self.remains {
            remains.alive = false;
            remains.retry.rebooted();
        }
        self.forgetting.rebooted();
        self.first_seen.mono = now.mono;
        match &mut self.stage {
            Stage::Admitted => {}
            Stage::Preparing | Stage::Running => {
                self.rebooted = true;
                self.stage = Stage::Admitted;
            }
            Stage::Terminating(terminating) => {
                terminating.since.mono = now.mono;
                terminating.deadline = now.mono;
            }
            Stage::CleaningUp | Stage::Finished => {}
        }
        let before_termination = self.stage.is_before_termination();
        for part in SandboxPart::ALL {
            let state = self.sandbox.part_mut(part);
            *state = match (&state, before_termination) {
                (PartState::Absent, _) => PartState::Absent,
                // files and leases of it may be on disk: they are found and used again, or undone
                (_, true) => PartState::Preparing {
                    retry: Retry::default(),
                },
                (_, false) => PartState::Undoing {
                    retry: Retry::default(),
                },
            };
        }
        self
    }
}
