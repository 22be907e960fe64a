//! The node's processes, found by what the kernel says of them: agent by its pid, keeper and containers by their cgroups.

use super::Node;
use crate::process;
use crate::wait::{seconds, wait_for, wait_until};
use std::process::ExitStatus;

impl Node {
    pub fn agent_pid(&self) -> Option<i32> {
        let agent = self.agent();
        agent
            .as_ref()
            .and_then(|child| i32::try_from(child.id()).ok())
    }

    /// How the agent ended, if it did. It is forgotten then.
    pub fn agent_ended(&self) -> Option<ExitStatus> {
        let mut agent = self.agent();
        let status = agent.as_mut()?.try_wait().ok().flatten()?;
        *agent = None;
        Some(status)
    }

    /// SIGKILL, and gone when this returns. Nothing is told to anybody.
    pub fn kill_agent(&self) {
        if let Some(mut child) = self.agent().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM, and its exit status.
    pub fn stop_agent(&self) -> ExitStatus {
        let pid = self.agent_pid().expect("the agent runs");
        process::send(pid, nix::sys::signal::Signal::SIGTERM);
        wait_for("the agent to end", seconds(20), || self.agent_ended())
    }

    pub fn restart_agent(&self) {
        self.kill_agent();
        self.start_agent();
    }

    /// All processes that belong to this node, its agent included.
    pub fn processes(&self) -> Vec<i32> {
        let mark = format!("CORACLE_TEST_NODE={}", self.temp().display());
        process::all()
            .into_iter()
            .filter(|pid| process::lives(*pid))
            .filter(|pid| {
                let in_cgroup = process::cgroups(*pid).iter().any(|path| {
                    path == &self.cgroup_root || path.starts_with(&format!("{}/", self.cgroup_root))
                });
                in_cgroup || has_environment(*pid, &mark)
            })
            .collect()
    }

    /// The keeper: the process of this node that is neither the agent nor in a pod's cgroup, and listens as `keeper`.
    pub fn keeper_pid(&self) -> Option<i32> {
        let run_dir = self.run_dir().to_string_lossy().into_owned();
        let agent = self.agent_pid();
        self.processes().into_iter().find(|pid| {
            Some(*pid) != agent
                && !process::cgroups(*pid)
                    .iter()
                    .any(|path| path.contains("/kubepods"))
                && is_keeper(&process::command_line(*pid), &run_dir)
        })
    }

    /// SIGKILL for the keeper, and gone when this returns.
    pub fn kill_keeper(&self) {
        let pid = self.keeper_pid().expect("a keeper runs");
        let start = process::start_time(pid);
        process::kill_hard(pid);
        wait_until("the keeper to be gone", seconds(10), || {
            !process::lives(pid) || process::start_time(pid) != start
        });
    }

    /// The process that is PID 1 of a container: the oldest in its cgroup.
    pub fn container_pid(&self, pod_uid: &str, container: &str) -> Option<i32> {
        let part = format!("pod{pod_uid}/{container}.");
        process::all()
            .into_iter()
            .filter(|pid| process::lives(*pid))
            .filter(|pid| {
                // another node of this machine may have a pod of this uid
                process::cgroups(*pid)
                    .iter()
                    .any(|path| path.contains(&part) && path.contains(&self.cgroup_root))
            })
            // one that ended a moment ago has no start any more
            .filter_map(|pid| process::start_time(pid).map(|start| (start, pid)))
            .min()
            .map(|(_, pid)| pid)
    }
}

fn is_keeper(words: &[String], run_dir: &str) -> bool {
    words.iter().any(|word| word == "keeper")
        && (words.iter().any(|word| word.contains(run_dir)) || words.len() <= 2)
}

fn has_environment(pid: i32, mark: &str) -> bool {
    std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|bytes| {
        bytes
            .split(|byte| *byte == 0)
            .any(|entry| entry == mark.as_bytes())
    })
}
