//! What the core wants done, and what came of it.
//!
//! An [`Action`] is data. Its [`ActionKey`] makes it idempotent: an executor that is given a key twice finds the first one's work
//! and answers the same. Keys in flight are part of the core's record, so nothing is issued twice. An executor answers with one
//! [`Fact`] per action and changes nothing else.

use crate::{Attempt, ContainerKey, ContainerName, ExitRecord, Now, PodUid, Seq};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// A part of the sandbox. Preparing and undoing go part by part, so that a half-made sandbox has a name and a place to resume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SandboxPart {
    /// The pod's cgroup with its limits.
    Cgroup,
    /// The address: a network slot with its net, ipc and uts namespaces, host ports; for `hostNetwork` the ipc and uts namespaces.
    Network,
    /// The pod's directory, its volumes, and the files made for it (hosts, hostname, resolv.conf).
    Volumes,
}

impl SandboxPart {
    /// In the order of preparing; undoing goes backwards.
    pub const ALL: [SandboxPart; 3] = [
        SandboxPart::Cgroup,
        SandboxPart::Network,
        SandboxPart::Volumes,
    ];
}

/// A POSIX signal by number (`15` is SIGTERM).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Signal(pub i32);

impl Signal {
    pub const TERM: Signal = Signal(15);
    pub const KILL: Signal = Signal(9);
}

/// Something to do. Everything else that an executor needs it finds under the pod's uid.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Action {
    /// Make one part of the sandbox. Answer: [`Outcome::Prepared`].
    Prepare { pod: PodUid, part: SandboxPart },
    /// Find or pull the image of a container, by its pull policy. Answer: [`Outcome::Image`].
    EnsureImage {
        pod: PodUid,
        container: ContainerName,
        try_number: u32,
    },
    /// Make and start this attempt. Answer: [`Outcome::Started`].
    Start {
        container: ContainerKey,
        image_id: String,
    },
    /// Carry out `lifecycle.postStart` in the attempt, which was just started. Answer: [`Outcome::Done`], or a failure with
    /// [`FailureReason::FailedPostStartHook`].
    PostStart { container: ContainerKey },
    /// Carry out `lifecycle.preStop` in the attempt, which is about to be stopped. Answer: [`Outcome::Done`], or a failure with
    /// [`FailureReason::FailedPreStopHook`].
    PreStop { container: ContainerKey },
    /// Send the stop signal of the container (`lifecycle.stopSignal`, the image's, or TERM) to its first process.
    /// Answer: [`Outcome::Done`], also when it is gone already.
    Stop { container: ContainerKey },
    /// Kill every process of the container. Answer: [`Outcome::Done`], also when it is gone already. The exit comes as an observation.
    Kill { container: ContainerKey },
    /// Remove what a dead attempt left: cgroup, root filesystem, state; its log stays until the pod goes. Answer: [`Outcome::Done`].
    Remove { container: ContainerKey },
    /// Undo one part of the sandbox; nothing of the pod runs any more. Answer: [`Outcome::Done`], also when there is nothing.
    Undo { pod: PodUid, part: SandboxPart },
    /// Forget the pod: remove its record and its logs. Answer: [`Outcome::Done`].
    Forget { pod: PodUid },
}

/// What an action is about; two actions with one key are the same action.
pub type ActionKey = Action;

impl Action {
    pub fn pod(&self) -> &PodUid {
        match self {
            Action::Prepare { pod, .. }
            | Action::EnsureImage { pod, .. }
            | Action::Undo { pod, .. }
            | Action::Forget { pod } => pod,
            Action::Start { container, .. }
            | Action::PostStart { container }
            | Action::PreStop { container }
            | Action::Stop { container }
            | Action::Kill { container }
            | Action::Remove { container } => &container.pod,
        }
    }
    pub fn attempt(&self) -> Option<Attempt> {
        match self {
            Action::Start { container, .. }
            | Action::PostStart { container }
            | Action::PreStop { container }
            | Action::Stop { container }
            | Action::Kill { container }
            | Action::Remove { container } => Some(container.attempt),
            _ => None,
        }
    }
    /// The `operation_type` label of `kubelet_runtime_operations_*`.
    pub fn operation(&self) -> &'static str {
        match self {
            Action::Prepare {
                part: SandboxPart::Cgroup,
                ..
            } => "create_pod_cgroup",
            Action::Prepare {
                part: SandboxPart::Network,
                ..
            } => "run_podsandbox",
            Action::Prepare {
                part: SandboxPart::Volumes,
                ..
            } => "mount_volumes",
            Action::EnsureImage { .. } => "pull_image",
            Action::Start { .. } => "start_container",
            Action::PostStart { .. } => "post_start_hook",
            Action::PreStop { .. } => "pre_stop_hook",
            Action::Stop { .. } => "stop_container",
            Action::Kill { .. } => "kill_container",
            Action::Remove { .. } => "remove_container",
            Action::Undo { .. } => "remove_podsandbox",
            Action::Forget { .. } => "forget_pod",
        }
    }
}

