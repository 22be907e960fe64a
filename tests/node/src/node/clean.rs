//! Taking a node away, in whatever state it is.

use super::Node;
use crate::process;
use std::time::{Duration, Instant};

impl Node {
    /// Kills what belongs to the node and removes its cgroups; mounts and links die with the sandbox, files with the directory.
    pub(super) fn clean(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        self.kill_agent();
        loop {
            let left = self.processes();
            for pid in &left {
                process::kill_hard(*pid);
            }
            if left.is_empty() || Instant::now() > deadline {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // A cgroup can be removed a moment after its last process was reaped.
        loop {
            let mut left = false;
            for directory in process::cgroup_directories(&self.cgroup_root) {
                left |= std::fs::remove_dir(&directory).is_err() && directory.exists();
            }
            if !left || Instant::now() > deadline {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
