//! Usage figures and out-of-memory kills, read when asked for: a descriptor kept open per file and container would cost more memory than
//! the opening costs time.

use crate::error::CgroupError;
use crate::file;
use crate::hierarchy::Hierarchy;
use crate::names;
use crate::tree::{CgroupKind, CgroupTree};
use pod_model::{ContainerKey, PodUid};
use std::path::{Path, PathBuf};

/// Of one cgroup with everything below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    pub cpu: CpuStats,
    pub memory: MemoryStats,
    /// Processes and threads now.
    pub pids: u64,
    /// `None` is no limit.
    pub pids_limit: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuStats {
    /// Since the cgroup was made.
    pub usage_ns: u64,
    /// Enforcement periods with a quota that have passed, and those in which the quota was used up.
    pub periods: u64,
    pub throttled_periods: u64,
    pub throttled_ns: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryStats {
    pub usage_bytes: u64,
    /// Usage without file pages that have not been used for long: what eviction and `kubectl top` count.
    pub working_set_bytes: u64,
    /// Anonymous memory and swap cache of it.
    pub rss_bytes: u64,
    pub cache_bytes: u64,
    pub mapped_file_bytes: u64,
    pub swap_bytes: u64,
    pub page_faults: u64,
    pub major_page_faults: u64,
    /// `None` is no limit.
    pub limit_bytes: Option<u64>,
}

/// The machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeStats {
    pub cpu_usage_ns: u64,
    pub memory_usage_bytes: u64,
    pub memory_working_set_bytes: u64,
    pub memory_total_bytes: u64,
}

/// v1's way of saying "no limit": the largest multiple of the page size in an `i64`, whatever the page size.
const V1_NO_LIMIT: u64 = 1 << 62;

impl CgroupTree {
    pub fn stats_container(&self, key: &ContainerKey) -> Result<Stats, CgroupError> {
        self.stats(&self.locate(key)?)
    }

    pub fn stats_pod(&self, uid: &PodUid) -> Result<Stats, CgroupError> {
        self.stats(&self.locate_pod(uid)?)
    }

    /// All pods together.
    pub fn stats_all_pods(&self) -> Result<Stats, CgroupError> {
        self.stats(Path::new(names::KUBEPODS))
    }

    /// The whole machine, cgroups or not.
    pub fn stats_node(&self) -> Result<NodeStats, CgroupError> {
        let hierarchy = self.with("cpuacct").or_else(|| self.with("cpu"));
        let cpu_usage_ns = match (self.kind, hierarchy) {
            (_, None) => 0,
            (CgroupKind::V1, Some(h)) => {
                file::read_number(&h.mount, "cpuacct.usage")?.unwrap_or_default()
            }
            (CgroupKind::V2, Some(h)) => usage_usec(&file::read(&h.mount, "cpu.stat")?),
        };
        let text = file::read(Path::new("/proc"), "meminfo")?;
        let kib = |key: &str| {
            text.lines()
                .find_map(|l| l.strip_prefix(key)?.strip_prefix(':'))
                .and_then(|v| v.trim().strip_suffix(" kB")?.parse::<u64>().ok())
                .unwrap_or_default()
                * 1024
        };
        let total = kib("MemTotal");
        let usage = total.saturating_sub(kib("MemFree"));
        Ok(NodeStats {
            cpu_usage_ns,
            memory_usage_bytes: usage,
            memory_working_set_bytes: usage.saturating_sub(kib("Inactive(file)")),
            memory_total_bytes: total,
        })
    }

