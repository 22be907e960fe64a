//! Seccomp: profiles in, programs for the kernel out.
//!
//! ```text
//! RuntimeDefault (data) ─┐
//!                        ├─► Profile ─► compile ─► struct sock_filter[] ─► cached by what it was made of
//! Localhost (OCI JSON) ──┘
//! ```
//!
//! Pure: a profile's bytes are read by the caller, the program is loaded by the keeper. There is no way from a profile that cannot be read to
//! an unconfined process: it is an error.

mod abi;
mod compile;
mod emit;
mod oci;
mod profile;
mod program;
mod runtime_default;

#[cfg(test)]
mod tests;

pub use abi::{Abi, Machine};
pub use compile::{CompileError, compile};
pub use oci::{MAX_PROFILE_BYTES, Target, parse};
pub use profile::{Action, Comparison, Condition, Profile, Rule};
pub use program::{Instruction, MAX_INSTRUCTIONS};
pub use runtime_default::runtime_default;

use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeccompError {
    #[error("this machine's architecture has no seccomp support here")]
    NoMachine,
    #[error("the seccomp profile has {bytes} bytes; {limit} are allowed")]
    TooLarge { bytes: usize, limit: usize },
    #[error("the seccomp profile is no valid profile: {0}")]
    Json(String),
    #[error("the seccomp profile has an unsupported {what}: {value:?}")]
    Unsupported { what: &'static str, value: String },
    #[error("compile the seccomp profile")]
    Compile(#[from] CompileError),
}

/// Major and minor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion(pub u32, pub u32);

impl KernelVersion {
    /// From `6.18`, or a release as `uname -r` prints it.
    pub fn parse(text: &str) -> Result<Self, SeccompError> {
        let mut parts = text.split(['.', '-', '+']).map(str::parse);
        match (parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Ok(Self(major, minor)),
            _ => Err(SeccompError::Unsupported {
                what: "kernel version",
                value: text.to_owned(),
            }),
        }
    }
}

/// More than any node uses; when they are used up the cache begins anew.
const MOST_PROGRAMS: usize = 64;

/// Finished programs. One per node; may be shared between threads.
#[derive(Debug)]
pub struct Programs {
    kernel: KernelVersion,
    hardened: bool,
    cache: Mutex<HashMap<[u8; 32], Arc<[u8]>>>,
}

impl Programs {
    /// `hardened`: RuntimeDefault takes the native system call interface only, without the 32-bit one.
    pub fn new(kernel: KernelVersion, hardened: bool) -> Self {
        Self {
            kernel,
            hardened,
            cache: Mutex::default(),
        }
    }

    /// The program of RuntimeDefault for a process with this bounding set: bytes of `struct sock_filter[]`.
    ///
    /// # Errors
    /// On a machine that is neither x86-64 nor aarch64.
    pub fn runtime_default(&self, capabilities: u64) -> Result<Arc<[u8]>, SeccompError> {
        self.cached(key(&[b"default", &capabilities.to_le_bytes()]), |machine| {
            Ok(runtime_default(machine, capabilities, self.hardened))
        })
    }

    /// The program of a Localhost profile with these contents.
    ///
    /// # Errors
    /// When the profile is none, says what is not supported, or is too long.
    pub fn localhost(&self, json: &[u8], capabilities: u64) -> Result<Arc<[u8]>, SeccompError> {
        self.cached(
            key(&[b"localhost", &capabilities.to_le_bytes(), json]),
            |machine| {
                parse(
                    json,
                    &Target {
                        machine,
                        kernel: self.kernel,
                        capabilities,
                    },
                )
            },
        )
    }

    fn cached(
        &self,
        key: [u8; 32],
        profile: impl FnOnce(Machine) -> Result<Profile, SeccompError>,
    ) -> Result<Arc<[u8]>, SeccompError> {
        let lock = || self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = lock().get(&key) {
            return Ok(Arc::clone(program));
        }
        // compiled outside the lock: twice, if two ask at once
        let machine = Machine::HERE.ok_or(SeccompError::NoMachine)?;
        let program: Arc<[u8]> = program::bytes(&compile(&profile(machine)?, machine)?).into();
        let mut cache = lock();
        if cache.len() >= MOST_PROGRAMS {
            cache.clear();
        }
        cache.insert(key, Arc::clone(&program));
        Ok(program)
    }
}

fn key(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
