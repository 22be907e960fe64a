//! The node's network: pods come, pods go.

use crate::builder;
use crate::config::{NetworkConfig, Want};
use crate::error::NetworkError;
use crate::firewall::Firewall;
use crate::lease::Lease;
use crate::node;
use crate::notice::Notice;
use crate::pins;
use crate::recover;
use crate::rtnl::Rtnl;
use crate::sandbox::Sandbox;
use crate::shared::{Shared, Spans, open_ports_of};
use crate::state::{Begun, State};
use crate::stats::{self, LinkStats};
use pod_model::PodUid;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    Released,
    NotThere,
}

/// Cheap to clone. The last clone stops the builder thread when it goes; slots and leases stay for the next agent.
#[derive(Clone)]
pub struct PodNetwork {
    owner: Arc<Owner>,
}

struct Owner {
    shared: Arc<Shared>,
    builder: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Owner {
    fn stop(&self) {
        self.shared.state().close();
        self.shared.notify();
        let thread = self
            .builder
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the thread for network slots panicked");
        }
    }
}

impl PodNetwork {
    /// Finds what an earlier agent left, sets the node up and starts to fill the pool. Blocks for some milliseconds; call it before the
    /// runtime's work begins or on a blocking thread, in the host's network namespace.
    pub fn start(config: NetworkConfig) -> Result<Self, NetworkError> {
        let mut rtnl = Rtnl::open()?;
        pins::prepare(&config.ns_dir())?;
        recover::lease_dir(&config.lease_dir())?;
        let seen = node::look(&mut rtnl, &config)?;
        node::set_up(&mut rtnl, &config, &seen)?;
        let recovered = recover::recover(&mut rtnl, &config, &seen)?;
        let mut notices = recovered.notices;
        notices.extend(
            seen.overlaps
                .into_iter()
                .map(|network| Notice::CidrOverlaps { network }),
        );

        let open = open_ports_of(recovered.leases.iter());
        let firewall = Firewall::start(&config, &open).map_err(|error| error.chain());
        if let Err(problem) = &firewall {
            notices.push(Notice::NoFirewall {
                problem: problem.clone(),
            });
        }
        let state = State::new(
            recovered.addresses,
            recovered.ready,
            recovered.leases,
            recovered.next_number,
            config.pool_size,
        );
        let shared = Arc::new(Shared::new(config, state, firewall, notices));
        let builder = builder::start(shared.clone())?;
        Ok(Self {
            owner: Arc::new(Owner {
                shared,
                builder: Mutex::new(Some(builder)),
            }),
        })
    }

    /// What to tell the person who runs this node.
    pub fn notices(&self) -> &[Notice] {
        &self.shared().notices
    }

    /// Gives a pod its network: the one it has, a ready slot, or a new one. Asked again with other host ports it changes those.
    ///
    /// Cancel-safe: what was begun is finished, and the next call finds it.
    pub async fn acquire(&self, pod: &PodUid, want: Want) -> Result<Sandbox, NetworkError> {
        let shared = self.shared().clone();
        let pod = pod.clone();
        let mut spans = Spans::new();
        shared.pod_comes(spans.last);
        let begun = shared.state().begin(&pod, &want)?;
        shared.notify();
        let has_ports = !want.host_ports.is_empty();
        let work = match begun {
            Begun::Has(lease) => return Ok(shared.sandbox(&lease, spans.steps)),
            Begun::Change { old, new } => tokio::task::spawn_blocking(move || {
                let lease = shared.change_ports(&old, new, &mut spans)?;
                Ok(shared.sandbox(&lease, spans.steps))
            }),
            Begun::Take(slot) => {
                spans.step("slot from the pool");
                let lease_out = move || {
                    let lease = shared.lease_out(&pod, slot, &want, &mut spans)?;
                    Ok(shared.sandbox(&lease, spans.steps))
                };
                if !has_ports {
                    // two files in memory: less than waking a thread up
                    return lease_out();
                }
                tokio::task::spawn_blocking(lease_out)
            }
            Begun::Wait(delivered) => tokio::spawn(async move {
                let slot = match delivered.await {
                    Ok(Ok(slot)) => slot,
                    Ok(Err(problem)) => {
                        shared.state().not_leased(&pod);
                        return Err(NetworkError::Builder(problem));
                    }
                    Err(_) => {
                        shared.state().not_leased(&pod);
                        return Err(NetworkError::ShuttingDown);
                    }
                };
                spans.step("slot made");
                tokio::task::spawn_blocking(move || {
                    let lease = shared.lease_out(&pod, slot, &want, &mut spans)?;
                    Ok(shared.sandbox(&lease, spans.steps))
                })
                .await
                .unwrap_or(Err(NetworkError::ShuttingDown))
            }),
        };
        work.await.unwrap_or(Err(NetworkError::ShuttingDown))
    }

