//! Who dies first when the whole machine is out of memory.

use crate::requests::{Resource, container_request};
use k8s_openapi::api::core::v1::Container;
use pod_model::{QosClass, Quantity};

const GUARANTEED: i32 = -997;
const BEST_EFFORT: i32 = 1000;

/// What the score depends on besides the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OomFacts {
    pub qos: QosClass,
    /// `priorityClassName: system-node-critical`.
    pub node_critical: bool,
    /// Of the machine, not only what is allocatable.
    pub memory_capacity_bytes: u64,
}

/// `oom_score_adj` of a container's processes, as the kubelet: Guaranteed and node-critical -997, BestEffort 1000, and Burstable the less
/// the more of the machine's memory it asked for, within 3..=999.
pub fn oom_score_adj(container: &Container, facts: &OomFacts) -> i32 {
    if facts.node_critical {
        return GUARANTEED;
    }
    match facts.qos {
        QosClass::Guaranteed => GUARANTEED,
        QosClass::BestEffort => BEST_EFFORT,
        QosClass::Burstable => {
            let request = container_request(container, Resource::Memory).map_or(0, Quantity::value);
            let capacity = i128::from(facts.memory_capacity_bytes.max(1));
            let score = 1000 - request.saturating_mul(1000) / capacity;
            let least = i128::from(1000 + GUARANTEED);
            i32::try_from(score.clamp(least, i128::from(BEST_EFFORT - 1))).unwrap_or(BEST_EFFORT)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::container;

    #[test]
    fn the_score_is_the_one_a_kubelet_sets() {
        let with = |memory: &str| container("a", &[("memory", memory)], &[]);
        let facts = |qos| OomFacts {
            qos,
            node_critical: false,
            memory_capacity_bytes: 4 << 30,
        };
        for (container, qos, expected) in [
            (with("1Gi"), QosClass::Guaranteed, -997),
            (with("1Gi"), QosClass::BestEffort, 1000),
            (with("1Gi"), QosClass::Burstable, 750),
            (with("4Gi"), QosClass::Burstable, 3),
            (with("100Gi"), QosClass::Burstable, 3),
            (with("1"), QosClass::Burstable, 999),
            (container("n", &[], &[]), QosClass::Burstable, 999),
        ] {
            assert_eq!(oom_score_adj(&container, &facts(qos)), expected, "{qos:?}");
        }
        let critical = OomFacts {
            node_critical: true,
            ..facts(QosClass::BestEffort)
        };
        assert_eq!(oom_score_adj(&with("1Gi"), &critical), -997);
    }
}
