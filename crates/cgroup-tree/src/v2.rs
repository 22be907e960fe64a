//! Numbers → control files of cgroup v2, and handing controllers down.

use crate::error::{self, CgroupError};
use crate::file;
use crate::hierarchy::Hierarchy;
use node_policy::{CgroupNumbers, cpu};
use std::path::Path;

/// Where the agent goes when it stands in a cgroup that must hand its controllers down.
const AGENT_LEAF: &str = "coracle-agent";

/// The control files and their texts, in the order of writing.
pub(crate) fn texts(
    numbers: &CgroupNumbers,
    controllers: &[&'static str],
) -> Vec<(&'static str, String)> {
    let mut out = Vec::with_capacity(6);
    if controllers.contains(&"cpu") {
        out.push(("cpu.weight", cpu::weight(numbers.cpu_shares).to_string()));
        if let Some(quota) = numbers.cpu_quota_us {
            out.push(("cpu.max", format!("{quota} {}", numbers.cpu_period_us)));
        }
    }
    if controllers.contains(&"memory") {
        if let Some(limit) = numbers.memory_limit_bytes {
            out.push(("memory.max", limit.to_string()));
        }
        if !numbers.swap {
            out.push(("memory.swap.max", "0".to_owned()));
        }
        if numbers.oom_group {
            out.push(("memory.oom.group", "1".to_owned()));
        }
    }
    if controllers.contains(&"pids")
        && let Some(limit) = numbers.pids_limit
    {
        out.push(("pids.max", limit.to_string()));
    }
    out
}

pub(crate) fn write_numbers(
    hierarchy: &Hierarchy,
    directory: &Path,
    numbers: &CgroupNumbers,
) -> Result<(), CgroupError> {
    for (name, value) in texts(numbers, &hierarchy.controllers) {
        match file::write(directory, name, &value) {
            // a kernel without swap has no such file, and nothing to forbid
            Err(CgroupError::Write { source, .. })
                if name == "memory.swap.max" && error::is_gone(&source) => {}
            other => other?,
        }
    }
    Ok(())
}

pub(crate) fn write_weight(directory: &Path, shares: u64) -> Result<(), CgroupError> {
    file::write(directory, "cpu.weight", &cpu::weight(shares).to_string())
}

/// Gives the children of `directory` the controllers, and its ancestors' before them where they have not done so.
///
/// A cgroup that holds processes itself may not hand controllers down ("no internal processes", cgroup-v2.rst). If this agent is such a
/// process, it steps aside into a leaf; other processes are not ours to move.
pub(crate) fn hand_down(hierarchy: &Hierarchy, directory: &Path) -> Result<(), CgroupError> {
    let missing_in = |name: &str| -> Result<Vec<&'static str>, CgroupError> {
        let text = file::read(directory, name)?;
        Ok(hierarchy
            .controllers
            .iter()
            .copied()
            .filter(|c| !text.split_whitespace().any(|w| w == *c))
            .collect())
    };
    if directory != hierarchy.mount && !missing_in("cgroup.controllers")?.is_empty() {
        let parent = directory.parent().unwrap_or(&hierarchy.mount);
        hand_down(hierarchy, parent)?;
    }
    let missing = missing_in("cgroup.subtree_control")?;
    if missing.is_empty() {
        return Ok(());
    }
    let wanted: Vec<_> = missing.iter().map(|c| format!("+{c}")).collect();
    let wanted = wanted.join(" ");
    let enable = || file::write(directory, "cgroup.subtree_control", &wanted);
    match enable() {
        Err(CgroupError::Write { source, .. }) if error::is_busy(&source) => {
            step_aside(directory)?;
            match enable() {
                Err(CgroupError::Write { source, .. }) if error::is_busy(&source) => {
                    Err(CgroupError::InnerProcesses {
                        path: directory.to_owned(),
                        wanted,
                        processes: file::processes(directory)?.len(),
                        source,
                    })
                }
                other => other,
            }
        }
        other => other,
    }
}

/// Moves this process into a leaf of `directory`, if it stands in `directory` itself. Once, at start: the only write to `cgroup.procs`.
fn step_aside(directory: &Path) -> Result<(), CgroupError> {
    let me = std::process::id();
    if !file::processes(directory)?.contains(&me) {
        return Ok(());
    }
    let leaf = directory.join(AGENT_LEAF);
    file::make(&leaf)?;
    file::write(&leaf, "cgroup.procs", &me.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mounts::V2_CONTROLLERS;

    #[test]
    fn numbers_become_the_texts_that_cgroup_v2_takes() {
        let numbers = CgroupNumbers {
            cpu_shares: 1024,
            cpu_quota_us: Some(50_000),
            cpu_period_us: 100_000,
            memory_limit_bytes: Some(64 << 20),
            swap: false,
            pids_limit: Some(4096),
            oom_group: true,
        };
        let written: Vec<_> = texts(&numbers, &V2_CONTROLLERS)
            .into_iter()
            .map(|(f, v)| format!("{f}={v}"))
            .collect();
        assert_eq!(
            written,
            [
                "cpu.weight=100",
                "cpu.max=50000 100000",
                "memory.max=67108864",
                "memory.swap.max=0",
                "memory.oom.group=1",
                "pids.max=4096"
            ]
        );
    }

    #[test]
    fn what_is_not_limited_is_not_written() {
        assert_eq!(
            texts(&CgroupNumbers::UNLIMITED, &V2_CONTROLLERS),
            [("cpu.weight", "1".to_owned())]
        );
        assert_eq!(texts(&CgroupNumbers::UNLIMITED, &[]), []);
    }
}
