//! Seccomp programs as sealed memfds, one per profile and set of capabilities.

use super::outcome::node_failure;
use anyhow::{Context, Result};
use launch_plan::SeccompSource;
use launch_plan::seccomp::{self, KernelVersion, MAX_PROFILE_BYTES};
use pod_model::{Failure, FailureReason, Fault};
use rustix::fs::{Mode, OFlags, ResolveFlags, SealFlags};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Compiled once per profile; a container gets a descriptor of the same memfd.
pub(crate) struct Programs {
    compiler: seccomp::Programs,
    /// `<root>/seccomp`, where Localhost profiles lie.
    profiles: PathBuf,
    memfds: Mutex<BTreeMap<Vec<u8>, Arc<OwnedFd>>>,
}

/// Profiles that are kept; a pod may not make this grow without bound.
const KEPT: usize = 256;

impl Programs {
    pub(crate) fn new(root: &Path) -> Result<Self> {
        let name = nix::sys::utsname::uname().context("cannot tell the kernel")?;
        let release = name.release().to_string_lossy().into_owned();
        let kernel = KernelVersion::parse(&release).context("cannot tell the kernel's version")?;
        Ok(Self {
            compiler: seccomp::Programs::new(kernel, false),
            profiles: root.join("seccomp"),
            memfds: Mutex::default(),
        })
    }

    pub(crate) fn open(
        &self,
        source: &SeccompSource,
        capabilities: u64,
    ) -> Result<OwnedFd, Failure> {
        let program = match source {
            SeccompSource::RuntimeDefault => self.compiler.runtime_default(capabilities),
            SeccompSource::Localhost(name) => {
                let profile = self
                    .read(name)
                    .map_err(|e| refused(format!("cannot load seccomp profile {name:?}: {e}")))?;
                self.compiler.localhost(&profile, capabilities)
            }
        };
        let program = program.map_err(|e| {
            refused(format!(
                "seccomp profile {source:?}: {}",
                super::outcome::chain(&e)
            ))
        })?;
        self.memfd(&program).map_err(|e| {
            node_failure(
                FailureReason::CreateContainerError,
                format!("cannot hold a seccomp program: {e}"),
            )
        })
    }

    fn read(&self, name: &str) -> std::io::Result<Vec<u8>> {
        let root = rustix::fs::open(
            &self.profiles,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::openat2(
            &root,
            name,
            flags,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
        )?;
        let file = File::from(file);
        if !file.metadata()?.is_file() {
            return Err(std::io::Error::other("it is not a regular file"));
        }
        let most = u64::try_from(MAX_PROFILE_BYTES).unwrap_or(u64::MAX);
        let mut bytes = Vec::new();
        file.take(most + 1).read_to_end(&mut bytes)?;
        if bytes.len() > MAX_PROFILE_BYTES {
            return Err(std::io::Error::other(format!(
                "it is larger than {MAX_PROFILE_BYTES} bytes"
            )));
        }
        Ok(bytes)
    }

    fn memfd(&self, program: &[u8]) -> std::io::Result<OwnedFd> {
        let mut memfds = self.memfds.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(memfd) = memfds.get(program) {
            return memfd.try_clone();
        }
        let flags = rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::ALLOW_SEALING;
        let mut file = File::from(rustix::fs::memfd_create("seccomp", flags)?);
        file.write_all(program)?;
        rustix::fs::fcntl_add_seals(
            &file,
            SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE,
        )?;
        let memfd: OwnedFd = file.into();
        if memfds.len() < KEPT {
            memfds.insert(program.to_vec(), Arc::new(memfd.try_clone()?));
        }
        Ok(memfd)
    }
}

/// The profile's fault: never started without it.
fn refused(message: String) -> Failure {
    Failure {
        reason: FailureReason::CreateContainerError,
        message,
        fault: Fault::Workload,
        retry: true,
        retry_after: None,
    }
}
