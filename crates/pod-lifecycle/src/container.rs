//! What is remembered of one container.

use crate::{CrashBackOff, Ending, PullBackOff, Retry};
use pod_model::{Attempt, ContainerName, ImageFact, MonoTime, ProcessFacts, WallTime};
use serde::{Deserialize, Serialize};

/// How many of the latest endings of a container are kept: `state` and `lastState` of its status need one each.
const ENDINGS: usize = 2;

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
    /// When it was started, or adopted.
    #[serde(default)]
    pub since: MonoTime,
    /// `postStart` is over, or there is none. Before that a kubelet does not say that it runs.
    #[serde(default = "yes")]
    pub hooked: bool,
    /// The startup probe has passed.
    #[serde(default)]
    pub started: bool,
    /// What the readiness probe said last.
    #[serde(default)]
    pub ready: bool,
}

/// An older record's containers had no hooks.
fn yes() -> bool {
    true
}

/// How far the stopping of one container is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopProgress {
    /// When its grace is over.
    pub deadline: MonoTime,
    /// The stop signal leaves it this time in any case, however late it came.
    #[serde(default)]
    pub least: MonoTime,
    #[serde(default)]
    pub step: StopStep,
    /// The stop signal was delivered, or there is no time for one.
    pub told: bool,
    /// Of the stop signal before the deadline, of the kill after it.
    pub retry: Retry,
    /// The kill has been issued at least once.
    pub killed: bool,
}

/// What comes next in stopping a container. It only goes down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum StopStep {
    /// `preStop`, which is broken off at the deadline.
    Hook,
    /// A sidecar waits for all that was started after it, at most until the deadline.
    Turn,
    /// The stop signal, and the kill.
    #[default]
    Signal,
}

impl StopProgress {
    /// When it is killed.
    pub(crate) fn kill_at(&self) -> MonoTime {
        self.deadline.max(self.least)
    }
    pub(crate) fn hook_is_over(&mut self, least: MonoTime) {
        self.step = StopStep::Turn;
        self.least = least;
    }
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
    PostStartHookError,
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
            Self::PostStartHookError => "PostStartHookError",
        }
    }
}

/// The image for the next attempt. Looked for before every attempt, so that `Always` means always and a deleted image comes back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ImageProgress {
    /// Fingerprint of what all this is about: the container's image, as the pod names it.
    #[serde(default)]
    pub definition: Option<u64>,
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
    /// `None`: nobody was told how it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessFacts>,
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
    /// In this sandbox, an init container has succeeded, or a sidecar has started: what follows it may start.
    pub succeeded: bool,
    /// Fingerprint of what its newest attempt was made from; `None`: nobody knows.
    #[serde(default)]
    pub definition: Option<u64>,
    /// The attempt that a probe or a change of the spec ended so that it is started again, however it then ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<Attempt>,
    pub crash: CrashBackOff,
    /// The back-off before the next attempt is over and counted.
    pub back_off_served: bool,
    pub image: ImageProgress,
    /// After a start that was refused.
    pub refused: Retry,
    pub waiting: Option<Waiting>,
}

impl ContainerRecord {
    pub(crate) fn new(name: ContainerName) -> Self {
        Self {
            name,
            state: ContainerState::Waiting,
            next: Attempt::FIRST,
            made: None,
            endings: Vec::new(),
            succeeded: false,
            definition: None,
            again: None,
            crash: CrashBackOff::default(),
            back_off_served: false,
            image: ImageProgress::default(),
            refused: Retry::default(),
            waiting: None,
        }
    }
    /// Its last attempt was ended so that it is started again.
    pub(crate) fn was_ended_to_restart(&self) -> bool {
        let ended = self.last_ending().map(|ending| ending.attempt);
        ended.is_some() && ended == self.again
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
