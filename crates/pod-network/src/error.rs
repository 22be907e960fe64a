//! What can go wrong, whose fault it is, and whether trying again may help.

use crate::config::{Cidr, HostPort};
use crate::sysctls::Sysctl;
use pod_model::{Fault, PodUid};
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("cannot {what} {path}")]
    Files {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot create new {what} namespaces for a pod")]
    Namespaces {
        what: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("cannot enter the pod's namespaces")]
    Enter {
        #[source]
        source: io::Error,
    },
    #[error("the kernel refuses sysctl {} the value {:?}", .sysctl.path, .sysctl.value)]
    Sysctl {
        sysctl: Sysctl,
        #[source]
        source: io::Error,
    },
    #[error("cannot open a netlink socket")]
    Socket {
        #[source]
        source: io::Error,
    },
    /// The kernel refused one message; `what` names it (`add link cor12ab3`).
    #[error("netlink: cannot {what}")]
    Netlink {
        what: String,
        #[source]
        source: io::Error,
    },
    #[error("netlink: cannot read the kernel's answer to {what}: {problem}")]
    Answer { what: String, problem: String },
    #[error(
        "no address of the pod CIDR {cidr} is free: {in_use} are in use; stop pods or give the node a larger CIDR"
    )]
    NoAddress { cidr: Cidr, in_use: usize },
    #[error(
        "pod CIDR {cidr} belongs to another node on this machine (the one with the link names cor{other:04x}…); give this one another CIDR, or remove that one with `coracle down`"
    )]
    CidrTaken { cidr: Cidr, other: u16 },
    #[error(
        "address {address} belongs to {device}, not to this node; give the node another pod CIDR"
    )]
    NodeAddressTaken { address: Ipv4Addr, device: String },
    #[error("host port {port} is in use by pod {holder}")]
    PortTaken { port: HostPort, holder: PodUid },
    #[error("host port {port} is wanted twice by the same pod")]
    PortTwice { port: HostPort },
    #[error("host ports need nf_tables with NAT in the kernel, which refused it: {problem}")]
    NoFirewall { problem: String },
    #[error("the network of pod {pod} is being set up or removed by an earlier call")]
    Busy { pod: PodUid },
    #[error("cannot keep the lease of slot {slot}")]
    Lease {
        slot: String,
        #[source]
        source: state_file::WriteError,
    },
    #[error("the network is shutting down")]
    ShuttingDown,
    /// Somebody else's error, already told once.
    #[error("{0}")]
    Builder(String),
}

impl NetworkError {
    pub fn fault(&self) -> Fault {
        match self {
            Self::PortTaken { .. } | Self::PortTwice { .. } | Self::Sysctl { .. } => {
                Fault::Workload
            }
            _ => Fault::Node,
        }
    }
    /// Whether the same call may succeed later without anybody changing the pod.
    pub fn retry(&self) -> bool {
        !matches!(self, Self::PortTwice { .. } | Self::NoFirewall { .. })
    }
    /// The whole chain in one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = std::error::Error::source(self);
        while let Some(source) = next {
            text.push_str(": ");
            text.push_str(&source.to_string());
            next = source.source();
        }
        text
    }
    pub(crate) fn files(
        what: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self::Files {
            what,
            path: path.into(),
            source: source.into(),
        }
    }
}
