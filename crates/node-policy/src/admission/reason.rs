//! The reasons for which a pod is not taken on.

use serde::{Deserialize, Serialize};

/// Names the event, the `reason` of the status and a metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RejectionReason {
    OutOfCpu,
    OutOfMemory,
    OutOfEphemeralStorage,
    OutOfPods,
    SysctlForbidden,
    PodOsSelectorNodeLabelDoesNotMatch,
    PodOsNotSupported,
    NodeAffinity,
    NodePorts,
    /// Nobody can make enough room for a critical pod.
    UnexpectedAdmissionError,
}

impl RejectionReason {
    /// As the event and the status say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OutOfCpu => "OutOfcpu",
            Self::OutOfMemory => "OutOfmemory",
            Self::OutOfEphemeralStorage => "OutOfephemeral-storage",
            Self::OutOfPods => "OutOfpods",
            Self::SysctlForbidden => "SysctlForbidden",
            Self::PodOsSelectorNodeLabelDoesNotMatch => "PodOSSelectorNodeLabelDoesNotMatch",
            Self::PodOsNotSupported => "PodOSNotSupported",
            Self::NodeAffinity => "NodeAffinity",
            Self::NodePorts => "NodePorts",
            Self::UnexpectedAdmissionError => "UnexpectedAdmissionError",
        }
    }
    /// Label `reason` of `kubelet_admission_rejections_total`: a kubelet's list of known reasons lacks the scheduler's predicates.
    pub fn metric_label(self) -> &'static str {
        match self {
            Self::NodeAffinity | Self::NodePorts => "Other",
            _ => self.as_str(),
        }
    }
}
