//! Forgetting UDP flows: they have no end, and the kernel decides where a flow goes only once.

use super::socket::Nfnetlink;
use super::wire::{self, Attrs, attributes};
use crate::error::NetworkError;
use nix::errno::Errno;

/// `NFNL_SUBSYS_CTNETLINK` with `IPCTNL_MSG_CT_GET` and `_DELETE`.
const GET: u16 = 0x101;
const DELETE: u16 = 0x102;
const TUPLE_ORIG: u16 = 1;
const TUPLE_PROTO: u16 = 2;
const PROTO_NUM: u16 = 1;
const PROTO_DST_PORT: u16 = 3;
const UDP: u8 = 17;

/// Every UDP flow of this machine that was begun to one of these ports.
pub(crate) fn forget_udp(socket: &mut Nfnetlink, ports: &[u16]) -> Result<(), NetworkError> {
    let mut tuples = Vec::new();
    let request = wire::message(GET, wire::NLM_F_DUMP, wire::FAMILY_IPV4, 0, &[]);
    socket.ask(request, "list UDP flows", |flow| {
        tuples.extend(
            original_tuple(flow)
                .filter(|tuple| goes_to(tuple, ports))
                .map(<[u8]>::to_vec),
        );
    })?;
    for tuple in tuples {
        let body = Attrs::new().bytes(TUPLE_ORIG | 0x8000, &tuple);
        let request = wire::message(
            DELETE,
            wire::NLM_F_ACK,
            wire::FAMILY_IPV4,
            0,
            body.as_bytes(),
        );
        match socket.ask(request, "forget a UDP flow", |_| {}) {
            // it ended meanwhile
            Err(NetworkError::Netlink { source, .. })
                if source.raw_os_error() == Some(Errno::ENOENT as i32) => {}
            other => other?,
        }
    }
    Ok(())
}

fn original_tuple(flow: &[u8]) -> Option<&[u8]> {
    attribute(flow, TUPLE_ORIG)
}

fn goes_to(tuple: &[u8], ports: &[u16]) -> bool {
    let port = attribute(tuple, TUPLE_PROTO).and_then(|proto| {
        let is_udp = attribute(proto, PROTO_NUM)? == [UDP];
        let port = <[u8; 2]>::try_from(attribute(proto, PROTO_DST_PORT)?).ok()?;
        is_udp.then_some(u16::from_be_bytes(port))
    });
    port.is_some_and(|port| ports.contains(&port))
}

fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes)
        .find(|(k, _)| *k == kind)
        .map(|(_, value)| value)
}
