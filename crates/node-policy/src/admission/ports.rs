//! Ports of the host. As the scheduler's `HostPortInfo`.

use k8s_openapi::api::core::v1::ContainerPort;
use pod_model::{AdmittedPod, ContainerRole};

const ALL_ADDRESSES: &str = "0.0.0.0";

pub(super) fn wants_any(pod: &AdmittedPod) -> bool {
    wanted(pod).next().is_some()
}

/// Whether another pod has a port that this one wants.
pub(super) fn conflict(pod: &AdmittedPod, others: &[&AdmittedPod]) -> bool {
    let taken: Vec<Wanted<'_>> = others.iter().flat_map(|other| wanted(other)).collect();
    wanted(pod).any(|wanted| taken.iter().any(|taken| wanted.collides_with(taken)))
}

struct Wanted<'a> {
    address: &'a str,
    protocol: &'a str,
    port: i32,
}

impl Wanted<'_> {
    fn collides_with(&self, other: &Self) -> bool {
        let addresses = [self.address, other.address];
        (self.port, self.protocol) == (other.port, other.protocol)
            && (self.address == other.address || addresses.contains(&ALL_ADDRESSES))
    }
}

/// Of the containers that run as long as the pod does.
fn wanted(pod: &AdmittedPod) -> impl Iterator<Item = Wanted<'_>> {
    let containers = pod
        .containers()
        .filter(|(role, _, _)| *role != ContainerRole::Init);
    let ports = containers.flat_map(|(_, _, container)| container.ports.iter().flatten());
    ports.filter_map(|port: &ContainerPort| {
        Some(Wanted {
            address: or(port.host_ip.as_deref(), ALL_ADDRESSES),
            protocol: or(port.protocol.as_deref(), "TCP"),
            port: port.host_port.filter(|port| *port > 0)?,
        })
    })
}

fn or<'a>(given: Option<&'a str>, default: &'a str) -> &'a str {
    given.filter(|given| !given.is_empty()).unwrap_or(default)
}
