//! The file descriptors that a description counts on. The caller opens one per entry, in order, and sends them with it.

use crate::description::FdIndex;
use crate::security::SeccompSource;
use pod_model::ContainerName;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FdSource {
    /// The pinned namespace of the sandbox.
    Namespace(NamespaceKind),
    /// A pidfd of the first process of this container of the pod, which has to run.
    FirstProcess(ContainerName),
    /// An `O_PATH` descriptor, or a detached mount.
    Bind(BindSource),
    /// A sealed memfd with the program of [`crate::seccomp::Programs`] for this profile and these capabilities.
    Seccomp {
        source: SeccompSource,
        /// The bounding set of the process: RuntimeDefault allows more to who may more.
        capabilities: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespaceKind {
    Net,
    Ipc,
    Uts,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BindSource {
    /// A volume of the pod, or what lies at `sub_path` in it: relative, without `..`, to be resolved inside the volume by descriptor
    /// (links in it are a tenant's). A missing `sub_path` is made, as a directory.
    Volume {
        name: String,
        sub_path: Option<String>,
        readonly: bool,
    },
    PodFile(PodFile),
    /// The pod's `/dev/shm`: one tmpfs (64 MiB, mode 1777, nosuid, nodev, noexec), shared by its containers, under the pod's volumes.
    PodShm,
    /// The host's `/dev/shm` (`hostIPC`).
    HostShm,
    /// An empty file of this attempt for the program's last words.
    TerminationLog,
}

/// `pods/<uid>/files/…`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PodFile {
    Hosts,
    Hostname,
    ResolvConf,
}

/// Collects the sources and numbers them.
#[derive(Debug, Default)]
pub(crate) struct Fds(Vec<FdSource>);

impl Fds {
    pub(crate) fn add(&mut self, source: FdSource) -> FdIndex {
        let index = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0.push(source);
        FdIndex(index)
    }
    pub(crate) fn bind(&mut self, source: BindSource) -> FdIndex {
        self.add(FdSource::Bind(source))
    }
    pub(crate) fn into_sources(self) -> Vec<FdSource> {
        self.0
    }
}
