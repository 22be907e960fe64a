//! Settings of the kernel that belong to a pod's namespaces.
//!
//! The files of `/proc/sys` show the settings of whoever opens them, so they are opened inside. A thread does that which is made for it
//! and ends with it: it need not find its way back.

use crate::error::NetworkError;
use crate::sandbox::{Sandbox, SandboxNamespaces, open_namespaces};
use nix::sched::{CloneFlags, setns};
use std::io;
use std::path::PathBuf;

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysctl {
    /// From the root of `/proc/sys`: `net/ipv4/tcp_syncookies`. Its caller knows that a namespace of the sandbox holds it.
    pub path: String,
    pub value: String,
}

impl Sandbox {
    /// Gives the namespaces of the sandbox these settings. May block, and may be repeated.
    ///
    /// # Errors
    /// The first setting that the kernel refuses; those before it are set.
    pub fn set_sysctls(&self, sysctls: &[Sysctl]) -> Result<(), NetworkError> {
        if sysctls.is_empty() {
            return Ok(());
        }
        let namespaces = open_namespaces(self)?;
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                enter(&namespaces)?;
                sysctls.iter().try_for_each(write)
            });
            inside.join().unwrap_or_else(|_| {
                let source = io::Error::other("the thread for it ended");
                Err(NetworkError::Enter { source })
            })
        })
    }
}

fn enter(namespaces: &SandboxNamespaces) -> Result<(), NetworkError> {
    let entered = setns(&namespaces.ipc, CloneFlags::CLONE_NEWIPC).and_then(|()| {
        let net = namespaces.net.as_ref();
        net.map_or(Ok(()), |net| setns(net, CloneFlags::CLONE_NEWNET))
    });
    entered.map_err(|error| NetworkError::Enter {
        source: error.into(),
    })
}

fn write(sysctl: &Sysctl) -> Result<(), NetworkError> {
    let path = PathBuf::from("/proc/sys").join(&sysctl.path);
    std::fs::write(path, &sysctl.value).map_err(|source| NetworkError::Sysctl {
        sysctl: sysctl.clone(),
        source,
    })
}
