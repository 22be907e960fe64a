//! What a container and a pod ask for (requests) and may use (limits).

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use pod_model::Quantity;

/// The resources that cgroups and QoS know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    Cpu,
    Memory,
}

impl Resource {
    pub const ALL: [Resource; 2] = [Resource::Cpu, Resource::Memory];

    /// The key in `resources.requests` and `resources.limits`.
    pub fn name(self) -> &'static str {
        match self {
            Resource::Cpu => "cpu",
            Resource::Memory => "memory",
        }
    }
}

/// Zero and an unparsable text (which validation refuses) count as not given, as in the kubelet.
fn listed(
    resources: Option<&ResourceRequirements>,
    limits: bool,
    resource: &str,
) -> Option<Quantity> {
    let resources = resources?;
    let list = if limits {
        resources.limits.as_ref()
    } else {
        resources.requests.as_ref()
    };
    Quantity::parse(&list?.get(resource)?.0)
        .ok()
        .filter(|q| q.milli() > 0)
}

/// The limit, `None` when there is none.
pub fn container_limit(container: &Container, resource: Resource) -> Option<Quantity> {
    listed(container.resources.as_ref(), true, resource.name())
}

/// The request; a missing one is the limit, as the API's defaulting has it.
pub fn container_request(container: &Container, resource: Resource) -> Option<Quantity> {
    request(container, resource.name())
}

fn request(container: &Container, resource: &str) -> Option<Quantity> {
    let resources = container.resources.as_ref();
    let given = resources
        .and_then(|r| r.requests.as_ref())
        .is_some_and(|r| r.contains_key(resource));
    if given {
        listed(resources, false, resource)
    } else {
        listed(resources, true, resource)
    }
}

/// Sums over a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amounts {
    pub cpu: Quantity,
    pub memory: Quantity,
}

fn add(a: Quantity, b: Quantity) -> Quantity {
    Quantity::from_milli(a.milli().saturating_add(b.milli()))
}

/// Whether an init container goes on beside what follows it.
pub(crate) fn is_sidecar(init: &Container) -> bool {
    init.restart_policy.as_deref() == Some("Always")
}

/// A pod's requests and limits, see `over_containers`. A resource that no container limits has the limit zero here; see
/// [`crate::pod_numbers`] for what that means.
pub fn pod_amounts(spec: &PodSpec) -> (Amounts, Amounts) {
    let amounts = |amount: fn(&Container, Resource) -> Option<Quantity>| Amounts {
        cpu: over_containers(spec, |c| amount(c, Resource::Cpu)),
        memory: over_containers(spec, |c| amount(c, Resource::Memory)),
    };
    (amounts(container_request), amounts(container_limit))
}

/// What a pod asks for of one resource by its name, with what its runtime class costs: the scheduler's `PodRequests`.
pub fn pod_request(spec: &PodSpec, resource: &str) -> Quantity {
    let overhead = spec.overhead.as_ref().and_then(|list| list.get(resource));
    let overhead = overhead.and_then(|amount| Quantity::parse(&amount.0).ok());
    let asked = over_containers(spec, |container| request(container, resource));
    add(asked, overhead.unwrap_or_default())
}

/// Main containers and sidecars run together, so they add up; init containers run one after the other before them, each beside the
/// sidecars that stand before it, so the greatest counts.
fn over_containers(spec: &PodSpec, amount: impl Fn(&Container) -> Option<Quantity>) -> Quantity {
    let of = |container: &Container| amount(container).unwrap_or_default();
    let (mut sidecars, mut starting) = (Quantity::default(), Quantity::default());
    for init in spec.init_containers.iter().flatten() {
        let together = add(sidecars, of(init));
        starting = starting.max(together);
        if is_sidecar(init) {
            sidecars = together;
        }
    }
    let main = spec.containers.iter().map(of);
    main.fold(sidecars, add).max(starting)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{container, pod};

    #[test]
    fn a_pod_asks_for_the_sum_of_its_containers_or_for_its_greatest_init_container() {
        let spec = pod(
            &[
                container("i1", &[("cpu", "3")], &[]),
                container("i2", &[("memory", "10Mi")], &[]),
            ],
            &[
                container("a", &[("cpu", "1"), ("memory", "64Mi")], &[("cpu", "2")]),
                container("b", &[("cpu", "500m")], &[("cpu", "500m")]),
            ],
        );
        let (requests, limits) = pod_amounts(&spec);
        assert_eq!(requests.cpu.milli(), 3000, "the init container's");
        assert_eq!(requests.memory.value(), 64 << 20, "the sum");
        assert_eq!(limits.cpu.milli(), 2500);
        assert_eq!(limits.memory.value(), 0);
    }

    #[test]
    fn sidecars_add_to_what_runs_beside_them() {
        let sidecar = |name: &str, cpu: &str| Container {
            restart_policy: Some("Always".to_owned()),
            ..container(name, &[("cpu", cpu)], &[])
        };
        let init = |cpu: &str| container("i", &[("cpu", cpu)], &[]);
        let main = [container("a", &[("cpu", "2")], &[])];
        let asked = |inits: &[Container]| pod_amounts(&pod(inits, &main)).0.cpu.milli();
        assert_eq!(asked(&[sidecar("s", "1"), sidecar("t", "1")]), 4000);
        assert_eq!(asked(&[sidecar("s", "1"), init("5")]), 6000, "beside it");
        assert_eq!(asked(&[init("5"), sidecar("s", "1")]), 5000, "before it");
    }

    #[test]
    fn a_missing_request_is_the_limit_and_an_explicit_zero_is_not() {
        let missing = container("a", &[], &[("cpu", "2")]);
        assert_eq!(
            container_request(&missing, Resource::Cpu).map(Quantity::milli),
            Some(2000)
        );
        let zero = container("a", &[("cpu", "0")], &[("cpu", "2")]);
        assert_eq!(container_request(&zero, Resource::Cpu), None);
    }
}
