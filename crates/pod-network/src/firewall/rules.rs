//! The table in messages. Values in, bytes out; the names follow `linux/netfilter/nf_tables.h`.

use super::wire::{Attrs, Batch, NLM_F_CREATE};
use crate::config::{Cidr, HostPort};
use std::net::Ipv4Addr;

// NFT_MSG_*
const NEW_TABLE: u16 = 0;
const DEL_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
const NEW_SET: u16 = 9;
const NEW_ELEMENT: u16 = 12;
const DEL_ELEMENT: u16 = 14;

// NF_INET_*
const PREROUTING: u32 = 0;
const OUTPUT: u32 = 3;
const POSTROUTING: u32 = 4;

const RAW: i32 = -300;
const DST_NAT: i32 = -100;
const SRC_NAT: i32 = 100;
const NLM_F_APPEND: u16 = 0x800;

/// A register of 4 bytes; three in a row hold a concatenated key.
const REG: [u32; 3] = [8, 9, 10];

/// Type numbers that `nft` prints by: 6 bits for each part of a concatenation.
const TYPE_ADDRESS: u32 = 7;
const TYPE_PROTOCOL: u32 = 12;
const TYPE_PORT: u32 = 13;

const PORTS: &str = "host_ports";
const PORTS_AT: &str = "host_ports_at";
const HAIRPINS: &str = "hairpins";

pub(crate) struct Table {
    pub(crate) name: String,
    /// What the names of the pods' links begin with.
    pub(crate) links: String,
    pub(crate) cidr: Cidr,
}

/// One entry of a set or a map.
struct Element {
    set: &'static str,
    key: Vec<u8>,
    data: Option<Vec<u8>>,
}

impl Table {
    /// Replaces the table by an empty one with its rules.
    pub(crate) fn create(&self) -> Batch {
        let mut batch = Batch::new();
        let named = Attrs::new().text(1, &self.name);
        // so that deleting it cannot fail
        batch.add("add nftables table", NEW_TABLE, NLM_F_CREATE, &named);
        batch.add("replace nftables table", DEL_TABLE, 0, &named);
        batch.add("add nftables table", NEW_TABLE, NLM_F_CREATE, &named);
        let key = concat(&[TYPE_PROTOCOL, TYPE_PORT]);
        let key_at = concat(&[TYPE_ADDRESS, TYPE_PROTOCOL, TYPE_PORT]);
        let target = concat(&[TYPE_ADDRESS, TYPE_PORT]);
        self.set(&mut batch, 1, PORTS, key, Some(target));
        self.set(&mut batch, 2, PORTS_AT, key_at, Some(target));
        self.set(
            &mut batch,
            3,
            HAIRPINS,
            concat(&[TYPE_ADDRESS, TYPE_ADDRESS]),
            None,
        );
        for (name, kind, hook, priority) in [
            ("guard", "filter", PREROUTING, RAW),
            ("arriving", "nat", PREROUTING, DST_NAT),
            ("local", "nat", OUTPUT, DST_NAT),
            ("leaving", "nat", POSTROUTING, SRC_NAT),
        ] {
            self.chain(&mut batch, name, kind, hook, priority);
        }
        let link = self.links.as_bytes();
        self.rule(
            &mut batch,
            "guard",
            [
                from_link(link),
                load_network(16, 4, REG[0]),
                mask(REG[0], u32::from(LOOPBACK_MASK)),
                equal(REG[0], &LOOPBACK.octets()),
                vec![counter(), verdict_drop()],
            ],
        );
        self.rule(
            &mut batch,
            "guard",
            [
                from_link(link),
                no_way_back(),
                vec![counter(), verdict_drop()],
            ],
        );
        for chain in ["arriving", "local"] {
            self.rule(
                &mut batch,
                chain,
                [
                    to_this_machine(),
                    load_network(16, 4, REG[0]),
                    load_protocol(REG[1]),
                    load_port(REG[2]),
                    to_pod_by(PORTS_AT),
                ],
            );
            self.rule(
                &mut batch,
                chain,
                [
                    to_this_machine(),
                    load_protocol(REG[0]),
                    load_port(REG[1]),
                    to_pod_by(PORTS),
                ],
            );
        }
        let network = self.cidr.network().octets();
        self.rule(
            &mut batch,
            "leaving",
            [
                load_network(12, 4, REG[0]),
                mask(REG[0], self.cidr.mask()),
                equal(REG[0], &network),
                load_network(16, 4, REG[0]),
                mask(REG[0], self.cidr.mask()),
                different(REG[0], &network),
                vec![masquerade()],
            ],
        );
        self.rule(
            &mut batch,
            "leaving",
            [
                to_link(link),
                load_network(12, 4, REG[0]),
                mask(REG[0], u32::from(LOOPBACK_MASK)),
                equal(REG[0], &LOOPBACK.octets()),
                vec![masquerade()],
            ],
        );
        self.rule(
            &mut batch,
            "leaving",
            [
                load_network(12, 4, REG[0]),
                load_network(16, 4, REG[1]),
                vec![in_set(HAIRPINS), masquerade()],
            ],
        );
        batch
    }

