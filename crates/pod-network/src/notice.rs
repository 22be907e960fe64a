//! What this machine cannot do, or what was found broken, in words for a person.

use pod_model::PodUid;
use std::fmt;

/// Something that the person who runs this node should know; said once, by whoever started the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// No masquerade and no host ports: pods reach each other and the host only.
    NoFirewall { problem: String },
    /// Another network of this machine has addresses of the pod CIDR.
    CidrOverlaps { network: String },
    /// Moved aside; the pod keeps its slot if the slot's directory names it.
    LeaseUnreadable {
        slot: String,
        problem: String,
        pod: Option<PodUid>,
    },
    /// The lease is there, the namespaces are not: the pod needs a new sandbox.
    SandboxLost { pod: PodUid },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFirewall { problem } => write!(
                f,
                "the kernel has no nf_tables with NAT ({problem}): pods reach each other and this machine, but not the outside, and pods with host ports fail"
            ),
            Self::CidrOverlaps { network } => write!(
                f,
                "{network} overlaps with the pod CIDR: some pod addresses may be unreachable; give this node another pod CIDR"
            ),
            Self::LeaseUnreadable { slot, problem, pod } => {
                write!(
                    f,
                    "the lease of network slot {slot} was unreadable ({problem}) and moved aside"
                )?;
                match pod {
                    Some(pod) => write!(f, "; rebuilt for pod {pod}"),
                    None => write!(f, "; its slot is removed"),
                }
            }
            Self::SandboxLost { pod } => write!(f, "the network namespaces of pod {pod} are gone"),
        }
    }
}
