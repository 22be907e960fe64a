//! What a pod means to this node: whether it is taken on, its QoS class, the numbers of its cgroups, its OOM score, and what it may not do
//! to the disk.
//!
//! Pure: a pod and facts of the node go in, numbers come out. No file of the kernel is known here; `cgroup-tree` writes the numbers.
//! What each function computes is what the kubelet computes (`pkg/apis/core/v1/helper/qos`, `pkg/kubelet/cm/helpers_linux.go`,
//! `pkg/kubelet/qos/policy.go`, `k8s.io/component-helpers/resource`), so that a pod moves between the two and keeps its share.
//!
//! | module | holds |
//! |---|---|
//! | [`admission`] | whether the node takes a pod on, and who makes room for it |
//! | [`qos`] | [`qos_class`] |
//! | [`requests`] | what a container and a pod ask for and may use, init containers counted |
//! | [`cpu`] | millicores → shares, weight, quota |
//! | [`numbers`] | [`CgroupNumbers`] of a container, a pod, a QoS tier and the node |
//! | [`oom`] | [`oom_score_adj`] |
//! | [`disk`] | who holds more disk space than he may |
//!
//! What it deliberately does not know: hugepages and other resources than cpu, memory and disk space (refused by validation).

pub mod admission;
pub mod cpu;
pub mod disk;
pub mod numbers;
pub mod oom;
pub mod qos;
pub mod requests;

pub use disk::{ContainerDisk, DiskExcess, DiskLimits, DiskUse, disk_excess};
pub use numbers::{
    CgroupNumbers, DEFAULT_POD_PIDS_LIMIT, NodeNumbers, TierShares, container_numbers, pod_numbers,
    tier_shares,
};
pub use oom::{OomFacts, oom_score_adj};
pub use qos::qos_class;
pub use requests::{
    Amounts, Resource, container_limit, container_request, pod_amounts, pod_request,
};

#[cfg(test)]
mod fixtures;
