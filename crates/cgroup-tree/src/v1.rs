//! Numbers → control files of cgroup v1.

use crate::devices::{self, DevicePolicy};
use crate::error::{self, CgroupError};
use crate::file;
use crate::hierarchy::Hierarchy;
use node_policy::CgroupNumbers;
use std::path::Path;

/// Writes what the controllers of this hierarchy take.
pub(crate) fn write_numbers(
    hierarchy: &Hierarchy,
    directory: &Path,
    numbers: &CgroupNumbers,
) -> Result<(), CgroupError> {
    if hierarchy.has("cpu") {
        write_shares(directory, numbers.cpu_shares)?;
        if let Some(quota) = numbers.cpu_quota_us {
            file::write(
                directory,
                "cpu.cfs_period_us",
                &numbers.cpu_period_us.to_string(),
            )?;
            file::write(directory, "cpu.cfs_quota_us", &quota.to_string())?;
        }
    }
    if hierarchy.has("memory")
        && let Some(limit) = numbers.memory_limit_bytes
    {
        let limit = limit.to_string();
        file::write(directory, "memory.limit_in_bytes", &limit)?;
        if !numbers.swap {
            // memory and swap together: as much as memory alone
            match file::write(directory, "memory.memsw.limit_in_bytes", &limit) {
                // swap is not accounted on this kernel
                Err(CgroupError::Write { source, .. }) if error::is_gone(&source) => {}
                other => other?,
            }
        }
    }
    if hierarchy.has("pids")
        && let Some(limit) = numbers.pids_limit
    {
        file::write(directory, "pids.max", &limit.to_string())?;
    }
    Ok(())
}

pub(crate) fn write_shares(directory: &Path, shares: u64) -> Result<(), CgroupError> {
    file::write(directory, "cpu.shares", &shares.to_string())
}

/// A new cgroup has its parent's rules. One rule per write.
pub(crate) fn write_devices(directory: &Path, policy: DevicePolicy) -> Result<(), CgroupError> {
    match policy {
        DevicePolicy::All => Ok(()),
        DevicePolicy::Default => {
            file::write(directory, "devices.deny", "a")?;
            file::write_each(directory, "devices.allow", &devices::v1_lines())
        }
    }
}
