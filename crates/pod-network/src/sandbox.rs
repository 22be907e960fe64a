//! What a pod gets: the names of its namespaces, and descriptors to enter them by.

use crate::error::NetworkError;
use std::fs::File;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The network of one pod, ready for containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// Name of the slot: of its directory under `<run>/ns` and its lease.
    pub slot: String,
    /// IPv4 first. Empty: the pod uses the host's network.
    pub addresses: Vec<IpAddr>,
    /// `None`: the host's network namespace.
    pub net: Option<PathBuf>,
    pub ipc: PathBuf,
    pub uts: PathBuf,
    /// Where the time of this call went, in order.
    pub spans: Vec<(String, Duration)>,
}

/// Descriptors to enter a sandbox by; the namespaces live at least as long.
#[derive(Debug)]
pub struct SandboxNamespaces {
    pub net: Option<OwnedFd>,
    pub ipc: OwnedFd,
    pub uts: OwnedFd,
}

/// Opens the pinned namespaces of a sandbox.
pub fn open_namespaces(sandbox: &Sandbox) -> Result<SandboxNamespaces, NetworkError> {
    let open = |path: &Path| {
        File::open(path)
            .map(OwnedFd::from)
            .map_err(|e| NetworkError::files("open namespace", path, e))
    };
    Ok(SandboxNamespaces {
        net: sandbox.net.as_deref().map(open).transpose()?,
        ipc: open(&sandbox.ipc)?,
        uts: open(&sandbox.uts)?,
    })
}
