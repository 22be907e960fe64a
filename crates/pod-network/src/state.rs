//! Who holds what. Pure: no I/O, no thread; the callers do what it says and tell it how it went.

use crate::addresses::Addresses;
use crate::config::Want;
use crate::error::NetworkError;
use crate::lease::Lease;
use crate::ports::Ports;
use crate::slot::Slot;
use pod_model::PodUid;
use std::collections::{BTreeMap, VecDeque};
use tokio::sync::oneshot;

/// A slot that somebody waits for; the error is told to each of them.
pub(crate) type Delivery = Result<Slot, String>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Routed,
    HostNetwork,
}

#[derive(Debug)]
struct Waiter {
    kind: Kind,
    deliver: oneshot::Sender<Delivery>,
}

#[derive(Debug)]
enum Holding {
    /// A call is giving or taking the network of this pod.
    Moving,
    Leased(Lease),
}

#[derive(Debug)]
pub(crate) struct State {
    addresses: Addresses,
    ports: Ports,
    ready: VecDeque<Slot>,
    pods: BTreeMap<PodUid, Holding>,
    waiters: VecDeque<Waiter>,
    next_number: u32,
    pool_size: usize,
    closing: bool,
}

/// The answer to a pod that asks for its network.
#[derive(Debug)]
pub(crate) enum Begun {
    /// It has one, with the host ports that it wants.
    Has(Lease),
    /// It has one; its host ports are to be changed.
    Change {
        old: Lease,
        new: Lease,
    },
    Take(Slot),
    Wait(oneshot::Receiver<Delivery>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// A pod waits for it.
    Now,
    /// Less than half of the pool is left.
    Soon,
    /// When nobody else needs the processor.
    Whenever,
}

/// What the builder is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Build { kind: Kind, urgency: Urgency },
    Nothing,
    Stop,
}

impl State {
    pub(crate) fn new(
        addresses: Addresses,
        ready: Vec<Slot>,
        leases: Vec<Lease>,
        next_number: u32,
        pool_size: usize,
    ) -> Self {
        let mut ports = Ports::default();
        let mut pods = BTreeMap::new();
        for lease in leases {
            // two leases cannot collide, unless somebody wrote the files: the first keeps the port
            let _ = ports.take(&lease.pod, &lease.host_ports);
            pods.insert(lease.pod.clone(), Holding::Leased(lease));
        }
        Self {
            addresses,
            ports,
            ready: ready.into(),
            pods,
            waiters: VecDeque::new(),
            next_number,
            pool_size,
            closing: false,
        }
    }

    // --- a pod comes

    pub(crate) fn begin(&mut self, pod: &PodUid, want: &Want) -> Result<Begun, NetworkError> {
        if self.closing {
            return Err(NetworkError::ShuttingDown);
        }
        match self.pods.get(pod) {
            Some(Holding::Moving) => return Err(NetworkError::Busy { pod: pod.clone() }),
            Some(Holding::Leased(lease)) => {
                let lease = lease.clone();
                if lease.host_ports == want.host_ports {
                    return Ok(Begun::Has(lease));
                }
                self.ports.take(pod, &want.host_ports)?;
                self.pods.insert(pod.clone(), Holding::Moving);
                let new = Lease {
                    host_ports: want.host_ports.clone(),
                    ..lease.clone()
                };
                return Ok(Begun::Change { old: lease, new });
            }
            None => {}
        }
        self.ports.take(pod, &want.host_ports)?;
        self.pods.insert(pod.clone(), Holding::Moving);
        if !want.host_network
            && let Some(slot) = self.ready.pop_front()
        {
            return Ok(Begun::Take(slot));
        }
        let kind = if want.host_network {
            Kind::HostNetwork
        } else {
            Kind::Routed
        };
        let (deliver, delivered) = oneshot::channel();
        self.waiters.push_back(Waiter { kind, deliver });
        Ok(Begun::Wait(delivered))
    }

    pub(crate) fn leased(&mut self, lease: Lease) {
        self.pods.insert(lease.pod.clone(), Holding::Leased(lease));
    }

    /// The pod did not get its network.
    pub(crate) fn not_leased(&mut self, pod: &PodUid) {
        self.pods.remove(pod);
        self.ports.give_back(pod);
    }

    // --- a pod goes

