//! Killing whole, freezing, thawing.
//!
//! v2 kills a subtree with one write. v1 has to find the processes: frozen, so that none can fork away from the list; killed; thawed, which
//! is when the signals take effect; and once more, until none is left that was not killed.

use crate::error::CgroupError;
use crate::file;
use crate::tree::{CgroupKind, CgroupTree};
use pod_model::{ContainerKey, PodUid};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Killed {
    /// Every process there has been sent SIGKILL.
    Sent,
    /// There was no process, or no cgroup.
    NothingThere,
}

/// A process that forks without pause is caught in two or three.
const MOST_ROUNDS: u32 = 64;
const FREEZE_DEADLINE: Duration = Duration::from_millis(500);

impl CgroupTree {
    /// Kills every process of a container, exec sessions too. Returns when the signals are sent; the exits come later.
    pub fn kill_container(&self, key: &ContainerKey) -> Result<Killed, CgroupError> {
        match self.locate(key) {
            Ok(relative) => self.kill(&relative),
            Err(e) if e.is_gone() => Ok(Killed::NothingThere),
            Err(e) => Err(e),
        }
    }

    /// Kills every process of a pod.
    pub fn kill_pod(&self, uid: &PodUid) -> Result<Killed, CgroupError> {
        match self.locate_pod(uid) {
            Ok(relative) => self.kill(&relative),
            Err(e) if e.is_gone() => Ok(Killed::NothingThere),
            Err(e) => Err(e),
        }
    }

    pub(crate) fn kill(&self, relative: &Path) -> Result<Killed, CgroupError> {
        let directory = self.anchor().base.join(relative);
        let result = match self.kind {
            CgroupKind::V2 => kill_v2(&directory),
            CgroupKind::V1 => kill_v1(&directory),
        };
        match result {
            Err(e) if e.is_gone() => Ok(Killed::NothingThere),
            other => other,
        }
    }

    /// Stops every process of a container where it is, and returns when all stand still.
    pub fn freeze(&self, key: &ContainerKey) -> Result<(), CgroupError> {
        let directory = self.anchor().base.join(self.locate(key)?);
        match self.kind {
            CgroupKind::V2 => {
                file::write(&directory, "cgroup.freeze", "1")?;
                wait_for_state(&directory, "cgroup.events", |text| {
                    file::keyed(text, "frozen") == Some(1)
                })
            }
            CgroupKind::V1 => {
                file::write(&directory, "freezer.state", "FROZEN")?;
                wait_for_state(&directory, "freezer.state", |text| text.trim() == "FROZEN")
            }
        }
    }

    /// Lets a frozen container go on.
    pub fn thaw(&self, key: &ContainerKey) -> Result<(), CgroupError> {
        let directory = self.anchor().base.join(self.locate(key)?);
        match self.kind {
            CgroupKind::V2 => file::write(&directory, "cgroup.freeze", "0"),
            CgroupKind::V1 => file::write(&directory, "freezer.state", "THAWED"),
        }
    }

    /// The processes of a container, exec sessions too. Empty when there is no such cgroup.
    pub fn processes(&self, key: &ContainerKey) -> Result<Vec<u32>, CgroupError> {
        match self.locate(key) {
            Ok(relative) => processes_below(&self.anchor().base.join(relative)),
            Err(e) if e.is_gone() => Ok(Vec::new()),
            Err(e) => Err(e),
        }
    }
}

/// The processes of a cgroup and of all below it.
pub(crate) fn processes_below(directory: &Path) -> Result<Vec<u32>, CgroupError> {
    let mut all = Vec::new();
    for cgroup in file::deepest_first(directory)? {
        all.extend(file::processes(&cgroup)?);
    }
    Ok(all)
}

fn kill_v2(directory: &Path) -> Result<Killed, CgroupError> {
    let events = file::read(directory, "cgroup.events")?;
    if file::keyed(&events, "populated") == Some(0) {
        return Ok(Killed::NothingThere);
    }
    match file::write(directory, "cgroup.kill", "1") {
        Ok(()) => {}
        // before Linux 5.14
        Err(e) if e.is_gone() && directory.is_dir() => {
            return kill_by_list(directory, "cgroup.freeze", "1", "0");
        }
        Err(e) => return Err(e),
    }
    Ok(Killed::Sent)
}

fn kill_v1(directory: &Path) -> Result<Killed, CgroupError> {
    kill_by_list(directory, "freezer.state", "FROZEN", "THAWED")
}

fn kill_by_list(
    directory: &Path,
    file_name: &str,
    frozen: &str,
    thawed: &str,
) -> Result<Killed, CgroupError> {
    let mut killed = BTreeSet::new();
    for _ in 0..MOST_ROUNDS {
        if killed.is_empty() && processes_below(directory)?.is_empty() {
            return Ok(Killed::NothingThere);
        }
        // not waited for: a process in an uninterruptible sleep would never freeze
        file::write(directory, file_name, frozen)?;
        let listed = processes_below(directory);
        let mut fresh = 0usize;
        for pid in listed.as_deref().unwrap_or_default() {
            if killed.insert(*pid) {
                fresh += 1;
                send_kill(*pid);
            }
        }
        file::write(directory, file_name, thawed)?;
        listed?;
        if fresh == 0 {
            return Ok(Killed::Sent);
        }
    }
    Err(CgroupError::Unkillable {
        path: directory.to_owned(),
        left: processes_below(directory)?.len(),
        rounds: MOST_ROUNDS,
    })
}

/// A process that is gone by now is fine; one that may not be killed shows up in the next list.
fn send_kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
    {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

fn wait_for_state(
    directory: &Path,
    file_name: &str,
    reached: impl Fn(&str) -> bool,
) -> Result<(), CgroupError> {
    let start = Instant::now();
    let mut pause = Duration::from_micros(50);
    loop {
        let text = file::read(directory, file_name)?;
        if reached(&text) {
            return Ok(());
        }
        let waited = start.elapsed();
        if waited > FREEZE_DEADLINE {
            return Err(CgroupError::NotFrozen {
                path: PathBuf::from(directory),
                state: text.trim().replace('\n', ", "),
                waited_ms: waited.as_millis(),
            });
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}
