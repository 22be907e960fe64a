//! Making one slot, on a thread that may change its namespaces.
//!
//! ```text
//! new net, ipc, uts ─► pinned ─► eth0, lo, address, default route, neighbour (pod) ─► back home ─► up, route, neighbour (host)
//! ```
//!
//! The host's route comes last but one: a slot that has it and all pins is complete. Killed anywhere before, what is left is pins
//! without a route, which the next start removes; a namespace without a pin dies with the thread.

use crate::config::NetworkConfig;
use crate::error::NetworkError;
use crate::links;
use crate::pins;
use crate::rtnl::Rtnl;
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// A ready or used slot. Without an address it has no network namespace of its own: for pods on the host's network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) number: u32,
    pub(crate) address: Option<Ipv4Addr>,
}

/// The name of a slot's directory and lease.
pub(crate) fn slot_name(number: u32) -> String {
    format!("{number:x}")
}

/// Only the canonical form, so that one slot has one name.
pub(crate) fn slot_number(name: &str) -> Option<u32> {
    let number = u32::from_str_radix(name, 16).ok()?;
    (slot_name(number) == name).then_some(number)
}

/// Belongs to one thread; that thread's namespaces are the host's whenever no call runs.
pub(crate) struct SlotMaker {
    config: NetworkConfig,
    home: Home,
    host: Rtnl,
    has_ipv6: bool,
}

impl SlotMaker {
    pub(crate) fn new(config: NetworkConfig) -> Result<Self, NetworkError> {
        Ok(Self {
            home: Home::of_this_thread()?,
            host: Rtnl::open()?,
            has_ipv6: Path::new("/proc/sys/net/ipv6/conf/default").is_dir(),
            config,
        })
    }

    /// Makes `slot` or leaves nothing.
    pub(crate) fn make(&mut self, slot: Slot) -> Result<(), NetworkError> {
        let dir = self.config.ns_dir().join(slot_name(slot.number));
        let made = match slot.address {
            Some(address) => self.with_network(&dir, slot.number, address),
            None => self.without_network(&dir),
        };
        if made.is_err()
            && let Err(error) = pins::remove_slot(&dir)
        {
            tracing::warn!(
                error = error.chain(),
                "a half-made network slot stays until the next start"
            );
        }
        made
    }

    fn without_network(&mut self, dir: &Path) -> Result<(), NetworkError> {
        pins::create_slot(dir)?;
        let away = self
            .home
            .leave(CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS)?;
        pins::pin(dir, pins::IPC)?;
        pins::pin(dir, pins::UTS)?;
        away.back()
    }

    fn with_network(
        &mut self,
        dir: &Path,
        number: u32,
        address: Ipv4Addr,
    ) -> Result<(), NetworkError> {
        pins::create_slot(dir)?;
        let host_name = self.config.link_name(number);
        let away = self.home.leave(
            CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS,
        )?;
        for kind in [pins::NET, pins::IPC, pins::UTS] {
            pins::pin(dir, kind)?;
        }
        let mut pod = Rtnl::open()?;
        pod.run(vec![
            links::add_pair(address, &host_name, self.home.net.as_fd()),
            links::loopback_up(),
        ])?;
        // not always 2: some kernels put tunnel devices into every namespace
        let index = index_of("eth0")?;
        pod.run(vec![
            links::add_address(address, index),
            links::default_route(index),
            links::neighbour(links::GATEWAY, links::HOST_MAC, index),
        ])?;
        away.back()?;

        let index = index_of(&host_name)?;
        if self.has_ipv6 {
            refuse_router_advertisements(&host_name)?;
        }
        self.host.run(vec![
            links::host_end_up(index, &host_name, self.has_ipv6),
            links::pod_route(address, self.config.pod_cidr.node_address(), index),
            links::neighbour(address, links::pod_mac(address), index),
        ])
    }
}

pub(crate) fn index_of(link: &str) -> Result<u32, NetworkError> {
    if_nametoindex(link).map_err(|e| NetworkError::Netlink {
        what: format!("find link {link}"),
        source: e.into(),
    })
}

/// The pod is no router of ours (CVE-2020-10749).
fn refuse_router_advertisements(link: &str) -> Result<(), NetworkError> {
    let path = PathBuf::from(format!("/proc/sys/net/ipv6/conf/{link}/accept_ra"));
    std::fs::write(&path, "0").map_err(|e| NetworkError::files("write", path, e))
}

/// Where the thread belongs.
struct Home {
    net: File,
    ipc: File,
    uts: File,
}

impl Home {
    fn of_this_thread() -> Result<Self, NetworkError> {
        let open = |kind: &str| {
            let path = format!("/proc/thread-self/ns/{kind}");
            File::open(&path).map_err(|e| NetworkError::files("open", path, e))
        };
        Ok(Self {
            net: open(pins::NET)?,
            ipc: open(pins::IPC)?,
            uts: open(pins::UTS)?,
        })
    }

    /// Into new namespaces. The value brings the thread back, also on the way out of an error.
    fn leave(&self, which: CloneFlags) -> Result<Away<'_>, NetworkError> {
        unshare(which).map_err(|e| NetworkError::Namespaces {
            what: if which.contains(CloneFlags::CLONE_NEWNET) {
                "net, ipc and uts"
            } else {
                "ipc and uts"
            },
            source: e.into(),
        })?;
        Ok(Away {
            home: self,
            which,
            is_away: true,
        })
    }
}

struct Away<'a> {
    home: &'a Home,
    which: CloneFlags,
    is_away: bool,
}

impl Away<'_> {
    fn back(mut self) -> Result<(), NetworkError> {
        self.return_home()
            .map_err(|source| NetworkError::Namespaces {
                what: "the host's instead of",
                source,
            })
    }

    fn return_home(&mut self) -> io::Result<()> {
        if self.which.contains(CloneFlags::CLONE_NEWNET) {
            setns(&self.home.net, CloneFlags::CLONE_NEWNET)?;
        }
        setns(&self.home.ipc, CloneFlags::CLONE_NEWIPC)?;
        setns(&self.home.uts, CloneFlags::CLONE_NEWUTS)?;
        self.is_away = false;
        Ok(())
    }
}

impl Drop for Away<'_> {
    fn drop(&mut self) {
        if self.is_away
            && let Err(error) = self.return_home()
        {
            // everything that this thread makes from now on would be made inside a pod
            panic!("cannot return to the host's namespaces: {error}");
        }
    }
}