    /// Whether the kernel has killed a process of this container for want of memory: its own limit's, its pod's or the machine's.
    /// `false` when the cgroup is gone.
    pub fn oom_killed(&self, key: &ContainerKey) -> Result<bool, CgroupError> {
        let count = self
            .locate(key)
            .and_then(|relative| self.oom_kills(&relative));
        match count {
            Ok(count) => Ok(count > 0),
            Err(e) if e.is_gone() => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// How many processes of the cgroup the kernel has killed for want of memory.
    fn oom_kills(&self, relative: &Path) -> Result<u64, CgroupError> {
        let Some(memory) = self.with("memory") else {
            return Ok(0);
        };
        let (directory, name) = self.oom_file(memory, relative);
        Ok(file::keyed(&file::read(&directory, name)?, "oom_kill").unwrap_or_default())
    }

    /// The file to watch for out-of-memory kills of a container: on v2 it raises `POLLPRI` and an inotify modify event at each.
    pub fn oom_events_file(&self, key: &ContainerKey) -> Result<Option<PathBuf>, CgroupError> {
        let relative = self.locate(key)?;
        Ok(self.with("memory").map(|memory| {
            let (directory, name) = self.oom_file(memory, &relative);
            directory.join(name)
        }))
    }

    fn oom_file(&self, memory: &Hierarchy, relative: &Path) -> (PathBuf, &'static str) {
        let name = match self.kind {
            CgroupKind::V1 => "memory.oom_control",
            CgroupKind::V2 => "memory.events",
        };
        (memory.base.join(relative), name)
    }

    fn stats(&self, relative: &Path) -> Result<Stats, CgroupError> {
        let mut stats = Stats::default();
        for hierarchy in &self.hierarchies {
            let directory = hierarchy.base.join(relative);
            match self.kind {
                CgroupKind::V1 => read_v1(hierarchy, &directory, &mut stats)?,
                CgroupKind::V2 => read_v2(hierarchy, &directory, &mut stats)?,
            }
            if hierarchy.has("pids") {
                stats.pids = file::read_number(&directory, "pids.current")?.unwrap_or_default();
                stats.pids_limit = file::read_number(&directory, "pids.max")?;
            }
        }
        Ok(stats)
    }
}

fn usage_usec(cpu_stat: &str) -> u64 {
    file::keyed(cpu_stat, "usage_usec").unwrap_or_default() * 1000
}

fn read_v1(hierarchy: &Hierarchy, directory: &Path, stats: &mut Stats) -> Result<(), CgroupError> {
    if hierarchy.has("cpuacct") {
        stats.cpu.usage_ns = file::read_number(directory, "cpuacct.usage")?.unwrap_or_default();
    }
    if hierarchy.has("cpu") {
        let text = file::read(directory, "cpu.stat")?;
        let value = |key| file::keyed(&text, key).unwrap_or_default();
        stats.cpu.periods = value("nr_periods");
        stats.cpu.throttled_periods = value("nr_throttled");
        stats.cpu.throttled_ns = value("throttled_time");
    }
    if hierarchy.has("memory") {
        let usage = file::read_number(directory, "memory.usage_in_bytes")?.unwrap_or_default();
        let text = file::read(directory, "memory.stat")?;
        let value = |key| file::keyed(&text, key).unwrap_or_default();
        stats.memory = MemoryStats {
            usage_bytes: usage,
            working_set_bytes: usage.saturating_sub(value("total_inactive_file")),
            rss_bytes: value("total_rss"),
            cache_bytes: value("total_cache"),
            mapped_file_bytes: value("total_mapped_file"),
            swap_bytes: value("total_swap"),
            page_faults: value("total_pgfault"),
            major_page_faults: value("total_pgmajfault"),
            limit_bytes: file::read_number(directory, "memory.limit_in_bytes")?
                .filter(|l| *l < V1_NO_LIMIT),
        };
    }
    Ok(())
}

fn read_v2(hierarchy: &Hierarchy, directory: &Path, stats: &mut Stats) -> Result<(), CgroupError> {
    // usage is there without the controller
    let text = file::read(directory, "cpu.stat")?;
    let value = |key| file::keyed(&text, key).unwrap_or_default();
    stats.cpu = CpuStats {
        usage_ns: usage_usec(&text),
        periods: value("nr_periods"),
        throttled_periods: value("nr_throttled"),
        throttled_ns: value("throttled_usec") * 1000,
    };
    if hierarchy.has("memory") {
        let usage = file::read_number(directory, "memory.current")?.unwrap_or_default();
        let text = file::read(directory, "memory.stat")?;
        let value = |key| file::keyed(&text, key).unwrap_or_default();
        stats.memory = MemoryStats {
            usage_bytes: usage,
            working_set_bytes: usage.saturating_sub(value("inactive_file")),
            rss_bytes: value("anon"),
            cache_bytes: value("file"),
            mapped_file_bytes: value("file_mapped"),
            swap_bytes: swap(directory)?,
            page_faults: value("pgfault"),
            major_page_faults: value("pgmajfault"),
            limit_bytes: file::read_number(directory, "memory.max")?,
        };
    }
    Ok(())
}

/// A kernel without swap has no such file.
fn swap(directory: &Path) -> Result<u64, CgroupError> {
    match file::read_number(directory, "memory.swap.current") {
        Err(e) if e.is_gone() && directory.is_dir() => Ok(0),
        other => Ok(other?.unwrap_or_default()),
    }
}
