//! The numbers of one cgroup, whatever version of cgroups they are written to.

use crate::cpu::{self, DEFAULT_PERIOD_US, MIN_SHARES};
use crate::requests::{Resource, container_limit, container_request, pod_amounts};
use k8s_openapi::api::core::v1::{Container, PodSpec};
use pod_model::{QosClass, Quantity};

/// Processes and threads that a pod may have when nothing else is configured. A kubelet's default is no limit at all.
pub const DEFAULT_POD_PIDS_LIMIT: u64 = 4096;

/// What one cgroup is given. `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CgroupNumbers {
    /// As of cgroup v1, 2..=262144; see [`cpu::weight`] for v2.
    pub cpu_shares: u64,
    pub cpu_quota_us: Option<u64>,
    pub cpu_period_us: u64,
    pub memory_limit_bytes: Option<u64>,
    /// Memory of this cgroup may be swapped out. Never, unless the node is told so (`NoSwap` of the kubelet).
    pub swap: bool,
    pub pids_limit: Option<u64>,
    /// When the kernel kills one process for want of memory, it kills all of the cgroup (v2 only, as the kubelet since 1.28).
    pub oom_group: bool,
}

impl CgroupNumbers {
    /// Nothing asked for, nothing limited.
    pub const UNLIMITED: CgroupNumbers = CgroupNumbers {
        cpu_shares: MIN_SHARES,
        cpu_quota_us: None,
        cpu_period_us: DEFAULT_PERIOD_US,
        memory_limit_bytes: None,
        swap: true,
        pids_limit: None,
        oom_group: false,
    };
}

/// What all pods together may use of the machine: the `kubepods` cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeNumbers {
    /// Allocatable cpu in thousandths of a core.
    pub cpu_millis: u64,
    /// Allocatable memory; `None` sets no limit on all pods together.
    pub memory_limit_bytes: Option<u64>,
    pub pids_limit: Option<u64>,
}

impl NodeNumbers {
    pub fn cgroup_numbers(&self) -> CgroupNumbers {
        CgroupNumbers {
            cpu_shares: cpu::shares(Quantity::from_milli(i128::from(self.cpu_millis))),
            memory_limit_bytes: self.memory_limit_bytes,
            pids_limit: self.pids_limit,
            ..CgroupNumbers::UNLIMITED
        }
    }
}

/// Bytes of a limit; zero and less is none.
fn bytes(q: Quantity) -> Option<u64> {
    u64::try_from(q.value()).ok().filter(|b| *b > 0)
}

/// The cgroup of one container, as the kubelet's `calculateLinuxResources`.
pub fn container_numbers(container: &Container) -> CgroupNumbers {
    let cpu_limit = container_limit(container, Resource::Cpu);
    CgroupNumbers {
        cpu_shares: cpu::shares(container_request(container, Resource::Cpu).unwrap_or_default()),
        cpu_quota_us: cpu::quota_us(cpu_limit, DEFAULT_PERIOD_US),
        cpu_period_us: DEFAULT_PERIOD_US,
        memory_limit_bytes: container_limit(container, Resource::Memory).and_then(bytes),
        swap: false,
        pids_limit: None,
        oom_group: true,
    }
}

/// The cgroup of a pod, as the kubelet's `ResourceConfigForPod`: a pod is limited in a resource only when every container is.
pub fn pod_numbers(spec: &PodSpec, qos: QosClass, pids_limit: Option<u64>) -> CgroupNumbers {
    let (requests, limits) = pod_amounts(spec);
    let inits = spec.init_containers.as_deref().unwrap_or_default();
    let limited = |resource| {
        qos != QosClass::BestEffort
            && inits
                .iter()
                .chain(&spec.containers)
                .all(|c| container_limit(c, resource).is_some())
    };
    let cpu_limit = limited(Resource::Cpu).then_some(limits.cpu);
    let memory_limit = limited(Resource::Memory).then_some(limits.memory);
    CgroupNumbers {
        cpu_shares: match qos {
            QosClass::BestEffort => MIN_SHARES,
            _ => cpu::shares(requests.cpu),
        },
        cpu_quota_us: cpu::quota_us(cpu_limit, DEFAULT_PERIOD_US),
        memory_limit_bytes: memory_limit.and_then(bytes),
        pids_limit,
        ..CgroupNumbers::UNLIMITED
    }
}

