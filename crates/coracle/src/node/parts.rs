//! What the node is made of, once it is built.

use cgroup_tree::CgroupTree;
use container_host::{ContainerHost, HostPaths};
use image_store::ImageStore;
use launch_plan::NodeFacts;
use pod_model::Now;
use pod_network::{NodeDns, PodNetwork};
use pod_volumes::PodVolumes;
use pod_worker::Board;
use std::sync::Arc;
use telemetry::NodeMetrics;

/// The kernel crates, the facts that go with them, and what is told to everybody. Built once, never changed.
pub(crate) struct Parts {
    pub(crate) paths: HostPaths,
    pub(crate) cgroups: Arc<CgroupTree>,
    pub(crate) network: PodNetwork,
    pub(crate) volumes: PodVolumes,
    pub(crate) images: ImageStore,
    pub(crate) host: ContainerHost,
    pub(crate) programs: super::seccomp::Programs,
    pub(crate) board: Board,
    pub(crate) node: NodeFacts,
    pub(crate) dns: NodeDns,
    pub(crate) pod_pids_limit: Option<u64>,
    pub(crate) log_max_bytes: u64,
    pub(crate) log_max_files: u32,
    /// Of the cgroup beside `kubepods` that the keeper is in.
    pub(crate) keeper_cgroup: String,
    pub(crate) now: fn() -> Now,
    pub(crate) metrics: Arc<NodeMetrics>,
}

/// Both clocks of the machine.
pub(crate) fn now() -> Now {
    Now {
        mono: pod_model::MonoTime(linux_sys::clock::boottime_nanos()),
        wall: pod_model::WallTime(linux_sys::clock::realtime_nanos()),
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct SystemClock;

impl pod_worker::Clock for SystemClock {
    fn now(&self) -> Now {
        now()
    }
}
