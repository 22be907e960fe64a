//! What the node says about itself; the same for all its pods.

use node_policy::admission::AdmittingNode;
use std::time::Duration;

/// A kubelet's `initialCrashLoopBackOff` and `imageBackOffPeriod`.
const FIRST_BACK_OFF: Duration = Duration::from_secs(10);
/// A kubelet's `MaxContainerBackOff` and `MaxImageBackOff`.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What new pods are judged by.
    pub node: AdmittingNode,
    /// The node's addresses, the preferred one first; at most two are reported.
    pub host_ips: Vec<String>,
    /// `crashLoopBackOff.maxContainerRestartPeriod`: no crashing container waits longer than this. Taken as 1 s to 300 s.
    pub max_container_restart_period: Duration,
    /// How many actions of the kernel stage (prepare, start, remove, undo, forget) run at once. At least 1; about twice the cores.
    pub kernel_slots: usize,
    /// How many images are pulled at once; at least 1. Looking whether an image is present is not counted.
    pub max_parallel_image_pulls: usize,
    /// Check every step against the invariants; what they say comes out of [`NodeCore::poll_violation`](crate::NodeCore::poll_violation).
    pub check: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            node: AdmittingNode::boundless(),
            host_ips: Vec::new(),
            max_container_restart_period: LONGEST_BACK_OFF,
            kernel_slots: 4,
            max_parallel_image_pulls: 5,
            check: false,
        }
    }
}

impl Settings {
    pub(crate) fn longest_crash_back_off(&self) -> Duration {
        self.max_container_restart_period
            .clamp(Duration::from_secs(1), LONGEST_BACK_OFF)
    }
    /// Shorter than 10 s only where no wait may be as long as that.
    pub(crate) fn first_crash_back_off(&self) -> Duration {
        FIRST_BACK_OFF.min(self.longest_crash_back_off())
    }
}