    pub(crate) fn delete(&self) -> Batch {
        let mut batch = Batch::new();
        let named = Attrs::new().text(1, &self.name);
        batch.add("delete nftables table", DEL_TABLE, 0, &named);
        batch
    }

    pub(crate) fn add_ports(&self, batch: &mut Batch, address: Ipv4Addr, ports: &[HostPort]) {
        for element in elements(address, ports) {
            let what = format!("add to nftables set {}", element.set);
            batch.add(what, NEW_ELEMENT, NLM_F_CREATE, &self.element(&element));
        }
    }

    /// One transaction for each.
    pub(crate) fn remove_ports(&self, address: Ipv4Addr, ports: &[HostPort]) -> Vec<Batch> {
        elements(address, ports)
            .into_iter()
            .map(|element| {
                let mut batch = Batch::new();
                let what = format!("delete from nftables set {}", element.set);
                batch.add(what, DEL_ELEMENT, 0, &self.element(&element));
                batch
            })
            .collect()
    }

    fn element(&self, element: &Element) -> Attrs {
        let value = |bytes: &[u8]| Attrs::new().bytes(1, bytes);
        let mut one = Attrs::new().nested(1, value(&element.key));
        if let Some(data) = &element.data {
            one = one.nested(2, value(data));
        }
        Attrs::new()
            .text(1, &self.name)
            .text(2, element.set)
            .nested(3, Attrs::new().nested(1, one))
    }

    fn set(
        &self,
        batch: &mut Batch,
        id: u32,
        name: &str,
        key: (u32, u32),
        data: Option<(u32, u32)>,
    ) {
        const MAP: u32 = 8;
        let mut body = Attrs::new()
            .text(1, &self.name)
            .text(2, name)
            .number(3, if data.is_some() { MAP } else { 0 })
            .number(4, key.0)
            .number(5, key.1)
            .number(10, id);
        if let Some((kind, length)) = data {
            body = body.number(6, kind).number(7, length);
        }
        batch.add(
            format!("add nftables set {name}"),
            NEW_SET,
            NLM_F_CREATE,
            &body,
        );
    }

    fn chain(&self, batch: &mut Batch, name: &str, kind: &str, hook: u32, priority: i32) {
        const ACCEPT: u32 = 1;
        let hook = Attrs::new().number(1, hook).number(2, priority as u32);
        let body = Attrs::new()
            .text(1, &self.name)
            .text(3, name)
            .nested(4, hook)
            .number(5, ACCEPT)
            .text(7, kind);
        batch.add(
            format!("add nftables chain {name}"),
            NEW_CHAIN,
            NLM_F_CREATE,
            &body,
        );
    }

    fn rule(
        &self,
        batch: &mut Batch,
        chain: &str,
        expressions: impl IntoIterator<Item = Vec<Attrs>>,
    ) {
        let list = expressions
            .into_iter()
            .flatten()
            .fold(Attrs::new(), |list, expression| list.nested(1, expression));
        let body = Attrs::new()
            .text(1, &self.name)
            .text(2, chain)
            .nested(4, list);
        batch.add(
            format!("add nftables rule in {chain}"),
            NEW_RULE,
            NLM_F_CREATE | NLM_F_APPEND,
            &body,
        );
    }
}

const LOOPBACK: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 0);
const LOOPBACK_MASK: Ipv4Addr = Ipv4Addr::new(255, 0, 0, 0);

/// Each part in 4 bytes of its own: type number and length.
fn concat(types: &[u32]) -> (u32, u32) {
    let number = types.iter().fold(0, |number, part| (number << 6) | part);
    (number, 4 * types.len() as u32)
}

fn elements(address: Ipv4Addr, ports: &[HostPort]) -> Vec<Element> {
    let mut elements: Vec<Element> = ports
        .iter()
        .map(|port| {
            let mut key = Vec::with_capacity(12);
            if let Some(ip) = port.host_ip {
                key.extend_from_slice(&ip.octets());
            }
            key.extend_from_slice(&[port.protocol.number(), 0, 0, 0]);
            key.extend_from_slice(&port_bytes(port.host_port));
            let mut data = address.octets().to_vec();
            data.extend_from_slice(&port_bytes(port.container_port));
            Element {
                set: if port.host_ip.is_some() {
                    PORTS_AT
                } else {
                    PORTS
                },
                key,
                data: Some(data),
            }
        })
        .collect();
    if !elements.is_empty() {
        elements.push(Element {
            set: HAIRPINS,
            key: [address.octets(), address.octets()].concat(),
            data: None,
        });
    }
    elements
}