    /// The network that a pod has.
    pub fn sandbox(&self, pod: &PodUid) -> Option<Sandbox> {
        let shared = self.shared();
        let state = shared.state();
        state
            .lease(pod)
            .map(|lease| shared.sandbox(lease, Vec::new()))
    }

    /// Every pod that holds something of the network.
    pub fn leased_pods(&self) -> Vec<PodUid> {
        let state = self.shared().state();
        state.leases().map(|lease| lease.pod.clone()).collect()
    }

    /// Ends a pod's lease. Its namespaces die with their last process; its address is not given out before its link is gone.
    ///
    /// Cancel-safe like [`Self::acquire`]. After an error the lease is still there and the call can be repeated.
    pub async fn release(&self, pod: &PodUid) -> Result<Released, NetworkError> {
        let shared = self.shared().clone();
        let Some(lease) = shared.state().begin_release(pod)? else {
            return Ok(Released::NotThere);
        };
        tokio::task::spawn_blocking(move || match shared.undo(&lease) {
            Ok(()) => {
                shared.state().released(&lease);
                shared.notify();
                Ok(Released::Released)
            }
            Err(error) => {
                shared.state().leased(lease);
                Err(error)
            }
        })
        .await
        .unwrap_or(Err(NetworkError::ShuttingDown))
    }

    /// Releases what belongs to no pod of `live`. Goes on after an error; the pods that were released, and what failed.
    pub async fn sweep(&self, live: &BTreeSet<PodUid>) -> (Vec<PodUid>, Vec<NetworkError>) {
        let orphans: Vec<PodUid> = {
            let state = self.shared().state();
            state
                .leases()
                .map(|lease| lease.pod.clone())
                .filter(|pod| !live.contains(pod))
                .collect()
        };
        let (mut released, mut errors) = (Vec::new(), Vec::new());
        for pod in orphans {
            match self.release(&pod).await {
                Ok(_) => released.push(pod),
                Err(error) => errors.push(error),
            }
        }
        (released, errors)
    }

    /// Looks whether the nftables table is still there and makes it anew if somebody flushed the ruleset (`nft flush ruleset` of a firewall
    /// that is reloaded). One message; for the slow listing. Says whether something was repaired.
    pub async fn repair(&self) -> Result<bool, NetworkError> {
        let shared = self.shared().clone();
        tokio::task::spawn_blocking(move || shared.repair())
            .await
            .unwrap_or(Err(NetworkError::ShuttingDown))
    }

    /// Counters of every pod with a network of its own.
    pub async fn stats(&self) -> Result<BTreeMap<PodUid, LinkStats>, NetworkError> {
        let shared = self.shared().clone();
        tokio::task::spawn_blocking(move || {
            let by_link = stats::read(&shared.config.link_prefix())?;
            let state = shared.state();
            Ok(state
                .leases()
                .filter(|lease| lease.address.is_some())
                .filter_map(|lease| {
                    let stats = by_link.get(&shared.config.link_name(lease.slot))?;
                    Some((lease.pod.clone(), *stats))
                })
                .collect())
        })
        .await
        .unwrap_or(Err(NetworkError::ShuttingDown))
    }

    /// Slots that wait in the pool.
    pub fn ready_slots(&self) -> usize {
        self.shared().state().ready_count()
    }

    /// Stops the builder thread; no more pods. Everything in the kernel stays for the next agent. Blocks for up to one slot.
    pub fn shutdown(&self) {
        self.owner.stop();
    }

    /// For `coracle down`: stops, and removes every slot, lease, route, address and rule of this node. Blocks.
    pub fn remove_everything(&self) -> Result<(), Vec<NetworkError>> {
        self.owner.stop();
        let shared = self.shared();
        let mut errors = Vec::new();
        let mut note = |result: Result<(), NetworkError>| errors.extend(result.err());
        let leases: Vec<Lease> = shared.state().leases().cloned().collect();
        for lease in leases {
            let undone = shared.undo(&lease);
            if undone.is_ok() {
                shared.state().released(&lease);
            }
            note(undone);
        }
        for slot in shared.state().take_ready() {
            note(pins::remove_slot(&shared.slot_dir(slot.number)));
        }
        if let Ok(firewall) = shared.firewall().as_mut() {
            note(firewall.remove());
        }
        note(Rtnl::open().and_then(|mut rtnl| node::tear_down(&mut rtnl, &shared.config)));
        note(pins::remove_all(&shared.config.ns_dir()));
        note(recover::remove_lease_dir(&shared.config.lease_dir()));
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.owner.shared
    }
}

impl fmt::Debug for PodNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PodNetwork")
            .field("pod_cidr", &self.shared().config.pod_cidr)
            .finish_non_exhaustive()
    }
}
