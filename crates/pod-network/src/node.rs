//! What the node needs once, whatever pods there are: the route over the CIDR, an address of its own in it, and forwarding.

use crate::config::{Cidr, NetworkConfig};
use crate::error::NetworkError;
use crate::links::{self, ROUTE_PROTOCOL};
use crate::rtnl::{Request, Rtnl};
use nix::errno::Errno;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

const LOOPBACK: u32 = 1;
const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";
/// Larger than any metric a person writes; the node's hash is added.
const METRIC: u32 = 0x4000_0000;

/// The part of the kernel's network that concerns this node.
pub(crate) struct Seen {
    /// Our links by name.
    pub(crate) links: BTreeMap<String, u32>,
    /// Our host routes: link index → pod address.
    pub(crate) routes: BTreeMap<u32, Ipv4Addr>,
    /// Unreachable routes of nodes like this one: network, prefix, metric.
    covers: Vec<(Ipv4Addr, u8, u32)>,
    /// Networks of others that overlap with the CIDR, in words.
    pub(crate) overlaps: Vec<String>,
}

pub(crate) fn look(rtnl: &mut Rtnl, config: &NetworkConfig) -> Result<Seen, NetworkError> {
    let mut names = BTreeMap::new();
    for message in rtnl.dump("list links", links::all_links())? {
        if let RouteNetlinkMessage::NewLink(link) = message {
            for attribute in link.attributes {
                if let LinkAttribute::IfName(name) = attribute {
                    names.insert(link.header.index, name);
                }
            }
        }
    }
    let prefix = config.link_prefix();
    let links: BTreeMap<String, u32> = names
        .iter()
        .filter(|(_, name)| name.starts_with(&prefix))
        .map(|(index, name)| (name.clone(), *index))
        .collect();

    let (mut routes, mut covers) = (BTreeMap::new(), Vec::new());
    for message in rtnl.dump("list routes", links::all_routes())? {
        let RouteNetlinkMessage::NewRoute(route) = message else {
            continue;
        };
        if route.header.protocol != ROUTE_PROTOCOL {
            continue;
        }
        let (destination, link, metric) = parts(&route);
        let Some(destination) = destination else {
            continue;
        };
        match (route.header.kind, link) {
            (RouteType::Unreachable, _) => {
                covers.push((destination, route.header.destination_prefix_length, metric))
            }
            (RouteType::Unicast, Some(link))
                if names.get(&link).is_some_and(|n| n.starts_with(&prefix)) =>
            {
                routes.insert(link, destination);
            }
            _ => {}
        }
    }
    Ok(Seen {
        links,
        routes,
        covers,
        overlaps: overlapping_addresses(rtnl, config.pod_cidr, &names)?,
    })
}

fn overlapping_addresses(
    rtnl: &mut Rtnl,
    cidr: Cidr,
    names: &BTreeMap<u32, String>,
) -> Result<Vec<String>, NetworkError> {
    let mut overlaps = Vec::new();
    for message in rtnl.dump("list addresses", links::all_addresses())? {
        let RouteNetlinkMessage::NewAddress(message) = message else {
            continue;
        };
        let prefix = message.header.prefix_len;
        for attribute in &message.attributes {
            if let AddressAttribute::Local(IpAddr::V4(address)) = attribute
                && cidr.overlaps(*address, prefix)
                && (message.header.index, *address) != (LOOPBACK, cidr.node_address())
            {
                let name = names.get(&message.header.index).map_or("?", String::as_str);
                overlaps.push(format!("{address}/{prefix} on {name}"));
            }
        }
    }
    Ok(overlaps)
}

fn parts(route: &RouteMessage) -> (Option<Ipv4Addr>, Option<u32>, u32) {
    let (mut destination, mut link, mut metric) = (None, None, 0);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => {
                destination = Some(*address)
            }
            RouteAttribute::Oif(index) => link = Some(*index),
            RouteAttribute::Priority(value) => metric = *value,
            _ => {}
        }
    }
    (destination, link, metric)
}

/// Idempotent. An older CIDR of this node is uncovered.
pub(crate) fn set_up(
    rtnl: &mut Rtnl,
    config: &NetworkConfig,
    seen: &Seen,
) -> Result<(), NetworkError> {
    let cidr = config.pod_cidr;
    let metric = METRIC + u32::from(config.node_hash);
    let mut requests = Vec::new();
    for (network, prefix, theirs) in &seen.covers {
        if *theirs != metric && cidr.overlaps(*network, *prefix) {
            return Err(NetworkError::CidrTaken {
                cidr,
                other: (theirs & 0xffff) as u16,
            });
        }
        if *theirs == metric && (*network, *prefix) != (cidr.network(), cidr.prefix()) {
            requests.push(uncover(*network, *prefix, metric));
            let old = Ipv4Addr::from(u32::from(*network) + 1);
            requests.push(links::delete_address(old, LOOPBACK));
        }
    }
    requests.push(links::loopback_up());
    requests.push(links::add_address(cidr.node_address(), LOOPBACK));
    requests.push(
        Request::create(
            format!("add the unreachable route over {cidr}"),
            RouteNetlinkMessage::NewRoute(links::unreachable_route(
                cidr.network(),
                cidr.prefix(),
                metric,
            )),
        )
        .tolerating(Errno::EEXIST),
    );
    rtnl.run(requests)?;
    forward()
}

/// What [`set_up`] made. Forwarding stays on: others may rely on it by now.
pub(crate) fn tear_down(rtnl: &mut Rtnl, config: &NetworkConfig) -> Result<(), NetworkError> {
    let cidr = config.pod_cidr;
    rtnl.run(vec![
        uncover(
            cidr.network(),
            cidr.prefix(),
            METRIC + u32::from(config.node_hash),
        ),
        links::delete_address(cidr.node_address(), LOOPBACK),
    ])
}

fn uncover(network: Ipv4Addr, prefix: u8, metric: u32) -> Request {
    Request::new(
        format!("delete the unreachable route over {network}/{prefix}"),
        RouteNetlinkMessage::DelRoute(links::unreachable_route(network, prefix, metric)),
    )
    .tolerating(Errno::ESRCH)
}

fn forward() -> Result<(), NetworkError> {
    let now =
        std::fs::read_to_string(FORWARD).map_err(|e| NetworkError::files("read", FORWARD, e))?;
    if now.trim() != "1" {
        std::fs::write(FORWARD, "1").map_err(|e| NetworkError::files("write", FORWARD, e))?;
    }
    Ok(())
}
