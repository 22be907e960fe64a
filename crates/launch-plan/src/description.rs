//! The complete launch description: everything the keeper's child does between clone and exec, decided beforehand.
//!
//! The keeper makes no choice: it walks this value from top to bottom. Sources of bind mounts are file descriptors that travel
//! beside the description (`fd` counts them), so no path of a tenant's tree is ever resolved by name twice.

use pod_model::ContainerKey;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// An index into the file descriptors that accompany the description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FdIndex(pub u32);

/// One container to launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchDescription {
    pub container: ContainerKey,
    pub namespaces: Namespaces,
    /// Where the process goes before anything else: directories of the host. One (v2, entered by `CLONE_INTO_CGROUP`) or one per
    /// hierarchy (v1, entered by writing `0` to `tasks`).
    pub cgroup: CgroupPlacement,
    /// Set in the uts namespace, if that is not the host's.
    pub hostname: Option<String>,
    pub rootfs: Rootfs,
    /// In order; a target is resolved inside the new root and made if it is missing.
    pub mounts: Vec<Mount>,
    /// Nodes in `/dev`, which is a tmpfs of ours unless the pod is privileged and shares the host's devices.
    pub devices: Vec<Device>,
    /// Hidden: a directory under an empty read-only tmpfs, a file under `/dev/null`. A missing one is skipped.
    pub masked_paths: Vec<String>,
    /// Bound over themselves read-only. A missing one is skipped.
    pub readonly_paths: Vec<String>,
    pub process: Process,
    pub stdio: Stdio,
    /// Names under which the container's files lie; see `container-host` for the layout.
    pub files: ContainerFiles,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    pub net: SharedNamespace,
    pub ipc: SharedNamespace,
    pub uts: SharedNamespace,
    pub pid: PidNamespace,
}

/// Net, ipc and uts belong to the sandbox: they exist before the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SharedNamespace {
    Host,
    /// Entered through this descriptor of a pinned namespace file.
    Enter(FdIndex),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PidNamespace {
    /// Its own; the program is PID 1.
    Private,
    Host,
    /// The pod's (`shareProcessNamespace`): a process of the keeper is PID 1 there, made with the first container.
    Pod,
    /// That of another container of the pod (`targetContainerName`), entered through a pidfd of its first process.
    Target(FdIndex),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CgroupPlacement {
    V2 {
        directory: PathBuf,
    },
    /// The container's directory in each mounted hierarchy.
    V1 {
        directories: Vec<PathBuf>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rootfs {
    /// Host directories, uppermost layer first. Never empty.
    pub layers: Vec<PathBuf>,
    /// Holds `upper` and `work`; made by the container host before launch.
    pub writable: PathBuf,
    pub readonly: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path in the container.
    pub target: String,
    pub what: MountKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    /// A directory or file of the host, given as an `O_PATH` descriptor or a detached mount.
    Bind {
        source: FdIndex,
        recursive: bool,
        readonly: bool,
        recursive_readonly: bool,
        propagation: Propagation,
    },
    Proc,
    Sysfs {
        readonly: bool,
    },
    /// The container's own part of the cgroup tree.
    Cgroup {
        readonly: bool,
    },
    Mqueue,
    Devpts,
    Tmpfs {
        size_bytes: Option<u64>,
        mode: u32,
        noexec: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// `None` of the API: private.
    Private,
    HostToContainer,
    Bidirectional,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    pub path: String,
    pub kind: DeviceKind,
    pub major: u32,
    pub minor: u32,
    pub mode: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceKind {
    Char,
    Block,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Never empty. A first word without a slash is looked up in the container's `PATH`, inside the container.
    pub argv: Vec<String>,
    /// `NAME=value`, each name once.
    pub env: Vec<String>,
    /// Absolute; made if it is missing (as the user), as Docker does.
    pub cwd: String,
    pub uid: u32,
    pub gid: u32,
    pub supplementary_gids: Vec<u32>,
    pub capabilities: Capabilities,
    pub no_new_privileges: bool,
    /// Clamped to what the keeper may set.
    pub oom_score_adj: i32,
    /// A ready program of `struct sock_filter`s in this descriptor (a sealed memfd); `None` is Unconfined.
    pub seccomp: Option<FdIndex>,
}

/// Bit masks, bit *n* is capability number *n*. Inheritable and ambient are always empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    pub bounding: u64,
    pub effective: u64,
    pub permitted: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stdio {
    /// Keep stdin open (a FIFO nobody writes to yet); else it is `/dev/null`.
    pub stdin: bool,
    /// A pseudo-terminal of the container's own devpts is stdin, stdout and stderr.
    pub terminal: bool,
}

/// Host paths of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerFiles {
    /// Directory under the run directory with the FIFOs `stdin`, `stdout`, `stderr`.
    pub run: PathBuf,
    /// The preallocated slot that the exit record is written into.
    pub exit: PathBuf,
    /// `…/<container>/<attempt>.log`.
    pub log: PathBuf,
    /// Rotate so that no log file is ever larger than this, in bytes.
    pub log_max_bytes: u64,
    /// Keep at most this many log files, the current one counted. Descriptions of before it could be chosen meant five.
    #[serde(default = "five")]
    pub log_max_files: u32,
}

fn five() -> u32 {
    5
}

/// One more process in a running container. The keeper enters the namespaces of the container's first process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecDescription {
    pub container: ContainerKey,
    /// A number that the agent chose; the exit is reported under it.
    pub session: u64,
    pub process: Process,
    /// A sub-cgroup of the container's, of its own, so that the session can be killed whole.
    pub cgroup: CgroupPlacement,
    /// A terminal in the container's devpts; its master comes back to the agent.
    pub terminal: bool,
    /// What the terminal has before the program runs. Missing in descriptions of earlier agents; an earlier keeper does not read it.
    #[serde(default)]
    pub size: Option<TerminalSize>,
}

/// In characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    pub rows: u16,
    pub columns: u16,
}
