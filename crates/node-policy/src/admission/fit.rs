//! Whether what a pod asks for is there. As the scheduler's `noderesources.Fits`, which a kubelet calls too.

use super::{Rejection, RejectionReason};
use crate::requests::pod_request;
use k8s_openapi::api::core::v1::PodSpec;
use pod_model::AdmittedPod;

/// What the node counts, in the order in which a shortage is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counted {
    Pods,
    Cpu,
    Memory,
    EphemeralStorage,
}

impl Counted {
    const ALL: [Self; 4] = [Self::Pods, Self::Cpu, Self::Memory, Self::EphemeralStorage];

    /// The name of the resource.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::EphemeralStorage => "ephemeral-storage",
        }
    }
    fn reason(self) -> RejectionReason {
        match self {
            Self::Pods => RejectionReason::OutOfPods,
            Self::Cpu => RejectionReason::OutOfCpu,
            Self::Memory => RejectionReason::OutOfMemory,
            Self::EphemeralStorage => RejectionReason::OutOfEphemeralStorage,
        }
    }
    /// What the pod asks for, in the unit of the resource: pods, thousandths of a core, bytes.
    pub(super) fn asked_by(self, spec: &PodSpec) -> i64 {
        let amount = match self {
            Self::Pods => return 1,
            Self::Cpu => pod_request(spec, self.name()).milli(),
            Self::Memory | Self::EphemeralStorage => pod_request(spec, self.name()).value(),
        };
        i64::try_from(amount).unwrap_or(i64::MAX)
    }
}

/// What the node has for all its pods together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allocatable {
    pub pods: i64,
    pub cpu_millis: i64,
    pub memory_bytes: i64,
    pub ephemeral_bytes: i64,
}

impl Allocatable {
    pub const BOUNDLESS: Self = Self {
        pods: i64::MAX,
        cpu_millis: i64::MAX,
        memory_bytes: i64::MAX,
        ephemeral_bytes: i64::MAX,
    };

    fn of(&self, what: Counted) -> i64 {
        match what {
            Counted::Pods => self.pods,
            Counted::Cpu => self.cpu_millis,
            Counted::Memory => self.memory_bytes,
            Counted::EphemeralStorage => self.ephemeral_bytes,
        }
    }
}

/// What a pod asks for, or several together, of each thing that the node counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Requests([i128; Counted::ALL.len()]);

impl Requests {
    pub fn of(pod: &AdmittedPod) -> Self {
        Self(Counted::ALL.map(|what| i128::from(what.asked_by(pod.spec()))))
    }
    pub fn add(&mut self, other: Self) {
        for (own, other) in self.0.iter_mut().zip(other.0) {
            *own += other;
        }
    }
    /// Takes away what was added before.
    pub fn remove(&mut self, other: Self) {
        for (own, other) in self.0.iter_mut().zip(other.0) {
            *own -= other;
        }
    }
    /// In the unit of the resource.
    fn amount(&self, what: Counted) -> i64 {
        i64::try_from(self.0[what as usize]).unwrap_or(i64::MAX)
    }
}

/// Too little of something, in its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shortage {
    pub(super) what: Counted,
    requested: i64,
    used: i64,
    capacity: i64,
}

impl Shortage {
    /// How much has to become free.
    pub(super) fn missing(&self) -> i64 {
        let free = self.capacity.saturating_sub(self.used);
        self.requested.saturating_sub(free)
    }
    pub(super) fn rejection(&self) -> Rejection {
        let message = format!(
            "Node didn't have enough resource: {}, requested: {}, used: {}, capacity: {}",
            self.what.name(),
            self.requested,
            self.used,
            self.capacity
        );
        Rejection::new(self.what.reason(), message)
    }
}

/// Everything that there is too little of. Who asks for nothing of a resource does not lack it, however short it is.
pub(super) fn shortages(
    pod: &AdmittedPod,
    allocatable: &Allocatable,
    used: &Requests,
) -> Vec<Shortage> {
    let requests = Requests::of(pod);
    let shortage = |what: Counted| {
        let (requested, used) = (requests.amount(what), used.amount(what));
        let capacity = allocatable.of(what);
        let is_short = requested > 0 && requested > capacity.saturating_sub(used);
        is_short.then_some(Shortage {
            what,
            requested,
            used,
            capacity,
        })
    };
    Counted::ALL.into_iter().filter_map(shortage).collect()
}
