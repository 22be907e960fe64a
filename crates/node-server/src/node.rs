//! What the server needs of the node. The binary implements it; tests bring a fake.

use crate::wire::{DownProgress, ImageProgress, ImageRow};
use k8s_openapi::api::core::v1::PodStatus;
use pod_model::{AdmittedPod, ContainerName, PodUid, WallTime};
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot, watch};

/// The node that is served. Reading is quick and never waits; what takes time is a future.
pub trait Node: Send + Sync + 'static {
    fn info(&self) -> NodeInfo;
    /// Every pod that is known, in any order.
    fn pods(&self) -> Vec<PodView>;
    /// Oldest first.
    fn events(&self) -> Vec<NodeEvent>;
    /// What happened to a pod, in order.
    fn timeline(&self, pod: &PodUid) -> Vec<TimelineEntry>;
    /// A new number means that pods or events may have changed.
    fn changes(&self) -> watch::Receiver<u64>;
    /// The configuration as a `KubeletConfiguration`, for `/configz`.
    fn configuration(&self) -> serde_json::Value;
    /// What the machine, the pods and their containers use now.
    fn usage(&self) -> impl Future<Output = Result<NodeUsage, NodeError>> + Send;
    /// Starts a process in a running container.
    fn exec(
        &self,
        request: ExecRequest,
    ) -> impl Future<Output = Result<ExecSession, NodeError>> + Send;
    /// Puts one more container, a `v1` EphemeralContainer, into a pod, where it is started once. Answers when the pod has it.
    fn add_ephemeral_container(
        &self,
        pod: PodUid,
        container: serde_json::Value,
    ) -> impl Future<Output = Result<(), NodeError>> + Send;
    fn images(&self) -> impl Future<Output = Result<Vec<ImageRow>, NodeError>> + Send;
    /// Pulls an image whatever is there, telling how it goes. Ends when the image is complete; dropped, it may break off.
    fn pull_image(
        &self,
        name: String,
        tell: mpsc::Sender<ImageProgress>,
    ) -> impl Future<Output = Result<(), NodeError>> + Send;
    /// Imports a docker-archive or oci-archive. Answers with the names that it held.
    fn load_images(
        &self,
        archive: PathBuf,
        tell: mpsc::Sender<ImageProgress>,
    ) -> impl Future<Output = Result<Vec<String>, NodeError>> + Send;
    /// Removes a name, and the image with its last name. Answers with what was removed.
    fn remove_image(
        &self,
        name: String,
    ) -> impl Future<Output = Result<Vec<String>, NodeError>> + Send;
    /// Stops every pod and then the keeper; the agent ends soon after this is done.
    fn down(
        &self,
        tell: mpsc::Sender<DownProgress>,
    ) -> impl Future<Output = Result<(), NodeError>> + Send;
}

/// Why the node does not do it. The text is for the person who asked: one line that names the thing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    BadRequest(String),
    /// An object breaks the rules of the API.
    #[error("{0}")]
    Invalid(String),
    /// It cannot be done in the present state: an image in use, a container that is not running.
    #[error("{0}")]
    Conflict(String),
    /// Something else is needed that does not answer now: the registry, the keeper.
    #[error("{0}")]
    Unavailable(String),
    #[error("{0}")]
    Internal(String),
}

/// What does not change while the agent runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    pub node_name: String,
    /// As `v1.36.0-coracle.0.1.0`.
    pub kubelet_version: String,
    /// The agent's own, as `0.1.0`.
    pub version: String,
    pub git_commit: String,
    /// 1 or 2.
    pub cgroup_version: u8,
    pub started_at: WallTime,
    /// Holds `<namespace>_<name>_<uid>/<container>/<attempt>.log`.
    pub pod_logs: PathBuf,
}

/// A pod with what is known of it.
#[derive(Debug, Clone)]
pub struct PodView {
    pub pod: AdmittedPod,
    pub status: Arc<PodStatus>,
    /// Since when it is being deleted, and its grace period.
    pub deleting: Option<(WallTime, Duration)>,
    /// When this node saw it first.
    pub seen: WallTime,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeEvent {
    pub namespace: String,
    pub pod: String,
    pub uid: PodUid,
    /// As `spec.containers{name}`.
    pub field_path: Option<String>,
    /// `Normal` or `Warning`.
    pub kind: &'static str,
    pub reason: String,
    pub message: String,
    pub first: WallTime,
    pub last: WallTime,
    pub count: u32,
}

/// One line of `explain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineEntry {
    /// The end, if it took time.
    pub at: WallTime,
    pub took: Option<Duration>,
    pub container: Option<String>,
    pub what: String,
    pub detail: String,
}

/// Sums since boot (of the machine) and start (of a cgroup), read at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeUsage {
    pub at: WallTime,
    pub cpu_ns: u64,
    pub memory_usage_bytes: u64,
    pub memory_working_set_bytes: u64,
    pub memory_total_bytes: u64,
    pub swap_bytes: u64,
    pub pods: Vec<PodUsage>,
    /// Something could not be read; the rest is there.
    pub incomplete: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodUsage {
    pub uid: PodUid,
    pub namespace: String,
    pub name: String,
    /// Of the pod's own cgroup.
    pub total: ContainerUsage,
    /// Those that run.
    pub containers: Vec<ContainerUsage>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerUsage {
    /// Empty for a pod.
    pub name: String,
    pub started_at: WallTime,
    pub cpu_ns: u64,
    pub memory_usage_bytes: u64,
    pub memory_working_set_bytes: u64,
    pub memory_rss_bytes: u64,
    pub swap_bytes: u64,
    pub page_faults: u64,
    pub major_page_faults: u64,
    pub processes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecRequest {
    pub pod: PodUid,
    pub container: ContainerName,
    /// Never empty.
    pub command: Vec<String>,
    pub stdin: bool,
    /// stdin, stdout and stderr are one terminal; its output comes as stdout.
    pub tty: bool,
    /// Of the terminal, at the start.
    pub size: Option<TerminalSize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    pub columns: u16,
    pub rows: u16,
}

/// A process in a container and the ends of its pipes. Dropping the session ends the process and all its children.
pub struct ExecSession {
    /// Shut down, it is the process's end of input.
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Sizes for the terminal; the latest counts.
    pub resize: Option<mpsc::Sender<TerminalSize>>,
    /// Told once, when the process has ended.
    pub exit: oneshot::Receiver<ExecExit>,
    /// Whatever must live as long as the session.
    pub guard: Box<dyn Send>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecExit {
    /// As a shell says it: 128 + signal for a signal.
    Code(i32),
    /// It is not known how it ended; the text says why.
    Unknown(String),
}
