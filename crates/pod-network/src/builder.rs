//! The thread that makes slots: at once for who waits, in the background for the pool.
//!
//! Making for the pool is paced: it pauses for [`PACE`] after each slot, and while more than half of the pool is left it waits until no
//! pod has come for [`QUIET`]. A pod that starts alone has the processor and the RTNL lock for itself; a row of starts, one after
//! another, still finds slots.

use crate::config::NetworkConfig;
use crate::error::NetworkError;
use crate::shared::Shared;
use crate::slot::{Slot, SlotMaker};
use crate::state::{Kind, Urgency, Work};
use nix::net::if_::if_nametoindex;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Between two slots for the pool.
const PACE: Duration = Duration::from_millis(2);
/// After the last pod that came, before a pool that is half full is filled further.
const QUIET: Duration = Duration::from_millis(10);
/// After a failure in the background, doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long a pod waits for the address of one that went, which the kernel takes some milliseconds to give up.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(3);
const ADDRESS_POLL: Duration = Duration::from_millis(5);

/// Starts the thread; it stops when the state is closed.
pub(crate) fn start(shared: Arc<Shared>) -> Result<JoinHandle<()>, NetworkError> {
    let (tell, told) = mpsc::channel();
    let config = shared.config.clone();
    let thread = thread::Builder::new()
        .name("network-slots".to_owned())
        .stack_size(256 * 1024)
        .spawn(move || match SlotMaker::new(config) {
            Ok(maker) => {
                let _ = tell.send(Ok(()));
                run(&shared, maker);
            }
            Err(error) => {
                let _ = tell.send(Err(error));
            }
        })
        .map_err(|e| NetworkError::files("start a thread for", "network slots", e))?;
    told.recv().unwrap_or(Err(NetworkError::ShuttingDown))?;
    Ok(thread)
}

fn run(shared: &Shared, mut maker: SlotMaker) {
    // whatever happens to this thread, nobody waits for it in vain
    let _close = CloseOnExit(shared);
    let mut pause = FIRST_PAUSE;
    // not before this is anything made for the pool
    let mut background_from = Instant::now();
    while let Some((kind, urgency)) = wait_for_work(shared, background_from) {
        match make(shared, &mut maker, kind, urgency) {
            Ok(slot) => {
                pause = FIRST_PAUSE;
                background_from = Instant::now() + PACE;
                let left_over = shared.state().made(slot);
                if let Some(slot) = left_over {
                    shared.discard(slot);
                }
            }
            Err(error) if urgency == Urgency::Now => {
                tracing::warn!(error = error.chain(), "cannot make a network slot");
                shared.state().fail_waiters(kind, &error.chain());
            }
            Err(error) => {
                tracing::debug!(
                    error = error.chain(),
                    "cannot fill the pool of network slots now"
                );
                background_from = Instant::now() + pause;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

fn make(
    shared: &Shared,
    maker: &mut SlotMaker,
    kind: Kind,
    urgency: Urgency,
) -> Result<Slot, NetworkError> {
    let slot = plan(shared, kind, urgency)?;
    maker
        .make(slot)
        .map(|()| slot)
        .inspect_err(|_| shared.state().unmade(slot))
}

fn plan(shared: &Shared, kind: Kind, urgency: Urgency) -> Result<Slot, NetworkError> {
    let deadline = Instant::now() + ADDRESS_PATIENCE;
    let mut state = shared.state();
    loop {
        if let Some(slot) = state.plan(kind, |number| link_is_gone(&shared.config, number)) {
            return Ok(slot);
        }
        if urgency != Urgency::Now || !state.awaits_addresses() || Instant::now() >= deadline {
            return Err(NetworkError::NoAddress {
                cidr: shared.config.pod_cidr,
                in_use: state.addresses_in_use(),
            });
        }
        state = shared.wait(state, Some(ADDRESS_POLL));
    }
}

/// Blocks until there is something to make. `None`: stop.
fn wait_for_work(shared: &Shared, background_from: Instant) -> Option<(Kind, Urgency)> {
    let mut state = shared.state();
    loop {
        let (kind, urgency) = match state.next_work() {
            Work::Stop => return None,
            Work::Nothing => {
                state = shared.wait(state, None);
                continue;
            }
            Work::Build { kind, urgency } => (kind, urgency),
        };
        let from = match urgency {
            Urgency::Now => return Some((kind, urgency)),
            Urgency::Soon => background_from,
            Urgency::Whenever => background_from.max(shared.last_pod() + QUIET),
        };
        let left = from.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Some((kind, urgency));
        }
        state = shared.wait(state, Some(left));
    }
}

fn link_is_gone(config: &NetworkConfig, slot: u32) -> bool {
    if_nametoindex(config.link_name(slot).as_str()).is_err()
}

struct CloseOnExit<'a>(&'a Shared);

impl Drop for CloseOnExit<'_> {
    fn drop(&mut self) {
        self.0.state().close();
    }
}