/// `cpu.shares` of the two QoS tiers; Guaranteed pods stand directly under `kubepods`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TierShares {
    pub burstable: u64,
    pub besteffort: u64,
}

/// The tiers' shares for the pods that are on the node now: burstable has what its pods ask for together.
pub fn tier_shares<'a>(pods: impl IntoIterator<Item = (&'a PodSpec, QosClass)>) -> TierShares {
    let burstable = pods
        .into_iter()
        .filter(|(_, qos)| *qos == QosClass::Burstable)
        .map(|(spec, _)| pod_amounts(spec).0.cpu.milli())
        .fold(0i128, i128::saturating_add);
    TierShares {
        burstable: cpu::shares(Quantity::from_milli(burstable)),
        besteffort: MIN_SHARES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{container, pod};
    use crate::qos_class;

    fn numbers_of(spec: &PodSpec) -> CgroupNumbers {
        pod_numbers(spec, qos_class(spec), Some(DEFAULT_POD_PIDS_LIMIT))
    }

    #[test]
    fn a_container_gets_shares_from_its_request_and_a_quota_from_its_limit() {
        let c = container("a", &[("cpu", "250m")], &[("cpu", "1"), ("memory", "64Mi")]);
        let numbers = container_numbers(&c);
        assert_eq!(numbers.cpu_shares, 256);
        assert_eq!(numbers.cpu_quota_us, Some(100_000));
        assert_eq!(numbers.memory_limit_bytes, Some(64 << 20));
        assert!(!numbers.swap);
        let nothing = container_numbers(&container("b", &[], &[]));
        assert_eq!(nothing.cpu_shares, 2);
        assert_eq!(
            (nothing.cpu_quota_us, nothing.memory_limit_bytes),
            (None, None)
        );
    }

    #[test]
    fn a_pod_is_limited_only_in_what_every_container_limits() {
        let one = container("a", &[], &[("cpu", "1"), ("memory", "64Mi")]);
        let other = container("b", &[], &[("memory", "32Mi")]);
        let spec = pod(&[], &[one.clone(), other]);
        let numbers = numbers_of(&spec);
        assert_eq!(numbers.memory_limit_bytes, Some(96 << 20));
        assert_eq!(numbers.cpu_quota_us, None, "b has no cpu limit");
        assert_eq!(numbers.pids_limit, Some(4096));

        let with_init = pod(&[container("i", &[], &[])], &[one]);
        assert_eq!(numbers_of(&with_init).memory_limit_bytes, None);
    }

    #[test]
    fn a_best_effort_pod_has_the_least_share_and_no_limits_but_pids() {
        let numbers = numbers_of(&pod(&[], &[container("a", &[], &[])]));
        assert_eq!(
            numbers,
            CgroupNumbers {
                pids_limit: Some(4096),
                ..CgroupNumbers::UNLIMITED
            }
        );
    }

    #[test]
    fn the_burstable_tier_has_the_shares_of_its_pods_together() {
        let burstable = pod(&[], &[container("a", &[("cpu", "500m")], &[])]);
        let idle = pod(&[], &[container("a", &[], &[])]);
        let pods = [
            (&burstable, QosClass::Burstable),
            (&burstable, QosClass::Burstable),
            (&idle, QosClass::BestEffort),
        ];
        assert_eq!(
            tier_shares(pods),
            TierShares {
                burstable: 1024,
                besteffort: 2
            }
        );
        assert_eq!(tier_shares([]).burstable, 2);
    }
}
