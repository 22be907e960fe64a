//! Whether the node takes a pod on, as a kubelet 1.36 decides it before anything is done for the pod.
//!
//! ```text
//!  sysctls ──► operating system ──► fits? ──► labels, ports ──► AppArmor ──► Admitted
//!     │               │               │            │                │
//!     └───────────────┴──── no ───────┼────────────┴────────────────┴─► Rejected
//!                                     └─ no, and only that, and the pod is critical
//!                                              └─► other pods make room: Preempts, else Rejected
//! ```
//!
//! Source: the admit handlers in `pkg/kubelet/kubelet.go`, `pkg/kubelet/lifecycle/predicate.go`, `AdmissionCheck` in
//! `pkg/scheduler/eventhandlers.go`. Taints, volume limits, topology and devices are not here: a node without an API server has none.
//!
//! | module | holds |
//! |---|---|
//! | `fit` | what the pods ask for, and whether it is there |
//! | `labels` | node selectors and required node affinity |
//! | `ports` | ports of the host that two pods want |
//! | `preemption` | who makes room for a critical pod |
//! | `reason` | [`RejectionReason`] |
//! | `sysctls` | [`SysctlAllowList`] |

mod fit;
mod labels;
mod ports;
mod preemption;
mod reason;
mod sysctls;

pub use fit::{Allocatable, Counted, Requests};
pub use preemption::is_critical;
pub use reason::RejectionReason;
pub use sysctls::{SysctlAllowList, SysctlError, SysctlNamespace, dotted, namespace};

use pod_model::{AdmittedPod, PodUid};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const LABEL_OS: &str = "kubernetes.io/os";
/// The operating system of every node of this agent, as Go names it.
const OS: &str = "linux";

/// What admission asks of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmittingNode {
    /// `metadata.name`
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub allocatable: Allocatable,
    pub sysctls: SysctlAllowList,
}

impl AdmittingNode {
    /// A node that has room for everything, and no labels but that of its operating system.
    pub fn boundless() -> Self {
        Self {
            name: String::new(),
            labels: BTreeMap::from([(LABEL_OS.to_owned(), OS.to_owned())]),
            allocatable: Allocatable::BOUNDLESS,
            sysctls: SysctlAllowList::default(),
        }
    }

    /// The labels that a kubelet gives its node by itself. `arch` as Go names it: `amd64`, `arm64`.
    pub fn own_labels(hostname: &str, arch: &str) -> BTreeMap<String, String> {
        [
            ("kubernetes.io/hostname", hostname),
            (LABEL_OS, OS),
            ("kubernetes.io/arch", arch),
            ("beta.kubernetes.io/os", OS),
            ("beta.kubernetes.io/arch", arch),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }
}

/// Why the node does not take a pod on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    pub reason: RejectionReason,
    /// As the event says it.
    pub message: String,
}

impl Rejection {
    fn new(reason: RejectionReason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
    /// `message` of the pod's status.
    pub fn status_message(&self) -> String {
        format!("Pod was rejected: {}", self.message)
    }
}

/// What comes of a new pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Admitted,
    Rejected(Rejection),
    /// Admitted, and these pods end for it first.
    Preempts {
        victims: Vec<PodUid>,
        /// What there was too little of: label `preemption_signal` of `kubelet_preemptions`.
        signal: &'static str,
    },
}

/// Judges `pod`. `used` is what the pods ask for that hold resources of the node, and `others` names them, in any order that does not
/// change from call to call: asked only of a pod that wants a port of the host, or that others have to make room for.
pub fn admit<'a>(
    pod: &AdmittedPod,
    node: &AdmittingNode,
    used: &Requests,
    others: impl Fn() -> Vec<&'a AdmittedPod>,
) -> Verdict {
    let without_room = [forbidden_sysctl(pod, node), wrong_os(pod)];
    if let Some(rejection) = without_room.into_iter().flatten().next() {
        return Verdict::Rejected(rejection);
    }
    let shortages = fit::shortages(pod, &node.allocatable, used);
    let mismatch = mismatch(pod, node, &others);
    match (shortages.first(), mismatch) {
        (None, None) => Verdict::Admitted,
        // a critical pod is not refused for want of room if there is another reason
        (Some(first), None) if is_critical(pod) => {
            preemption::verdict(pod, &others(), &shortages, first.what)
        }
        (Some(first), mismatch) => match mismatch.filter(|_| is_critical(pod)) {
            Some(rejection) => Verdict::Rejected(rejection),
            None => Verdict::Rejected(first.rejection()),
        },
        (None, Some(rejection)) => Verdict::Rejected(rejection),
    }
}

fn forbidden_sysctl(pod: &AdmittedPod, node: &AdmittingNode) -> Option<Rejection> {
    let context = pod.spec().security_context.as_ref()?;
    let wrong = context.sysctls.iter().flatten().find_map(|sysctl| {
        node.sysctls
            .check(&sysctl.name, pod.host_network(), pod.host_ipc())
            .err()
    })?;
    let message = format!("forbidden sysctl: {wrong}");
    Some(Rejection::new(RejectionReason::SysctlForbidden, message))
}

/// A label of the pod, not its selector: a kubelet's `rejectPodAdmissionBasedOnOSSelector` looks there.
fn wrong_os(pod: &AdmittedPod) -> Option<Rejection> {
    let labels = pod.pod().metadata.labels.as_ref();
    if labels
        .and_then(|labels| labels.get(LABEL_OS))
        .is_some_and(|os| os != OS)
    {
        return Some(Rejection::new(
            RejectionReason::PodOsSelectorNodeLabelDoesNotMatch,
            "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label",
        ));
    }
    let os = pod.spec().os.as_ref()?;
    (os.name != OS).then(|| {
        Rejection::new(
            RejectionReason::PodOsNotSupported,
            "Failed to admit pod as the OS field doesn't match node OS",
        )
    })
}

/// What no pod that makes room would mend.
fn mismatch<'a>(
    pod: &AdmittedPod,
    node: &AdmittingNode,
    others: impl Fn() -> Vec<&'a AdmittedPod>,
) -> Option<Rejection> {
    let predicate = |reason: RejectionReason, why: &str| {
        Rejection::new(
            reason,
            format!("Predicate {} failed: {why}", reason.as_str()),
        )
    };
    if !labels::match_node(pod.spec(), node) {
        let why = "node(s) didn't match Pod's node affinity/selector";
        return Some(predicate(RejectionReason::NodeAffinity, why));
    }
    if ports::wants_any(pod) && ports::conflict(pod, &others()) {
        let why = "node(s) didn't have free ports for the requested pod ports";
        return Some(predicate(RejectionReason::NodePorts, why));
    }
    None
}

#[cfg(test)]
mod tests;
