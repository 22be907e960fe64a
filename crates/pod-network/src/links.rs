//! The messages that make the network of one slot. Values in, messages out.
//!
//! Both ends of a slot know each other's hardware address for good: the host's end always has [`HOST_MAC`], the pod's is a function of
//! its address. Permanent neighbours cost one message each, once; proxy ARP instead would cost a sysctl, a resolution on every
//! first packet, and entries that count against `gc_thresh3` (1,024 for the whole machine, over all namespaces).

use crate::rtnl::Request;
use nix::errno::Errno;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use rtnetlink::packet_route::link::{
    AfSpecInet, AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InetDevConf, InfoData, InfoKind,
    InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
    RouteType,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

/// The pod's router. It is nobody's address; only its hardware address matters.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// Of the host's end of every slot: locally administered, unicast.
pub(crate) const HOST_MAC: [u8; 6] = [0xee; 6];
/// Marks our routes (`ip route show proto 201`).
pub(crate) const ROUTE_PROTOCOL: RouteProtocol = RouteProtocol::Other(201);

/// Of the pod's end, as the CNI bridge plugin derives it.
pub(crate) fn pod_mac(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x0a, 0x58, a, b, c, d]
}

/// The pair: `eth0` in the namespace of the socket, up at once; the other end born in `host`, down.
pub(crate) fn add_pair(address: Ipv4Addr, host_name: &str, host: BorrowedFd<'_>) -> Request {
    // one queue: a pair would otherwise get one per processor on each side
    let queues = [LinkAttribute::NumTxQueues(1), LinkAttribute::NumRxQueues(1)];
    let mut peer = LinkMessage::default();
    peer.attributes = vec![
        LinkAttribute::IfName(host_name.to_owned()),
        LinkAttribute::Address(HOST_MAC.to_vec()),
        LinkAttribute::NetNsFd(host.as_raw_fd()),
    ];
    peer.attributes.extend(queues.clone());
    let mut message = LinkMessage::default();
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message.attributes = vec![
        LinkAttribute::IfName("eth0".to_owned()),
        LinkAttribute::Address(pod_mac(address).to_vec()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ];
    message.attributes.extend(queues);
    Request::create(
        format!("add link {host_name}"),
        RouteNetlinkMessage::NewLink(message),
    )
}

pub(crate) fn loopback_up() -> Request {
    let mut message = LinkMessage::default();
    message.header.index = 1;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    Request::new("set lo up", RouteNetlinkMessage::SetLink(message))
}

/// The host's end goes up: strict source check, forwarding, and no IPv6 address by which the pod could talk to the host.
pub(crate) fn host_end_up(index: u32, name: &str, has_ipv6: bool) -> Request {
    let mut conf = InetDevConf::default();
    conf.rp_filter = 1;
    conf.forwarding = 1;
    let mut families = vec![AfSpecUnspec::Inet(vec![AfSpecInet::DevConfRequest(conf)])];
    if has_ipv6 {
        families.push(AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(
            In6AddrGenMode::None,
        )]));
    }
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message.attributes = vec![LinkAttribute::AfSpecUnspec(families)];
    Request::new(
        format!("set {name} up"),
        RouteNetlinkMessage::SetLink(message),
    )
}

/// Lets packets to and from 127.0.0.0/8 pass this link: for a pod whose host port is to answer on the host's loopback.
pub(crate) fn allow_loopback_addresses(index: u32, name: &str) -> Request {
    let mut conf = InetDevConf::default();
    conf.route_localnet = 1;
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = vec![LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet(vec![
        AfSpecInet::DevConfRequest(conf),
    ])])];
    Request::new(
        format!("set route_localnet of {name}"),
        RouteNetlinkMessage::SetLink(message),
    )
}

/// `address/32` on a link. Loopback takes the node's own address; it may be there already.
pub(crate) fn add_address(address: Ipv4Addr, index: u32) -> Request {
    Request::replace(
        format!("add address {address}"),
        RouteNetlinkMessage::NewAddress(address_message(address, index)),
    )
}

pub(crate) fn delete_address(address: Ipv4Addr, index: u32) -> Request {
    Request::new(
        format!("delete address {address}"),
        RouteNetlinkMessage::DelAddress(address_message(address, index)),
    )
    .tolerating(Errno::EADDRNOTAVAIL)
}

fn address_message(address: Ipv4Addr, index: u32) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = 32;
    message.header.scope = AddressScope::Universe;
    message.header.index = index;
    message.attributes = vec![
        AddressAttribute::Local(IpAddr::V4(address)),
        AddressAttribute::Address(IpAddr::V4(address)),
    ];
    message
}

/// Everything of the pod goes to [`GATEWAY`], which is on the link though no address says so.
pub(crate) fn default_route(index: u32) -> Request {
    let mut message = route(0, RouteType::Unicast, RouteScope::Universe);
    message.header.flags = RouteFlags::Onlink;
    message.attributes = vec![
        RouteAttribute::Gateway(RouteAddress::Inet(GATEWAY)),
        RouteAttribute::Oif(index),
    ];
    Request::create(
        "add the default route of a pod",
        RouteNetlinkMessage::NewRoute(message),
    )
}

/// The host's way to a pod. `source` is the node's address in the CIDR: a node without any other can reach its pods, too.
pub(crate) fn pod_route(address: Ipv4Addr, source: Ipv4Addr, index: u32) -> Request {
    let mut message = route(32, RouteType::Unicast, RouteScope::Link);
    message.attributes = vec![
        RouteAttribute::Destination(RouteAddress::Inet(address)),
        RouteAttribute::PrefSource(RouteAddress::Inet(source)),
        RouteAttribute::Oif(index),
    ];
    Request::replace(
        format!("add route to {address}"),
        RouteNetlinkMessage::NewRoute(message),
    )
}

/// Nothing for an absent pod leaves the machine. The metric tells whose it is.
pub(crate) fn unreachable_route(network: Ipv4Addr, prefix: u8, metric: u32) -> RouteMessage {
    let mut message = route(prefix, RouteType::Unreachable, RouteScope::Universe);
    message.attributes = vec![
        RouteAttribute::Destination(RouteAddress::Inet(network)),
        RouteAttribute::Priority(metric),
    ];
    message
}

fn route(prefix: u8, kind: RouteType, scope: RouteScope) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.destination_prefix_length = prefix;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = ROUTE_PROTOCOL;
    message.header.scope = scope;
    message.header.kind = kind;
    message
}

pub(crate) fn neighbour(address: Ipv4Addr, mac: [u8; 6], index: u32) -> Request {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)),
        NeighbourAttribute::LinkLayerAddress(mac.to_vec()),
    ];
    Request::replace(
        format!("add neighbour {address}"),
        RouteNetlinkMessage::NewNeighbour(message),
    )
}

pub(crate) fn all_links() -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetLink(LinkMessage::default())
}

pub(crate) fn all_routes() -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    RouteNetlinkMessage::GetRoute(message)
}

pub(crate) fn all_addresses() -> RouteNetlinkMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    RouteNetlinkMessage::GetAddress(message)
}