fn port_bytes(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

// --- expressions

fn expression(name: &str, data: Attrs) -> Attrs {
    Attrs::new().text(1, name).nested(2, data)
}

fn meta(key: u32, register: u32) -> Attrs {
    expression("meta", Attrs::new().number(1, register).number(2, key))
}

fn compare(register: u32, operation: u32, value: &[u8]) -> Attrs {
    let data = Attrs::new().bytes(1, value);
    expression(
        "cmp",
        Attrs::new()
            .number(1, register)
            .number(2, operation)
            .nested(3, data),
    )
}

fn equal(register: u32, value: &[u8]) -> Vec<Attrs> {
    vec![compare(register, 0, value)]
}

fn different(register: u32, value: &[u8]) -> Vec<Attrs> {
    vec![compare(register, 1, value)]
}

/// Comparing fewer bytes than a name has is comparing its beginning.
fn from_link(prefix: &[u8]) -> Vec<Attrs> {
    const IIFNAME: u32 = 6;
    const REG_1: u32 = 1;
    vec![meta(IIFNAME, REG_1), compare(REG_1, 0, prefix)]
}

fn to_link(prefix: &[u8]) -> Vec<Attrs> {
    const OIFNAME: u32 = 7;
    const REG_1: u32 = 1;
    vec![meta(OIFNAME, REG_1), compare(REG_1, 0, prefix)]
}

fn load(base: u32, offset: u32, length: u32, register: u32) -> Attrs {
    let data = Attrs::new()
        .number(1, register)
        .number(2, base)
        .number(3, offset)
        .number(4, length);
    expression("payload", data)
}

/// Bytes of the IP header: the source at 12, the destination at 16.
fn load_network(offset: u32, length: u32, register: u32) -> Vec<Attrs> {
    vec![load(1, offset, length, register)]
}

/// The destination port of TCP, UDP and SCTP alike.
fn load_port(register: u32) -> Vec<Attrs> {
    vec![load(2, 2, 2, register)]
}

fn load_protocol(register: u32) -> Vec<Attrs> {
    const L4PROTO: u32 = 16;
    vec![meta(L4PROTO, register)]
}

fn mask(register: u32, mask: u32) -> Vec<Attrs> {
    let value = |bits: u32| Attrs::new().bytes(1, &bits.to_be_bytes());
    let data = Attrs::new()
        .number(1, register)
        .number(2, register)
        .number(3, 4)
        .nested(4, value(mask))
        .nested(5, value(0));
    vec![expression("bitwise", data)]
}

/// `fib daddr type local`
fn to_this_machine() -> Vec<Attrs> {
    const ADDRTYPE: u32 = 3;
    const DADDR: u32 = 2;
    const LOCAL: u32 = 2;
    let data = Attrs::new()
        .number(1, REG[0])
        .number(2, ADDRTYPE)
        .number(3, DADDR);
    // an answer of the kernel, in its byte order
    vec![
        expression("fib", data),
        compare(REG[0], 0, &LOCAL.to_ne_bytes()),
    ]
}

/// `fib saddr . iif oif missing`: a packet to its source would not leave by the link it came from.
fn no_way_back() -> Vec<Attrs> {
    const OIF: u32 = 1;
    const SADDR_IIF: u32 = 1 | 8;
    let data = Attrs::new()
        .number(1, REG[0])
        .number(2, OIF)
        .number(3, SADDR_IIF);
    vec![
        expression("fib", data),
        compare(REG[0], 0, &0u32.to_ne_bytes()),
    ]
}

fn in_set(set: &str) -> Attrs {
    expression("lookup", Attrs::new().text(1, set).number(2, REG[0]))
}

/// Looks address and port up and sends the packet there.
fn to_pod_by(map: &str) -> Vec<Attrs> {
    const DNAT: u32 = 1;
    const IPV4: u32 = 2;
    let lookup = Attrs::new()
        .text(1, map)
        .number(2, REG[0])
        .number(3, REG[0]);
    let nat = Attrs::new()
        .number(1, DNAT)
        .number(2, IPV4)
        .number(3, REG[0])
        .number(5, REG[1]);
    vec![expression("lookup", lookup), expression("nat", nat)]
}

fn masquerade() -> Attrs {
    expression("masq", Attrs::new())
}

fn counter() -> Attrs {
    expression("counter", Attrs::new())
}

fn verdict_drop() -> Attrs {
    const VERDICT: u32 = 0;
    const DROP: u32 = 0;
    let code = Attrs::new().number(1, DROP);
    let data = Attrs::new().nested(2, code);
    expression("immediate", Attrs::new().number(1, VERDICT).nested(2, data))
}
