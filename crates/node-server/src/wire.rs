//! What travels over the unix socket between the agent and the people's commands, beside `v1` objects: JSON, camelCase.
//!
//! Long deeds answer with one JSON object a line. The last line says how it ended: an answer without one was cut off.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The first part of all paths that only the unix socket has.
pub const PREFIX: &str = "/coracle/v1";
/// `Upgrade` of an exec session.
pub const EXEC_PROTOCOL: &str = "coracle-exec/1";

/// `GET /coracle/v1/version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    pub version: String,
    pub git_commit: String,
    pub kubelet_version: String,
    pub node_name: String,
    pub pid: u32,
    /// RFC 3339.
    pub started_at: String,
}

/// `GET /coracle/v1/images`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageRow {
    /// `sha256:…` of the config.
    pub id: String,
    /// `repository:tag`.
    pub tags: Vec<String>,
    /// `repository@sha256:…`.
    pub digests: Vec<String>,
    pub size_bytes: u64,
    /// RFC 3339, as the builder wrote it; may be empty.
    pub created: String,
    pub pinned: bool,
}

/// A line of a pull or a load. The forms are those of image-store's progress events, and `failed`, `loaded`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase")]
pub enum ImageProgress {
    /// The layers are known.
    Resolved {
        digest: String,
        image: String,
        layers: Vec<LayerSize>,
        total_bytes: u64,
    },
    Layer {
        layer: String,
        state: LayerProgress,
    },
    /// The image is there.
    Complete {
        image: String,
        took: Duration,
    },
    /// Last line of a load: the names that it brought.
    Loaded {
        names: Vec<String>,
    },
    /// Last line of a pull that went well.
    Pulled,
    /// Last line: it did not work.
    Failed {
        message: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerSize {
    pub digest: String,
    /// As it travels.
    pub bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase")]
pub enum LayerProgress {
    Waiting,
    AlreadyExists,
    Downloading {
        bytes: u64,
        total: u64,
    },
    Unpacking {
        unpacked_bytes: u64,
    },
    Retrying {
        reason: String,
        after: Duration,
    },
    Done {
        unpacked_bytes: u64,
        download: Duration,
        total: Duration,
    },
}

/// `DELETE /coracle/v1/images?name=…`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    pub removed: Vec<String>,
}

/// A line of `POST /coracle/v1/down`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase")]
pub enum DownProgress {
    /// The pod got its stop signals.
    Stopping { namespace: String, pod: String },
    /// Nothing of the pod is left.
    Stopped { namespace: String, pod: String },
    /// Last line: no pod and no keeper is left; the agent ends.
    Done,
    /// Last line.
    Failed { message: String },
}

/// `GET /coracle/v1/explain/{namespace}/{pod}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    pub namespace: String,
    pub pod: String,
    pub uid: String,
    pub phase: String,
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// RFC 3339 with nanoseconds; the end, if it took time.
    pub at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    pub what: String,
    pub detail: String,
}

/// `GET /coracle/v1/stats`: sums, of which a person takes two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Nanoseconds since 1970.
    pub at: i64,
    pub cpu_ns: u64,
    pub memory_working_set_bytes: u64,
    pub memory_total_bytes: u64,
    pub pods: Vec<PodStats>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodStats {
    pub namespace: String,
    pub name: String,
    pub cpu_ns: u64,
    pub memory_working_set_bytes: u64,
    pub containers: Vec<ContainerStats>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerStats {
    pub name: String,
    pub cpu_ns: u64,
    pub memory_working_set_bytes: u64,
}

/// The last frame of an exec session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecResult {
    /// `None`: see the message.
    pub code: Option<i32>,
    pub message: Option<String>,
}