    /// The lease to end; nobody else gets it meanwhile. `None`: the pod has none.
    pub(crate) fn begin_release(&mut self, pod: &PodUid) -> Result<Option<Lease>, NetworkError> {
        match self.pods.get_mut(pod) {
            None => Ok(None),
            Some(Holding::Moving) => Err(NetworkError::Busy { pod: pod.clone() }),
            Some(holding) => match std::mem::replace(holding, Holding::Moving) {
                Holding::Leased(lease) => Ok(Some(lease)),
                Holding::Moving => Ok(None),
            },
        }
    }

    pub(crate) fn released(&mut self, lease: &Lease) {
        self.pods.remove(&lease.pod);
        self.ports.give_back(&lease.pod);
        self.unmade(lease.slot());
    }

    // --- the builder

    pub(crate) fn next_work(&mut self) -> Work {
        if self.closing {
            return Work::Stop;
        }
        self.waiters.retain(|waiter| !waiter.deliver.is_closed());
        if let Some(waiter) = self.waiters.front() {
            return Work::Build {
                kind: waiter.kind,
                urgency: Urgency::Now,
            };
        }
        if self.ready.len() < self.pool_size {
            let is_low = self.ready.len() * 2 < self.pool_size;
            return Work::Build {
                kind: Kind::Routed,
                urgency: if is_low {
                    Urgency::Soon
                } else {
                    Urgency::Whenever
                },
            };
        }
        Work::Nothing
    }

    /// Number and address for a new slot. `gone` says whether the links of an old slot are.
    pub(crate) fn plan(&mut self, kind: Kind, gone: impl Fn(u32) -> bool) -> Option<Slot> {
        let address = match kind {
            Kind::Routed => Some(self.addresses.take(gone)?),
            Kind::HostNetwork => None,
        };
        let number = self.next_number;
        self.next_number = self.next_number.wrapping_add(1);
        Some(Slot { number, address })
    }

    /// Some address will be free as soon as the kernel is done with its last owner.
    pub(crate) fn awaits_addresses(&self) -> bool {
        self.addresses.awaited() > 0
    }

    pub(crate) fn addresses_in_use(&self) -> usize {
        self.addresses.in_use()
    }

    /// A new slot goes to who waits for its kind, else to the pool. Given back: a slot that has no place.
    pub(crate) fn made(&mut self, mut slot: Slot) -> Option<Slot> {
        let kind = if slot.address.is_some() {
            Kind::Routed
        } else {
            Kind::HostNetwork
        };
        while let Some(at) = self.waiters.iter().position(|waiter| waiter.kind == kind) {
            let Some(waiter) = self.waiters.remove(at) else {
                break;
            };
            match waiter.deliver.send(Ok(slot)) {
                Ok(()) => return None,
                Err(back) => slot = back.unwrap_or(slot),
            }
        }
        match kind {
            Kind::Routed => {
                self.ready.push_back(slot);
                None
            }
            Kind::HostNetwork => Some(slot),
        }
    }

    /// A slot that could not be made, or is no more.
    pub(crate) fn unmade(&mut self, slot: Slot) {
        if let Some(address) = slot.address {
            self.addresses.free(address, slot.number);
        }
    }

    /// Nobody will get a slot of this kind now.
    pub(crate) fn fail_waiters(&mut self, kind: Kind, problem: &str) {
        for waiter in std::mem::take(&mut self.waiters) {
            if waiter.kind == kind {
                let _ = waiter.deliver.send(Err(problem.to_owned()));
            } else {
                self.waiters.push_back(waiter);
            }
        }
    }

    // --- everybody

    pub(crate) fn lease(&self, pod: &PodUid) -> Option<&Lease> {
        match self.pods.get(pod) {
            Some(Holding::Leased(lease)) => Some(lease),
            _ => None,
        }
    }

    pub(crate) fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.pods.values().filter_map(|holding| match holding {
            Holding::Leased(lease) => Some(lease),
            Holding::Moving => None,
        })
    }

    pub(crate) fn ready_count(&self) -> usize {
        self.ready.len()
    }

    /// No new pods, no new slots.
    pub(crate) fn close(&mut self) {
        self.closing = true;
        self.waiters.clear();
    }

    pub(crate) fn take_ready(&mut self) -> Vec<Slot> {
        self.ready.drain(..).collect()
    }
}

#[cfg(test)]
mod tests;
