//! What the builder thread and the callers share, and the halves of the calls that block.

use crate::config::{HostPort, NetworkConfig, Want};
use crate::error::NetworkError;
use crate::firewall::Firewall;
use crate::lease::{self, Lease};
use crate::links;
use crate::notice::Notice;
use crate::pins;
use crate::rtnl::Rtnl;
use crate::sandbox::Sandbox;
use crate::slot::{Slot, index_of, slot_name};
use crate::state::State;
use pod_model::PodUid;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What the builder thread and the callers share.
pub(crate) struct Shared {
    pub(crate) config: NetworkConfig,
    state: Mutex<State>,
    changed: Condvar,
    last_pod: Mutex<Instant>,
    firewall: Mutex<Result<Firewall, String>>,
    pub(crate) notices: Vec<Notice>,
}

impl Shared {
    pub(crate) fn new(
        config: NetworkConfig,
        state: State,
        firewall: Result<Firewall, String>,
        notices: Vec<Notice>,
    ) -> Self {
        Self {
            config,
            state: Mutex::new(state),
            changed: Condvar::new(),
            last_pod: Mutex::new(Instant::now()),
            firewall: Mutex::new(firewall),
            notices,
        }
    }

    /// Wakes the builder, and who waits for an address.
    pub(crate) fn notify(&self) {
        self.changed.notify_all();
    }

    pub(crate) fn pod_comes(&self, now: Instant) {
        *self.last_pod.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

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

    pub(crate) fn slot_dir(&self, number: u32) -> PathBuf {
        self.config.ns_dir().join(slot_name(number))
    }

    pub(crate) fn firewall(&self) -> MutexGuard<'_, Result<Firewall, String>> {
        self.firewall.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // --- blocking halves of the calls

    /// Makes `slot` this pod's, or gives it back.
    pub(crate) fn lease_out(
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
    pub(crate) fn change_ports(
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
    pub(crate) fn undo(&self, lease: &Lease) -> Result<(), NetworkError> {
        let ports = self.close_ports(lease);
        pins::remove_slot(&self.slot_dir(lease.slot))?;
        ports?;
        lease::remove(&self.config.lease_dir(), lease.slot)
    }

    pub(crate) fn repair(&self) -> Result<bool, NetworkError> {
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

    pub(crate) fn sandbox(&self, lease: &Lease, spans: Vec<(String, Duration)>) -> Sandbox {
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

pub(crate) fn open_ports_of<'a>(
    leases: impl Iterator<Item = &'a Lease>,
) -> Vec<(Ipv4Addr, Vec<HostPort>)> {
    leases
        .filter_map(|lease| Some((lease.address?, lease.host_ports.clone())))
        .collect()
}

fn answers_on_loopback(port: &HostPort) -> bool {
    port.host_ip.is_none_or(|ip: Ipv4Addr| ip.is_loopback())
}

/// Consecutive steps of one call.
pub(crate) struct Spans {
    pub(crate) last: Instant,
    pub(crate) steps: Vec<(String, Duration)>,
}

impl Spans {
    pub(crate) fn new() -> Self {
        Self {
            last: Instant::now(),
            steps: Vec::new(),
        }
    }
    pub(crate) fn step(&mut self, name: &str) {
        let now = Instant::now();
        self.steps.push((name.to_owned(), now - self.last));
        self.last = now;
    }
    pub(crate) fn step_if(&mut self, happened: bool, name: &str) {
        if happened {
            self.step(name);
        }
    }
}
