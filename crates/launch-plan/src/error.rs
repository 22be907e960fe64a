//! Why a container cannot be launched as its pod and its image ask, in the kubelet's words.

use pod_model::{Failure, FailureReason, Fault};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("the pod has no container {0:?}")]
    NoSuchContainer(String),
    #[error("the image has no layer")]
    NoLayers,

    // user
    #[error("container's runAsUser breaks non-root policy (pod: {pod:?}, container: {container})")]
    RunAsUserIsRoot { pod: String, container: String },
    #[error(
        "container has runAsNonRoot and image will run as root (pod: {pod:?}, container: {container})"
    )]
    ImageRunsAsRoot { pod: String, container: String },
    #[error(
        "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root (pod: {pod:?}, container: {container})"
    )]
    NonNumericUser {
        user: String,
        pod: String,
        container: String,
    },
    #[error("invalid USER value {user:?}: {what} out of range, must be 0 to 2147483647")]
    UserOutOfRange { user: String, what: &'static str },
    #[error("invalid USER value {user:?}: {rule}")]
    BadUser { user: String, rule: &'static str },
    #[error("{field} {value} is out of range, must be 0 to 2147483647")]
    IdOutOfRange { field: &'static str, value: i64 },
    #[error("unable to find user {user}: no matching entries in passwd file")]
    UnknownUser { user: String },
    #[error("unable to find group {group}: no matching entries in group file")]
    UnknownGroup { group: String },
    #[error("the image's {file} has more than {limit} bytes")]
    UserFileTooLarge { file: &'static str, limit: usize },
    #[error("the user is in {count} groups; the kernel takes {limit}")]
    TooManyGroups { count: usize, limit: usize },

    // environment and command
    #[error("the image's environment entry {entry:?} is no NAME=value")]
    BadImageEnv { entry: String },
    #[error("the environment variable {name:?} {rule}")]
    BadEnv { name: String, rule: &'static str },
    #[error("environment variable {name:?}: {what}")]
    EnvSource { name: String, what: String },
    #[error("no command specified")]
    NoCommand,
    #[error("the command {rule}")]
    BadCommand { rule: &'static str },
    #[error("command and environment have {bytes} bytes together; {limit} are allowed")]
    TooLarge { bytes: usize, limit: usize },
    #[error("working directory {path:?} {rule}")]
    BadWorkingDir { path: String, rule: &'static str },

    // mounts
    #[error("volumeMounts name the volume {volume:?}, which the pod does not have")]
    NoSuchVolume { volume: String },
    #[error("cannot mount volume {volume:?} on {path:?}: {rule}")]
    BadMountPath {
        volume: String,
        path: String,
        rule: &'static str,
    },
    #[error("cannot mount a file for the termination message on {path:?}: {rule}")]
    BadMessagePath { path: String, rule: &'static str },
    #[error("unable to provision SubPath `{sub_path}`: {rule}")]
    BadSubPath {
        sub_path: String,
        rule: &'static str,
    },
    #[error("failed to expand subPathExpr {expression:?}: missing value for {name:?}")]
    SubPathVariable { expression: String, name: String },
    #[error("cannot mount volume {volume:?}: {rule}")]
    BadMount { volume: String, rule: String },

    // security
    #[error("unknown capability {name:?} in securityContext.capabilities.{list}")]
    UnknownCapability { name: String, list: &'static str },
    #[error("seccompProfile: {rule}: {value:?}")]
    BadSeccompProfile { value: String, rule: &'static str },
    #[error(
        "procMount {value:?} needs a user namespace (hostUsers: false), which this node does not have"
    )]
    ProcMount { value: String },
}

impl PlanError {
    /// The reason that a kubelet gives the waiting container.
    pub fn reason(&self) -> FailureReason {
        use PlanError as E;
        match self {
            // what a kubelet finds when it makes the container's configuration
            E::NoSuchContainer(_)
            | E::RunAsUserIsRoot { .. }
            | E::ImageRunsAsRoot { .. }
            | E::NonNumericUser { .. }
            | E::UserOutOfRange { .. }
            | E::BadUser { .. }
            | E::IdOutOfRange { .. }
            | E::UnknownUser { .. }
            | E::UnknownGroup { .. }
            | E::UserFileTooLarge { .. }
            | E::TooManyGroups { .. }
            | E::BadImageEnv { .. }
            | E::BadEnv { .. }
            | E::EnvSource { .. }
            | E::NoSuchVolume { .. }
            | E::BadSubPath { .. }
            | E::SubPathVariable { .. }
            | E::ProcMount { .. } => FailureReason::CreateContainerConfigError,
            // what its runtime finds when it makes the container
            E::NoLayers
            | E::NoCommand
            | E::BadMountPath { .. }
            | E::BadMessagePath { .. }
            | E::BadMount { .. }
            | E::UnknownCapability { .. }
            | E::BadSeccompProfile { .. }
            | E::TooLarge { .. } => FailureReason::CreateContainerError,
            // what its runtime finds when it starts it
            E::BadCommand { .. } | E::BadWorkingDir { .. } => FailureReason::RunContainerError,
        }
    }

    /// A kubelet tries again with back-off, though only a changed pod or image can help: the workload is at fault.
    pub fn failure(&self) -> Failure {
        Failure {
            reason: self.reason(),
            message: self.to_string(),
            fault: Fault::Workload,
            retry: true,
            retry_after: None,
        }
    }
}
