//! What a plan is made from.

use crate::description::{CgroupPlacement, ContainerFiles, Device};
use crate::tenant::FromTenant;
use pod_model::{AdmittedPod, Attempt, ContainerName};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

/// Everything that decides how one attempt of one container is launched.
#[derive(Debug, Clone, Copy)]
pub struct PlanInput<'a> {
    pub pod: &'a AdmittedPod,
    pub container: &'a ContainerName,
    pub attempt: Attempt,
    pub image: &'a ImageFacts,
    pub node: &'a NodeFacts,
    pub sandbox: &'a SandboxFacts,
    pub host: &'a HostFacts,
}

/// Where this attempt's own things lie on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    pub cgroup: CgroupPlacement,
    /// Holds `upper` and `work`.
    pub writable: PathBuf,
    pub files: ContainerFiles,
}

/// An unpacked image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageFacts {
    /// Host directories, uppermost layer first.
    pub layers: Vec<PathBuf>,
    pub config: FromTenant<ImageConfig>,
    /// The bytes of the image's `/etc/passwd` and `/etc/group`, of regular files, cut at [`crate::MAX_USER_FILE_BYTES`] + 1. `None`: no such file.
    pub passwd: Option<FromTenant<Vec<u8>>>,
    pub group: Option<FromTenant<Vec<u8>>>,
}

/// What an image may say about how it is run. Labels, volumes, ports and the rest are not here, so nothing can obey them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageConfig {
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    pub env: Vec<String>,
    /// `USER`: `name`, `uid`, `name:group`, `uid:gid`.
    pub user: String,
    pub working_dir: String,
    pub stop_signal: Option<String>,
}

impl ImageConfig {
    /// The part of an OCI image configuration's `config` that counts.
    pub fn from_oci(config: &oci_spec::image::Config) -> FromTenant<Self> {
        FromTenant::new(Self {
            entrypoint: config.entrypoint().clone().unwrap_or_default(),
            cmd: config.cmd().clone().unwrap_or_default(),
            env: config.env().clone().unwrap_or_default(),
            user: config.user().clone().unwrap_or_default(),
            working_dir: config.working_dir().clone().unwrap_or_default(),
            stop_signal: config.stop_signal().clone(),
        })
    }
}

/// The machine and the node's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFacts {
    /// Of the machine; what a `hostNetwork` pod sees as its own.
    pub hostname: String,
    /// `spec.nodeName`.
    pub node_name: String,
    /// IPv4 first.
    pub host_ips: Vec<IpAddr>,
    pub allocatable_cpu_millis: u64,
    pub allocatable_memory_bytes: u64,
    pub allocatable_ephemeral_bytes: u64,
    pub memory_capacity_bytes: u64,
    /// The number of the greatest capability that the kernel knows (`/proc/sys/kernel/cap_last_cap`).
    pub last_capability: u32,
    /// CPUs that have a directory `thermal_throttle`, which is masked.
    pub throttle_cpus: Vec<u32>,
    /// The nodes of the host's `/dev`; only privileged containers get them, so it may be empty when no container of the pod is.
    pub host_devices: Vec<Device>,
    pub security: SecurityDefaults,
}

/// Where this node is stricter or milder than the pod asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecurityDefaults {
    /// A pod that names no profile gets RuntimeDefault.
    pub seccomp_runtime_default: bool,
    /// CRI-O's nine capabilities instead of containerd's fourteen, and no new privileges unless the pod asks for them.
    pub hardened: bool,
}

impl Default for SecurityDefaults {
    fn default() -> Self {
        Self {
            seccomp_runtime_default: true,
            hardened: false,
        }
    }
}

/// The pod's sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SandboxFacts {
    /// Which namespaces the sandbox has pinned; the others are the host's.
    pub net: bool,
    pub ipc: bool,
    pub uts: bool,
    /// Of the pod, as in its uts namespace.
    pub hostname: String,
    /// IPv4 first; of the host for `hostNetwork`.
    pub pod_ips: Vec<IpAddr>,
    /// The pod's volumes that are ready, by name.
    pub volumes: BTreeMap<String, VolumeFacts>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VolumeFacts {
    /// The volume itself may not be written to, whatever the mount says.
    pub read_only: bool,
}
