//! What the kernel cannot tell: which pod a slot belongs to. One file per lease, `<run>/net/<slot>`.

use crate::config::HostPort;
use crate::error::NetworkError;
use crate::slot::{Slot, slot_name, slot_number};
use pod_model::PodUid;
use serde::{Deserialize, Serialize};
use state_file::Durability;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

const VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lease {
    pub(crate) slot: u32,
    pub(crate) pod: PodUid,
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) host_ports: Vec<HostPort>,
}

impl Lease {
    pub(crate) fn slot(&self) -> Slot {
        Slot {
            number: self.slot,
            address: self.address,
        }
    }
}

fn path(dir: &Path, slot: u32) -> PathBuf {
    dir.join(slot_name(slot))
}

/// Outlives every process, not the boot: neither do namespaces.
pub(crate) fn write(dir: &Path, lease: &Lease) -> Result<(), NetworkError> {
    let payload = serde_json::to_vec(lease).unwrap_or_default();
    state_file::write(&path(dir, lease.slot), VERSION, &payload, Durability::Cache).map_err(
        |source| NetworkError::Lease {
            slot: slot_name(lease.slot),
            source,
        },
    )
}

pub(crate) fn remove(dir: &Path, slot: u32) -> Result<(), NetworkError> {
    let path = path(dir, slot);
    match fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(NetworkError::files("remove", path, e))
        }
        _ => Ok(()),
    }
}

/// One file found in the lease directory.
pub(crate) enum Found {
    Lease(Lease),
    /// Moved aside; said here, once.
    Unreadable {
        slot: u32,
        problem: String,
    },
}

/// Every lease there is. Left-over temporary files are removed.
pub(crate) fn read_all(dir: &Path) -> Result<Vec<Found>, NetworkError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)
        .map_err(|e| NetworkError::files("read", dir, e))?
        .flatten()
    {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let Some(slot) = slot_number(&name) else {
            if name.ends_with(".tmp") {
                let _ = fs::remove_file(entry.path());
            }
            continue;
        };
        found.push(match read(&entry.path(), slot) {
            Ok(Some(lease)) => Found::Lease(lease),
            Ok(None) => continue,
            Err(problem) => {
                if let Err(error) = state_file::quarantine(&entry.path()) {
                    tracing::warn!(path = %entry.path().display(), %error, "cannot move an unreadable lease aside");
                }
                Found::Unreadable { slot, problem }
            }
        });
    }
    Ok(found)
}

fn read(path: &Path, slot: u32) -> Result<Option<Lease>, String> {
    let Some(stored) = state_file::read(path).map_err(|e| e.to_string())? else {
        return Ok(None);
    };
    if stored.version != VERSION {
        return Err(format!(
            "its version is {}, this agent knows {VERSION}",
            stored.version
        ));
    }
    let lease: Lease = serde_json::from_slice(&stored.payload).map_err(|e| e.to_string())?;
    if lease.slot != slot {
        return Err(format!("it speaks of slot {}", slot_name(lease.slot)));
    }
    Ok(Some(lease))
}
