//! The QoS class.

use crate::requests::{Resource, container_limit, container_request};
use k8s_openapi::api::core::v1::PodSpec;
use pod_model::{QosClass, Quantity};

/// As the kubelet's `ComputePodQOS`: over cpu and memory of all containers, init containers too. Guaranteed when every container has
/// limits for both and the sums of requests and limits agree; BestEffort when nobody asks for anything; else Burstable.
pub fn qos_class(spec: &PodSpec) -> QosClass {
    let mut requests = [0i128; 2];
    let mut limits = [0i128; 2];
    let mut all_limited = true;
    let inits = spec.init_containers.as_deref().unwrap_or_default();
    for container in inits.iter().chain(&spec.containers) {
        for (index, resource) in Resource::ALL.into_iter().enumerate() {
            let milli = |q: Option<Quantity>| q.map_or(0, Quantity::milli);
            let limit = container_limit(container, resource);
            all_limited &= limit.is_some();
            requests[index] += milli(container_request(container, resource));
            limits[index] += milli(limit);
        }
    }
    if requests == [0, 0] && limits == [0, 0] {
        QosClass::BestEffort
    } else if all_limited && requests == limits {
        QosClass::Guaranteed
    } else {
        QosClass::Burstable
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{container, pod};

    #[test]
    fn the_class_is_the_one_a_kubelet_gives() {
        let both = [("cpu", "1"), ("memory", "1Gi")];
        let none = || container("n", &[], &[]);
        let full = || container("f", &both, &both);
        let limits_only = || container("l", &[], &both);
        let cases = [
            (pod(&[], &[none()]), QosClass::BestEffort),
            (
                pod(&[], &[container("z", &[("cpu", "0")], &[])]),
                QosClass::BestEffort,
            ),
            (pod(&[], &[full()]), QosClass::Guaranteed),
            (pod(&[], &[limits_only()]), QosClass::Guaranteed),
            (pod(&[], &[full(), none()]), QosClass::Burstable),
            (pod(&[none()], &[full()]), QosClass::Burstable),
            (pod(&[full()], &[none()]), QosClass::Burstable),
            (
                pod(&[], &[container("r", &[("memory", "1Mi")], &[])]),
                QosClass::Burstable,
            ),
            (
                pod(&[], &[container("c", &[("cpu", "1")], &[("cpu", "1")])]),
                QosClass::Burstable,
            ),
            (
                pod(&[], &[container("d", &[("cpu", "500m")], &both)]),
                QosClass::Burstable,
            ),
            (
                pod(&[], &[container("e", &[("example.com/gpu", "1")], &[])]),
                QosClass::BestEffort,
            ),
            (
                pod(
                    &[],
                    &[container(
                        "same",
                        &[("cpu", "1000m"), ("memory", "1024Mi")],
                        &both,
                    )],
                ),
                QosClass::Guaranteed,
            ),
        ];
        for (spec, class) in cases {
            assert_eq!(qos_class(&spec), class, "{:?}", spec.containers);
        }
    }
}
