//! What the network is told: by the node's configuration once, and by every pod.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone)]
pub struct NetworkConfig {
    /// `/run/coracle`; `ns` and `net` below it belong to this crate.
    pub run_dir: PathBuf,
    pub pod_cidr: Cidr,
    /// Ready slots to keep. 8 is a good number: 0.3 MB of kernel memory each.
    pub pool_size: usize,
    /// Tells the kernel names of this node (links, table, route) from those of another on the same machine. Its hexadecimal form is
    /// part of every name; [`NetworkConfig::hash_of`] derives it from the run directory.
    pub node_hash: u16,
}

impl NetworkConfig {
    /// The hash that a node with this run directory uses.
    pub fn hash_of(run_dir: &std::path::Path) -> u16 {
        // FNV-1a, folded; names on one machine, no secret and no adversary
        let mut hash: u32 = 0x811c_9dc5;
        for byte in run_dir.as_os_str().as_encoded_bytes() {
            hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
        ((hash >> 16) ^ (hash & 0xffff)) as u16
    }
    pub(crate) fn ns_dir(&self) -> PathBuf {
        self.run_dir.join("ns")
    }
    pub(crate) fn lease_dir(&self) -> PathBuf {
        self.run_dir.join("net")
    }
    /// What the names of this node's links begin with.
    pub(crate) fn link_prefix(&self) -> String {
        format!("cor{:04x}", self.node_hash)
    }
    /// The host's end of a slot: at most 15 bytes, which a link name may have.
    pub(crate) fn link_name(&self, slot: u32) -> String {
        format!("{}{slot:x}", self.link_prefix())
    }
    /// The same by the slot's name, as [`crate::Sandbox::slot`] has it.
    pub fn link_name_of(&self, slot: &str) -> String {
        format!("{}{slot}", self.link_prefix())
    }
    pub(crate) fn table_name(&self) -> String {
        format!("coracle_{:04x}", self.node_hash)
    }
}

/// How the node resolves names; the input of [`crate::resolv_conf`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeDns {
    /// `resolvConf` of the configuration, `/etc/resolv.conf` by default. Empty: pods with the policy Default get an empty file.
    pub resolv_conf: PathBuf,
    pub cluster_dns: Vec<IpAddr>,
    pub cluster_domain: Option<String>,
}

/// An IPv4 network: where pods get their addresses from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    network: Ipv4Addr,
    prefix: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pod CIDR {text:?} is not valid: {rule}")]
pub struct CidrError {
    pub text: String,
    pub rule: &'static str,
}

impl Cidr {
    pub fn network(self) -> Ipv4Addr {
        self.network
    }
    pub fn prefix(self) -> u8 {
        self.prefix
    }
    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & self.mask() == u32::from(self.network)
    }
    pub fn overlaps(self, other: Ipv4Addr, prefix: u8) -> bool {
        let shorter = prefix.min(self.prefix);
        let mask = mask_of(shorter);
        u32::from(other) & mask == u32::from(self.network) & mask
    }
    pub(crate) fn mask(self) -> u32 {
        mask_of(self.prefix)
    }
    /// The node's own address in it: the first.
    pub fn node_address(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network) + 1)
    }
    /// First and last address that a pod may get.
    pub(crate) fn pod_range(self) -> (u32, u32) {
        let first = u32::from(self.network);
        (first + 2, (first | !self.mask()) - 1)
    }
}

