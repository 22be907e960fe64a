//! The node's network: pods come, pods go.

use crate::builder;
use crate::config::{HostPort, NetworkConfig, Want};
use crate::error::NetworkError;
use crate::firewall::Firewall;
use crate::lease::{self, Lease};
use crate::links;
use crate::node;
use crate::pins;
use crate::recover;
use crate::rtnl::Rtnl;
use crate::slot::{Slot, index_of, slot_name};
use crate::state::{Begun, State};
use crate::stats::{self, LinkStats};
use pod_model::PodUid;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The network of one pod, ready for containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// Name of the slot: of its directory under `<run>/ns` and its lease.
    pub slot: String,
    /// IPv4 first. Empty: the pod uses the host's network.
    pub addresses: Vec<IpAddr>,
    /// `None`: the host's network namespace.
    pub net: Option<PathBuf>,
    pub ipc: PathBuf,
    pub uts: PathBuf,
    /// Where the time of this call went, in order.
    pub spans: Vec<(String, Duration)>,
}

/// Descriptors to enter a sandbox by; the namespaces live at least as long.
#[derive(Debug)]
pub struct SandboxNamespaces {
    pub net: Option<OwnedFd>,
    pub ipc: OwnedFd,
    pub uts: OwnedFd,
}

/// Opens the pinned namespaces of a sandbox.
pub fn open_namespaces(sandbox: &Sandbox) -> Result<SandboxNamespaces, NetworkError> {
    let open = |path: &Path| {
        File::open(path)
            .map(OwnedFd::from)
            .map_err(|e| NetworkError::files("open namespace", path, e))
    };
    Ok(SandboxNamespaces {
        net: sandbox.net.as_deref().map(open).transpose()?,
        ipc: open(&sandbox.ipc)?,
        uts: open(&sandbox.uts)?,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    Released,
    NotThere,
}

/// Something that the person who runs this node should know; said once, by whoever started the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// No masquerade and no host ports: pods reach each other and the host only.
    NoFirewall { problem: String },
    /// Another network of this machine has addresses of the pod CIDR.
    CidrOverlaps { network: String },
    /// Moved aside; the pod keeps its slot if the slot's directory names it.
    LeaseUnreadable {
        slot: String,
        problem: String,
        pod: Option<PodUid>,
    },
    /// The lease is there, the namespaces are not: the pod needs a new sandbox.
    SandboxLost { pod: PodUid },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFirewall { problem } => write!(
                f,
                "the kernel has no nf_tables with NAT ({problem}): pods reach each other and this machine, but not the outside, and pods with host ports fail"
            ),
            Self::CidrOverlaps { network } => write!(
                f,
                "{network} overlaps with the pod CIDR: some pod addresses may be unreachable; give this node another pod CIDR"
            ),
            Self::LeaseUnreadable { slot, problem, pod } => {
                write!(
                    f,
                    "the lease of network slot {slot} was unreadable ({problem}) and moved aside"
                )?;
                match pod {
                    Some(pod) => write!(f, "; rebuilt for pod {pod}"),
                    None => write!(f, "; its slot is removed"),
                }
            }
            Self::SandboxLost { pod } => write!(f, "the network namespaces of pod {pod} are gone"),
        }
    }
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
        self.shared.changed.notify_all();
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

