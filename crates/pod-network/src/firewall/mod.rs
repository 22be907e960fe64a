//! Masquerade, host ports and the spoof guard, as one nftables table of this node: `table ip coracle_<hash>`.
//!
//! ```text
//! chain guard        prerouting raw       from a pod: to 127.0.0.0/8, or not from its own address → counted and dropped
//! chain arriving     prerouting dstnat    to this machine, in a host port map → to the pod
//! chain local        output dstnat        the same for what this machine itself sends
//! chain leaving      postrouting srcnat   from the CIDR to outside → masquerade; so are 127.0.0.0/8 to a pod, and a pod to itself
//! map host_ports     protocol . port            : address . port
//! map host_ports_at  address . protocol . port  : address . port      with a hostIP
//! set hairpins       address . address                                pods that may reach themselves by way of a host port
//! ```
//!
//! The rules are constant; a pod only adds and removes elements, in one transaction, and only if it has host ports. At start the whole
//! table is replaced in one transaction from the leases, so it never holds what a dead agent left. The table does not belong to a
//! socket: it outlives the agent.
//!
//! A host port answers on the machine's loopback, too. That needs `route_localnet` on the link of that one pod (never on others, never on
//! `all`), and is safe because `guard` drops what any pod sends to 127.0.0.0/8 before it is routed (CVE-2020-8558).

mod conntrack;
mod rules;
mod socket;
mod wire;

use crate::config::{HostPort, NetworkConfig, Protocol};
use crate::error::NetworkError;
use std::net::Ipv4Addr;

pub(crate) struct Firewall {
    table: rules::Table,
    socket: socket::Nfnetlink,
}

impl Firewall {
    /// Replaces the table of an earlier agent by one with these host ports.
    pub(crate) fn start(
        config: &NetworkConfig,
        open: &[(Ipv4Addr, Vec<HostPort>)],
    ) -> Result<Self, NetworkError> {
        let mut firewall = Self {
            table: rules::Table {
                name: config.table_name(),
                links: config.link_prefix(),
                cidr: config.pod_cidr,
            },
            socket: socket::Nfnetlink::open()?,
        };
        firewall.replace(open)?;
        Ok(firewall)
    }

    /// The same again: whatever somebody did to the table is undone.
    pub(crate) fn replace(
        &mut self,
        open: &[(Ipv4Addr, Vec<HostPort>)],
    ) -> Result<(), NetworkError> {
        let mut batch = self.table.create();
        for (address, ports) in open {
            self.table.add_ports(&mut batch, *address, ports);
        }
        self.socket.commit(batch)
    }

    /// Whether the table is there: `nft flush ruleset` of somebody else takes it away.
    pub(crate) fn is_whole(&mut self) -> Result<bool, NetworkError> {
        self.socket.has_table(&self.table.name)
    }

    pub(crate) fn open_ports(
        &mut self,
        address: Ipv4Addr,
        ports: &[HostPort],
    ) -> Result<(), NetworkError> {
        let mut batch = wire::Batch::new();
        self.table.add_ports(&mut batch, address, ports);
        self.socket.commit(batch)?;
        self.forget_flows(ports);
        Ok(())
    }

    /// Idempotent: ports that are not open stay closed.
    pub(crate) fn close_ports(
        &mut self,
        address: Ipv4Addr,
        ports: &[HostPort],
    ) -> Result<(), NetworkError> {
        // one transaction per element: one that is missing would undo the others
        for batch in self.table.remove_ports(address, ports) {
            self.socket
                .commit_tolerating(batch, nix::errno::Errno::ENOENT)?;
        }
        self.forget_flows(ports);
        Ok(())
    }

    pub(crate) fn remove(&mut self) -> Result<(), NetworkError> {
        self.socket
            .commit_tolerating(self.table.delete(), nix::errno::Errno::ENOENT)
    }

    /// A UDP flow has no end: one that began before the port was opened, or went to the last pod, would go on its old way for as long as
    /// the client sends.
    fn forget_flows(&mut self, ports: &[HostPort]) {
        let udp: Vec<u16> = ports
            .iter()
            .filter(|port| port.protocol == Protocol::Udp)
            .map(|port| port.host_port)
            .collect();
        if udp.is_empty() {
            return;
        }
        if let Err(error) = conntrack::forget_udp(&mut self.socket, &udp) {
            tracing::warn!(
                error = error.chain(),
                "old UDP flows to a host port may go on for some seconds"
            );
        }
    }
}