/// The answer to one action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    pub key: ActionKey,
    pub outcome: Result<Outcome, Failure>,
    /// When the executor was done.
    pub at: Now,
    /// The container host's version after the action: an observation older than this says nothing about what the action did.
    pub seq: Seq,
    /// Where the time went, in order: for `explain` and the bench. Names as `pull layer sha256:ab…`, `overlay`, `exec`.
    pub spans: Vec<(String, Duration)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The part stands. `addresses` are the pod's, IPv4 first; only of [`SandboxPart::Network`].
    Prepared {
        addresses: Vec<String>,
    },
    Image(ImageFact),
    /// The program was executed. The same facts that the keeper's record holds.
    Started {
        pid: u32,
        at: Now,
        process: ProcessFacts,
    },
    Done,
}

/// What a container's first process is, as its status says it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProcessFacts {
    pub uid: u32,
    pub gid: u32,
    /// `user.linux.supplementalGroups`
    pub supplementary_gids: Vec<u32>,
    /// What asks it to stop, by the API's name: `SIGTERM`.
    pub stop_signal: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageFact {
    /// Digest of the image's config: `sha256:…`. Names the image in [`Action::Start`].
    pub id: String,
    /// What `imageID` of the status says: `name@sha256:…` of the manifest, else the id.
    pub repo_digest: String,
    /// It was here before; nothing was pulled.
    pub was_present: bool,
    /// Bytes of the image, unpacked.
    pub size_bytes: u64,
    /// How long the pull took.
    pub pull: Duration,
}

/// Whose fault it is: decides who is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// The pod, its image or its manifest.
    Workload,
    /// This machine: disk full, kernel refuses.
    Node,
    /// Somebody else: the registry, the network.
    Cluster,
}

/// An action that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub reason: FailureReason,
    /// For people: what was being done, to what, what went wrong, what to do. One line.
    pub message: String,
    pub fault: Fault,
    /// The same action may succeed later without anybody changing the pod.
    pub retry: bool,
    /// At the earliest after this, if the other side asked so (`Retry-After`).
    pub retry_after: Option<Duration>,
}

/// The reasons that a kubelet writes into a container's waiting or terminated state, or an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FailureReason {
    // images
    ErrImagePull,
    ErrImageNeverPull,
    InvalidImageName,
    ImageInspectError,
    RegistryUnavailable,
    // containers
    CreateContainerConfigError,
    CreateContainerError,
    /// The container was made, the start failed: the status says terminated, `StartError`, exit code 128.
    RunContainerError,
    // sandbox
    FailedCreatePodSandBox,
    FailedMount,
    // hooks: reasons of events
    FailedPostStartHook,
    FailedPreStopHook,
    // stop and removal
    FailedKillPod,
}

impl FailureReason {
    /// As written into `reason` of a waiting container, and as a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ErrImagePull => "ErrImagePull",
            Self::ErrImageNeverPull => "ErrImageNeverPull",
            Self::InvalidImageName => "InvalidImageName",
            Self::ImageInspectError => "ImageInspectError",
            Self::RegistryUnavailable => "RegistryUnavailable",
            Self::CreateContainerConfigError => "CreateContainerConfigError",
            Self::CreateContainerError => "CreateContainerError",
            Self::RunContainerError => "RunContainerError",
            Self::FailedCreatePodSandBox => "FailedCreatePodSandBox",
            Self::FailedMount => "FailedMount",
            Self::FailedPostStartHook => "FailedPostStartHook",
            Self::FailedPreStopHook => "FailedPreStopHook",
            Self::FailedKillPod => "FailedKillPod",
        }
    }
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The exit of a container, told by the keeper or found in a listing. Facts come from actions, exits come by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitSeen {
    pub container: ContainerKey,
    pub exit: ExitRecord,
    /// The termination message: what the program left in its `terminationMessagePath`, or the end of its log where the policy says so.
    pub last_words: Option<String>,
    pub seq: Seq,
}