/// What the builder thread and the callers share.
pub(crate) struct Shared {
    pub(crate) config: NetworkConfig,
    state: Mutex<State>,
    changed: Condvar,
    last_pod: Mutex<Instant>,
    firewall: Mutex<Result<Firewall, String>>,
    notices: Vec<Notice>,
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // a panic elsewhere leaves the state as whole as any error does: each method finishes or does nothing
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until something changed, or `at_most` has passed.
    pub(crate) fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        at_most: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        match at_most {
            Some(at_most) => {
                self.changed
                    .wait_timeout(state, at_most)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
            None => self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// When the last pod came.
    pub(crate) fn last_pod(&self) -> Instant {
        *self.last_pod.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of a slot that no pod has.
    pub(crate) fn discard(&self, slot: Slot) {
        if let Err(error) = pins::remove_slot(&self.slot_dir(slot.number)) {
            tracing::warn!(
                error = error.chain(),
                "a network slot stays until the next start"
            );
        }
        self.state().unmade(slot);
    }

    fn slot_dir(&self, number: u32) -> PathBuf {
        self.config.ns_dir().join(slot_name(number))
    }

    fn firewall(&self) -> MutexGuard<'_, Result<Firewall, String>> {
        self.firewall.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // --- blocking halves of the calls

    /// Makes `slot` this pod's, or gives it back.
    fn lease_out(
        &self,
        pod: &PodUid,
        slot: Slot,
        want: &Want,
        spans: &mut Spans,
    ) -> Result<Lease, NetworkError> {
        let lease = Lease {
            slot: slot.number,
            pod: pod.clone(),
            address: slot.address,
            host_ports: want.host_ports.clone(),
        };
        let leased = self.write_lease(&lease, spans).and_then(|()| {
            self.open_ports(&lease)?;
            spans.step_if(!lease.host_ports.is_empty(), "host ports");
            Ok(())
        });
        match leased {
            Ok(()) => {
                self.state().leased(lease.clone());
                Ok(lease)
            }
            Err(error) => {
                if let Err(error) = self.undo(&lease) {
                    tracing::warn!(error = error.chain(), %pod, "cannot undo half a network");
                }
                self.state().not_leased(pod);
                self.state().unmade(slot);
                Err(error)
            }
        }
    }

    fn write_lease(&self, lease: &Lease, spans: &mut Spans) -> Result<(), NetworkError> {
        lease::write(&self.config.lease_dir(), lease)?;
        pins::mark_owner(&self.slot_dir(lease.slot), lease.pod.as_str())?;
        spans.step("lease");
        Ok(())
    }

    /// The pod of `old` wants other host ports.
    fn change_ports(
        &self,
        old: &Lease,
        new: Lease,
        spans: &mut Spans,
    ) -> Result<Lease, NetworkError> {
        let changed = self
            .close_ports(old)
            .and_then(|()| self.open_ports(&new))
            .and_then(|()| lease::write(&self.config.lease_dir(), &new));
        spans.step("host ports");
        let mut state = self.state();
        match changed {
            Ok(()) => {
                state.leased(new.clone());
                Ok(new)
            }
            Err(error) => {
                state.leased(old.clone());
                Err(error)
            }
        }
    }

    fn open_ports(&self, lease: &Lease) -> Result<(), NetworkError> {
        // on the host's network a port needs no rule
        let Some(address) = lease.address.filter(|_| !lease.host_ports.is_empty()) else {
            return Ok(());
        };
        let mut firewall = self.firewall();
        let firewall = firewall
            .as_mut()
            .map_err(|problem| NetworkError::NoFirewall {
                problem: problem.clone(),
            })?;
        firewall.open_ports(address, &lease.host_ports)?;
        if lease.host_ports.iter().any(answers_on_loopback) {
            let name = self.config.link_name(lease.slot);
            Rtnl::open()?.run(vec![links::allow_loopback_addresses(
                index_of(&name)?,
                &name,
            )])?;
        }
        Ok(())
    }

    fn close_ports(&self, lease: &Lease) -> Result<(), NetworkError> {
        let Some(address) = lease.address.filter(|_| !lease.host_ports.is_empty()) else {
            return Ok(());
        };
        match self.firewall().as_mut() {
            Ok(firewall) => firewall.close_ports(address, &lease.host_ports),
            Err(_) => Ok(()),
        }
    }

    /// Takes everything of a lease away. The file goes last: whoever finds it, undoes again.
    fn undo(&self, lease: &Lease) -> Result<(), NetworkError> {
        let ports = self.close_ports(lease);
        pins::remove_slot(&self.slot_dir(lease.slot))?;
        ports?;
        lease::remove(&self.config.lease_dir(), lease.slot)
    }

    fn repair(&self) -> Result<bool, NetworkError> {
        // in this order everywhere: the firewall, then the state
        let mut firewall = self.firewall();
        if let Ok(firewall) = firewall.as_mut()
            && firewall.is_whole()?
        {
            return Ok(false);
        }
        let open = open_ports_of(self.state().leases());
        match firewall.as_mut() {
            Ok(firewall) => firewall.replace(&open)?,
            Err(_) => *firewall = Ok(Firewall::start(&self.config, &open)?),
        }
        Ok(true)
    }

    fn sandbox(&self, lease: &Lease, spans: Vec<(String, Duration)>) -> Sandbox {
        let dir = self.slot_dir(lease.slot);
        Sandbox {
            slot: slot_name(lease.slot),
            addresses: lease.address.map(IpAddr::V4).into_iter().collect(),
            net: lease.address.map(|_| dir.join(pins::NET)),
            ipc: dir.join(pins::IPC),
            uts: dir.join(pins::UTS),
            spans,
        }
    }
}

fn open_ports_of<'a>(leases: impl Iterator<Item = &'a Lease>) -> Vec<(Ipv4Addr, Vec<HostPort>)> {
    leases
        .filter_map(|lease| Some((lease.address?, lease.host_ports.clone())))
        .collect()
}

fn answers_on_loopback(port: &HostPort) -> bool {
    port.host_ip.is_none_or(|ip: Ipv4Addr| ip.is_loopback())
}

/// Consecutive steps of one call.
struct Spans {
    last: Instant,
    steps: Vec<(String, Duration)>,
}

impl Spans {
    fn new() -> Self {
        Self {
            last: Instant::now(),
            steps: Vec::new(),
        }
    }
    fn step(&mut self, name: &str) {
        let now = Instant::now();
        self.steps.push((name.to_owned(), now - self.last));
        self.last = now;
    }
    fn step_if(&mut self, happened: bool, name: &str) {
        if happened {
            self.step(name);
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
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(
                recovered.addresses,
                recovered.ready,
                recovered.leases,
                recovered.next_number,
                config.pool_size,
            )),
            changed: Condvar::new(),
            last_pod: Mutex::new(Instant::now()),
            firewall: Mutex::new(firewall),
            notices,
            config,
        });
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
        *shared
            .last_pod
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = spans.last;
        let begun = shared.state().begin(&pod, &want)?;
        shared.changed.notify_all();
        let work = match begun {
            Begun::Has(lease) => return Ok(shared.sandbox(&lease, spans.steps)),
            Begun::Change { old, new } => tokio::task::spawn_blocking(move || {
                let lease = shared.change_ports(&old, new, &mut spans)?;
                Ok(shared.sandbox(&lease, spans.steps))
            }),
            Begun::Take(slot) => tokio::task::spawn_blocking(move || {
                spans.step("slot from the pool");
                let lease = shared.lease_out(&pod, slot, &want, &mut spans)?;
                Ok(shared.sandbox(&lease, spans.steps))
            }),
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
                shared.changed.notify_all();
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
