//! An address for every pod, over netlink from inside this process; nothing is ever executed.
//!
//! A **slot** is a network namespace, an ipc and a uts namespace, pinned by bind mounts under `<run>/ns/<slot>/{net,ipc,uts}`, with a
//! routed veth: the pod has `address/32`, a default route by way of a link-local gateway, and permanent neighbours on both ends; the
//! host has a `/32` route to the veth. There is no bridge. A few ready slots wait in a pool; one is used once, for one pod, and its
//! namespaces are dropped with it: the kernel takes the veth, its route and its address back.
//!
//! ```text
//!                 builder thread                      acquire                        release, sweep
//!   (nothing) ──► being made ──────► ready (pool) ──► leased (<run>/net/<slot>) ──► draining ──► address is free again
//!                    │ killed or failed: removed by the start-up sweep                  until the veth is gone
//! ```
//!
//! What flows in: pods by uid with what they want ([`Want`]). What flows out: a [`Sandbox`] to launch containers in, counters for
//! metrics, [`Notice`]s about what this machine cannot do. State is what the kernel shows plus one lease file per pod; a new agent
//! finds everything again in [`PodNetwork::start`].
//!
//! One std thread, the *builder*, makes slots: it enters new namespaces with `unshare`, which no tokio worker may do, and it is the
//! only one because the kernel's RTNL lock lets only one work anyway. Calls that may block run on tokio's blocking threads.
//!
//! | module | holds |
//! |---|---|
//! | [`hosts`], [`resolv_conf`], [`hostname`] | the files made for a pod; pure |
//! | `network`, `shared` | [`PodNetwork`]: acquire, release, sweep; the halves of them that block |
//! | `state` | who holds what, in memory; pure |
//! | `addresses`, `ports` | which address is free the longest; who has which host port; pure |
//! | `builder`, `slot`, `pins`, `links`, `rtnl` | making a slot, from the thread down to the message |
//! | `recover` | what an earlier agent left |
//! | `sysctls` | settings of the kernel in a pod's namespaces |
//! | `node` | the route over the CIDR, the node's address, forwarding |
//! | `firewall` | the nftables table: masquerade, host ports, spoof guard |
//!
//! What it does not know: manifests, containers, how a pod lives, and any address family but IPv4 so far (types carry `IpAddr`).

mod addresses;
mod builder;
mod config;
mod error;
mod firewall;
pub mod hostname;
pub mod hosts;
mod lease;
mod links;
mod network;
mod node;
mod notice;
mod pins;
mod ports;
mod recover;
pub mod resolv_conf;
mod rtnl;
mod sandbox;
mod shared;
mod slot;
mod state;
mod stats;
mod sysctls;

pub use config::{Cidr, CidrError, HostPort, NetworkConfig, NodeDns, Protocol, Want};
pub use error::NetworkError;
pub use network::{PodNetwork, Released};
pub use notice::Notice;
pub use sandbox::{Sandbox, SandboxNamespaces, open_namespaces};
pub use stats::LinkStats;
pub use sysctls::Sysctl;