fn mask_of(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

impl FromStr for Cidr {
    type Err = CidrError;
    fn from_str(text: &str) -> Result<Self, CidrError> {
        let fail = |rule| CidrError {
            text: text.to_owned(),
            rule,
        };
        let (address, prefix) = text
            .split_once('/')
            .ok_or_else(|| fail("it has the form 10.88.0.0/16"))?;
        if address.parse::<std::net::Ipv6Addr>().is_ok() {
            return Err(fail("only IPv4 is supported so far"));
        }
        let address: Ipv4Addr = address
            .parse()
            .map_err(|_| fail("the part before '/' is no IPv4 address"))?;
        let prefix: u8 = prefix
            .parse()
            .ok()
            .filter(|p| (8..=29).contains(p))
            .ok_or_else(|| fail("the prefix length is a number from 8 to 29"))?;
        let network = Ipv4Addr::from(u32::from(address) & mask_of(prefix));
        if network != address {
            return Err(fail("the address has bits set beyond the prefix"));
        }
        if network.is_loopback()
            || network.is_multicast()
            || network.is_link_local()
            || network.octets()[0] == 0
            || network.octets()[0] >= 240
        {
            return Err(fail(
                "loopback, link-local, multicast and reserved networks cannot hold pods",
            ));
        }
        Ok(Self { network, prefix })
    }
}

impl TryFrom<String> for Cidr {
    type Error = CidrError;
    fn try_from(text: String) -> Result<Self, CidrError> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> String {
        cidr.to_string()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    #[serde(rename = "TCP")]
    Tcp,
    #[serde(rename = "UDP")]
    Udp,
    #[serde(rename = "SCTP")]
    Sctp,
}

impl Protocol {
    /// As `ports[].protocol` writes it; TCP when it is absent.
    pub fn from_api(text: Option<&str>) -> Option<Self> {
        match text {
            None | Some("TCP") => Some(Self::Tcp),
            Some("UDP") => Some(Self::Udp),
            Some("SCTP") => Some(Self::Sctp),
            Some(_) => None,
        }
    }
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }
    /// The number in the IP header.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

/// A port of the node that leads to a port of the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostPort {
    pub protocol: Protocol,
    /// Only packets to this address of the node; `None` (also for `0.0.0.0`) is every address.
    pub host_ip: Option<Ipv4Addr>,
    pub host_port: u16,
    pub container_port: u16,
}

impl HostPort {
    /// `0.0.0.0` means every address, as in the API.
    pub fn new(
        protocol: Protocol,
        host_ip: Option<Ipv4Addr>,
        host_port: u16,
        container_port: u16,
    ) -> Self {
        Self {
            protocol,
            host_ip: host_ip.filter(|ip| !ip.is_unspecified()),
            host_port,
            container_port,
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ip = self.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED);
        write!(f, "{ip}:{}/{}", self.host_port, self.protocol.as_str())
    }
}

/// What a pod asks of the network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Want {
    /// The host's network namespace: no address and no slot of the pool, only ipc and uts. Host ports are then the pod's own affair.
    pub host_network: bool,
    pub host_ports: Vec<HostPort>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cidr_is_a_private_sized_network_without_host_bits() {
        for (text, rule) in [
            ("10.88.0.0", "has the form"),
            ("10.88.0.0/33", "8 to 29"),
            ("10.88.0.0/7", "8 to 29"),
            ("10.88.0.1/16", "bits set beyond"),
            ("fd00::/64", "only IPv4"),
            ("ten/8", "no IPv4 address"),
            ("127.0.0.0/8", "loopback"),
            ("169.254.0.0/16", "link-local"),
        ] {
            let error = text.parse::<Cidr>().unwrap_err().to_string();
            assert!(error.contains(rule), "{error}");
        }
        let cidr: Cidr = "10.88.0.0/16".parse().unwrap();
        assert_eq!(cidr.node_address(), Ipv4Addr::new(10, 88, 0, 1));
        assert!(cidr.contains(Ipv4Addr::new(10, 88, 255, 1)));
        assert!(!cidr.contains(Ipv4Addr::new(10, 89, 0, 1)));
        assert!(cidr.overlaps(Ipv4Addr::new(10, 0, 0, 0), 8));
        assert!(cidr.overlaps(Ipv4Addr::new(10, 88, 3, 0), 24));
        assert!(!cidr.overlaps(Ipv4Addr::new(10, 89, 0, 0), 16));
    }

    #[test]
    fn link_names_fit_into_the_kernels_fifteen_bytes() {
        let config = NetworkConfig {
            run_dir: "/run/coracle".into(),
            pod_cidr: "10.88.0.0/16".parse().unwrap(),
            pool_size: 8,
            node_hash: NetworkConfig::hash_of("/run/coracle".as_ref()),
        };
        assert_eq!(config.link_name(u32::MAX).len(), 15);
        assert_ne!(
            config.node_hash,
            NetworkConfig::hash_of("/run/coracle2".as_ref())
        );
    }
}
