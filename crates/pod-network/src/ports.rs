//! Which pod holds which port of the node. Pure.

use crate::config::{HostPort, Protocol};
use crate::error::NetworkError;
use pod_model::PodUid;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// One holder per protocol, port and address of the node; a holder of every address holds each of them, as the kubelet's admission sees it.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    held: BTreeMap<(Protocol, u16), Vec<Holder>>,
}

/// On one address of the node, or on all.
#[derive(Debug)]
struct Holder {
    address: Option<Ipv4Addr>,
    pod: PodUid,
}

impl Ports {
    /// All of `ports` or none.
    pub(crate) fn take(&mut self, pod: &PodUid, ports: &[HostPort]) -> Result<(), NetworkError> {
        for (index, port) in ports.iter().enumerate() {
            if ports[..index].iter().any(|other| collide(other, port)) {
                return Err(NetworkError::PortTwice { port: *port });
            }
            if let Some(holder) = self.holder(port).filter(|holder| *holder != pod) {
                return Err(NetworkError::PortTaken {
                    port: *port,
                    holder: holder.clone(),
                });
            }
        }
        self.give_back(pod);
        for port in ports {
            self.held
                .entry((port.protocol, port.host_port))
                .or_default()
                .push(Holder {
                    address: port.host_ip,
                    pod: pod.clone(),
                });
        }
        Ok(())
    }

    pub(crate) fn give_back(&mut self, pod: &PodUid) {
        self.held.retain(|_, holders| {
            holders.retain(|holder| holder.pod != *pod);
            !holders.is_empty()
        });
    }

    fn holder(&self, port: &HostPort) -> Option<&PodUid> {
        self.held
            .get(&(port.protocol, port.host_port))?
            .iter()
            .find(|holder| same_address(holder.address, port.host_ip))
            .map(|holder| &holder.pod)
    }
}

fn collide(a: &HostPort, b: &HostPort) -> bool {
    a.protocol == b.protocol && a.host_port == b.host_port && same_address(a.host_ip, b.host_ip)
}

fn same_address(a: Option<Ipv4Addr>, b: Option<Ipv4Addr>) -> bool {
    a.is_none() || b.is_none() || a == b
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(text: &str) -> PodUid {
        PodUid::new(text).unwrap()
    }

    fn tcp(ip: Option<[u8; 4]>, port: u16) -> HostPort {
        HostPort::new(Protocol::Tcp, ip.map(Ipv4Addr::from), port, 80)
    }

    #[test]
    fn two_pods_may_share_a_port_only_with_different_addresses_or_protocols() {
        let mut ports = Ports::default();
        ports
            .take(&uid("a"), &[tcp(Some([127, 0, 0, 1]), 8080)])
            .unwrap();
        ports
            .take(&uid("b"), &[tcp(Some([10, 0, 0, 1]), 8080)])
            .unwrap();
        ports
            .take(&uid("c"), &[HostPort::new(Protocol::Udp, None, 8080, 80)])
            .unwrap();
        let error = ports.take(&uid("d"), &[tcp(None, 8080)]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "host port 0.0.0.0:8080/TCP is in use by pod a"
        );
        let error = ports
            .take(&uid("d"), &[tcp(Some([10, 0, 0, 1]), 8080)])
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "host port 10.0.0.1:8080/TCP is in use by pod b"
        );
        ports.give_back(&uid("a"));
        ports.give_back(&uid("b"));
        ports
            .take(&uid("d"), &[tcp(Some([0, 0, 0, 0]), 8080)])
            .unwrap();
    }

    #[test]
    fn a_refused_pod_holds_nothing() {
        let mut ports = Ports::default();
        ports.take(&uid("a"), &[tcp(None, 80)]).unwrap();
        ports
            .take(&uid("b"), &[tcp(None, 81), tcp(None, 80)])
            .unwrap_err();
        ports.take(&uid("c"), &[tcp(None, 81)]).unwrap();
        assert!(matches!(
            ports.take(&uid("d"), &[tcp(None, 90), tcp(Some([1, 2, 3, 4]), 90)]),
            Err(NetworkError::PortTwice { .. })
        ));
    }
}
