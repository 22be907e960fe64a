//! What an earlier agent left, whole or half: adopted, or removed.
//!
//! | pins | lease | route | |
//! |---|---|---|---|
//! | all | readable | | adopted; a missing route is set again |
//! | all | unreadable | | rebuilt from the `owner.<uid>` mark and the route, without host ports: the pod's next `acquire` brings them |
//! | all | none, no mark | there, in the CIDR | back to the pool |
//! | all | none | else | removed |
//! | some | | | removed, and its lease: [`Notice::SandboxLost`] |

use crate::addresses::Addresses;
use crate::config::NetworkConfig;
use crate::error::NetworkError;
use crate::lease::{self, Found, Lease};
use crate::links;
use crate::node::Seen;
use crate::notice::Notice;
use crate::pins;
use crate::rtnl::Rtnl;
use crate::slot::{Slot, slot_name, slot_number};
use pod_model::PodUid;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

pub(crate) struct Recovered {
    pub(crate) leases: Vec<Lease>,
    pub(crate) ready: Vec<Slot>,
    pub(crate) addresses: Addresses,
    pub(crate) next_number: u32,
    pub(crate) notices: Vec<Notice>,
}

pub(crate) fn lease_dir(dir: &Path) -> Result<(), NetworkError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|e| NetworkError::files("create", dir, e))
}

pub(crate) fn remove_lease_dir(dir: &Path) -> Result<(), NetworkError> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(NetworkError::files("remove", dir, e)),
        _ => Ok(()),
    }
}

pub(crate) fn recover(
    rtnl: &mut Rtnl,
    config: &NetworkConfig,
    seen: &Seen,
) -> Result<Recovered, NetworkError> {
    let mut notices = Vec::new();
    let mut leases: BTreeMap<u32, Lease> = BTreeMap::new();
    let mut unreadable = BTreeMap::new();
    for found in lease::read_all(&config.lease_dir())? {
        match found {
            Found::Lease(lease) => {
                leases.insert(lease.slot, lease);
            }
            Found::Unreadable { slot, problem } => {
                unreadable.insert(slot, problem);
            }
        }
    }
    let link_number =
        |name: &str| u32::from_str_radix(name.strip_prefix(&config.link_prefix())?, 16).ok();
    let routes: BTreeMap<u32, Ipv4Addr> = seen
        .links
        .iter()
        .filter_map(|(name, index)| Some((link_number(name)?, *seen.routes.get(index)?)))
        .collect();

    let (mut kept, mut ready) = (Vec::new(), Vec::new());
    let mut highest: Option<u32> = None;
    for number in slots_on_disk(config)? {
        highest = highest.max(Some(number));
        let dir = config.ns_dir().join(slot_name(number));
        let has_net = pins::is_pinned(&dir, pins::NET);
        let whole = pins::is_pinned(&dir, pins::IPC) && pins::is_pinned(&dir, pins::UTS);
        let lease = leases.remove(&number).or_else(|| {
            let problem = unreadable.remove(&number)?;
            let pod = pins::owner(&dir).and_then(|uid| PodUid::new(uid).ok());
            notices.push(Notice::LeaseUnreadable {
                slot: slot_name(number),
                problem,
                pod: pod.clone(),
            });
            Some(Lease {
                slot: number,
                pod: pod?,
                address: routes.get(&number).copied().filter(|_| has_net),
                host_ports: Vec::new(),
            })
        });
        match lease {
            Some(lease) if whole && has_net == lease.address.is_some() => {
                repair_route(rtnl, config, &lease, &routes)?;
                rewrite_if_lost(config, &dir, &lease)?;
                kept.push(lease);
            }
            Some(lease) => {
                notices.push(Notice::SandboxLost { pod: lease.pod });
                pins::remove_slot(&dir)?;
                lease::remove(&config.lease_dir(), number)?;
            }
            None => {
                let address = routes
                    .get(&number)
                    .copied()
                    .filter(|a| config.pod_cidr.contains(*a));
                let unused = pins::owner(&dir).is_none();
                match address {
                    Some(address)
                        if whole && has_net && unused && ready.len() < config.pool_size =>
                    {
                        ready.push(Slot {
                            number,
                            address: Some(address),
                        })
                    }
                    _ => pins::remove_slot(&dir)?,
                }
            }
        }
    }
    // leases without a directory: of another boot
    for (number, lease) in leases {
        highest = highest.max(Some(number));
        lease::remove(&config.lease_dir(), number)?;
        notices.push(Notice::SandboxLost { pod: lease.pod });
    }
    for (slot, problem) in unreadable {
        notices.push(Notice::LeaseUnreadable {
            slot: slot_name(slot),
            problem,
            pod: None,
        });
    }

    // links of slots that are just going count, too: their names and addresses are not free yet
    highest = highest.max(seen.links.keys().filter_map(|name| link_number(name)).max());
    let used: BTreeSet<Ipv4Addr> = kept
        .iter()
        .filter_map(|lease| lease.address)
        .chain(ready.iter().filter_map(|slot| slot.address))
        .collect();
    let mut addresses = Addresses::new(
        config.pod_cidr,
        used.union(&routes.values().copied().collect())
            .copied()
            .collect(),
        highest.and_then(|number| routes.get(&number).copied()),
    );
    for (number, address) in &routes {
        if !used.contains(address) {
            addresses.free(*address, *number);
        }
    }
    Ok(Recovered {
        leases: kept,
        ready,
        addresses,
        next_number: highest.map_or(1, |number| number.wrapping_add(1)),
        notices,
    })
}

fn slots_on_disk(config: &NetworkConfig) -> Result<BTreeSet<u32>, NetworkError> {
    let dir = config.ns_dir();
    Ok(fs::read_dir(&dir)
        .map_err(|e| NetworkError::files("read", &dir, e))?
        .flatten()
        .filter_map(|entry| slot_number(entry.file_name().to_str()?))
        .collect())
}

/// Somebody may have flushed the routing table meanwhile.
fn repair_route(
    rtnl: &mut Rtnl,
    config: &NetworkConfig,
    lease: &Lease,
    routes: &BTreeMap<u32, Ipv4Addr>,
) -> Result<(), NetworkError> {
    let Some(address) = lease.address.filter(|_| !routes.contains_key(&lease.slot)) else {
        return Ok(());
    };
    let name = config.link_name(lease.slot);
    let Ok(index) = nix::net::if_::if_nametoindex(name.as_str()) else {
        tracing::warn!(pod = %lease.pod, link = name, "the link of a pod is gone; it has no network until it is replaced");
        return Ok(());
    };
    rtnl.run(vec![
        links::pod_route(address, config.pod_cidr.node_address(), index),
        links::neighbour(address, links::pod_mac(address), index),
    ])
}

/// Lease and mark say the same of a slot; the one that is missing is written again.
fn rewrite_if_lost(config: &NetworkConfig, dir: &Path, lease: &Lease) -> Result<(), NetworkError> {
    if pins::owner(dir).is_none() {
        pins::mark_owner(dir, lease.pod.as_str())?;
    }
    if config.lease_dir().join(slot_name(lease.slot)).exists() {
        return Ok(());
    }
    lease::write(&config.lease_dir(), lease)
}
