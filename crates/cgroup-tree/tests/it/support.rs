//! A tree of its own per test, processes in it, waiting on predicates.

use cgroup_tree::{CgroupTree, Placement};
use node_policy::{CgroupNumbers, NodeNumbers};
use pod_model::{Attempt, ContainerKey, ContainerName, PodUid};
use std::collections::BTreeSet;
use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub(crate) type Answer = Result<(), Box<dyn Error>>;

/// Skips the test where it cannot run; in CI that is a failure.
pub(crate) fn can_run() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        assert!(
            std::env::var_os("CI").is_none(),
            "CI must run the tests of cgroups as root"
        );
        let _ = writeln!(std::io::stderr(), "skipped: making cgroups needs root");
    }
    root
}

/// Removes what a test made, whatever became of it.
pub(crate) struct Node {
    pub(crate) tree: CgroupTree,
    children: Vec<Child>,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

pub(crate) const NUMBERS: NodeNumbers = NodeNumbers {
    cpu_millis: 2000,
    memory_limit_bytes: None,
    pids_limit: None,
};

impl Node {
    pub(crate) fn new() -> Result<Self, Box<dyn Error>> {
        let root = format!(
            "/coracle-test-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let node = Self {
            tree: CgroupTree::detect(&root)?,
            children: Vec::new(),
        };
        node.tree.create_node_level(&NUMBERS)?;
        Ok(node)
    }

    /// A shell that enters the placement by itself, as a container does, and then runs the script.
    pub(crate) fn run(
        &mut self,
        placement: &Placement,
        script: &str,
    ) -> Result<u32, Box<dyn Error>> {
        let enter: String = files_to_enter(placement)
            .iter()
            .map(|f| format!("echo 0 > '{}' && ", f.display()))
            .collect();
        let child = Command::new("sh")
            .args(["-c", &format!("{enter} {{ {script}\n}}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let pid = child.id();
        self.children.push(child);
        Ok(pid)
    }

    /// Waits for a process of `run`; its code, or 128 + signal.
    pub(crate) fn exit_of(&mut self, pid: u32) -> Result<i32, Box<dyn Error>> {
        use std::os::unix::process::ExitStatusExt;
        let child = self
            .children
            .iter_mut()
            .find(|c| c.id() == pid)
            .ok_or("no such child")?;
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = child.try_wait()? {
                let signal = status.signal().map(|s| 128 + s);
                return Ok(status.code().or(signal).unwrap_or(-1));
            }
            if Instant::now() > deadline {
                return Err(format!("process {pid} does not end").into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.tree.sweep(&BTreeSet::new());
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = self.tree.sweep(&BTreeSet::new());
        let _ = self.tree.remove_all();
    }
}

fn files_to_enter(placement: &Placement) -> Vec<PathBuf> {
    match placement {
        Placement::V1 { directories } => directories.iter().map(|d| d.join("tasks")).collect(),
        // a shell cannot be cloned into a cgroup; only tests enter so
        Placement::V2 { directory } => vec![directory.join("cgroup.procs")],
    }
}

pub(crate) fn directories(placement: &Placement) -> Vec<PathBuf> {
    match placement {
        Placement::V1 { directories } => directories.clone(),
        Placement::V2 { directory } => vec![directory.clone()],
    }
}

/// The text of a control file in whichever directory of the placement has it.
pub(crate) fn control(placement: &Placement, v1: &str, v2: &str) -> Option<String> {
    let name = match placement {
        Placement::V1 { .. } => v1,
        Placement::V2 { .. } => v2,
    };
    directories(placement)
        .iter()
        .find_map(|d| std::fs::read_to_string(d.join(name)).ok())
        .map(|t| t.trim().to_owned())
}

pub(crate) fn uid(text: &str) -> Result<PodUid, Box<dyn Error>> {
    Ok(PodUid::new(text)?)
}

pub(crate) fn key(uid: &PodUid, name: &str) -> Result<ContainerKey, Box<dyn Error>> {
    Ok(ContainerKey::new(
        uid.clone(),
        ContainerName::new(name)?,
        Attempt(0),
    ))
}

pub(crate) fn limits() -> CgroupNumbers {
    CgroupNumbers {
        cpu_shares: 512,
        cpu_quota_us: Some(50_000),
        memory_limit_bytes: Some(32 << 20),
        pids_limit: Some(64),
        swap: false,
        oom_group: true,
        ..CgroupNumbers::UNLIMITED
    }
}

/// Waits until something is so.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) -> Answer {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !so() {
        if Instant::now() > deadline {
            return Err(format!("it never came true that {what}").into());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

pub(crate) fn none_exists(directories: &[PathBuf]) -> bool {
    !directories.iter().any(|d| Path::new(d).exists())
}
