//! The thread that makes slots: at once for who waits, in the background for the pool.
//!
//! Making for the pool is paced: after each slot the thread pauses for [`PACE`], so that a burst of pod starts has the processor and
//! the RTNL lock for the pods that are due, and a row of starts one after another still finds the pool filled.

use crate::config::NetworkConfig;
use crate::error::NetworkError;
use crate::network::Shared;
use crate::slot::SlotMaker;
use crate::state::{Kind, Work};
use nix::net::if_::if_nametoindex;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const PACE: Duration = Duration::from_millis(2);
/// After a failure in the background, doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

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
    loop {
        let Some((kind, somebody_waits)) = wait_for_work(shared, background_from) else {
            return;
        };
        let gone = |number| link_is_gone(&shared.config, number);
        let planned = {
            let mut state = shared.state();
            state
                .plan(kind, gone)
                .ok_or_else(|| NetworkError::NoAddress {
                    cidr: shared.config.pod_cidr,
                    in_use: state.addresses_in_use(),
                })
        };
        let made = planned.and_then(|slot| match maker.make(slot) {
            Ok(()) => Ok(slot),
            Err(error) => {
                shared.state().unmade(slot);
                Err(error)
            }
        });
        match made {
            Ok(slot) => {
                pause = FIRST_PAUSE;
                background_from = Instant::now() + PACE;
                let left_over = shared.state().made(slot);
                if let Some(slot) = left_over {
                    shared.discard(slot);
                }
            }
            Err(error) => {
                tracing::warn!(error = error.chain(), "cannot make a network slot");
                shared.state().fail_waiters(kind, &error.chain());
                if !somebody_waits {
                    background_from = Instant::now() + pause;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }
}

/// Blocks until there is something to make. `None`: stop.
fn wait_for_work(shared: &Shared, background_from: Instant) -> Option<(Kind, bool)> {
    let mut state = shared.state();
    loop {
        match state.next_work() {
            Work::Stop => return None,
            Work::Build {
                kind,
                somebody_waits: true,
            } => return Some((kind, true)),
            Work::Build { kind, .. } => {
                let left = background_from.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Some((kind, false));
                }
                state = shared.wait(state, Some(left));
            }
            Work::Nothing => state = shared.wait(state, None),
        }
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
