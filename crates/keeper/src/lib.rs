//! The keeper: one process per node that makes containers, is their parent, collects their exits and writes their logs.
//!
//! It decides nothing. The agent sends a complete launch description with file descriptors over `<run>/keeper.sock`; the keeper clones,
//! the child carries the description out and becomes the program (`child`). The agent may die at any moment, and so may the keeper:
//! containers go on, output waits in FIFOs, exits are in preallocated slots ([`exit_slot`]), and the next keeper adopts what lives.
//!
//! One thread, one epoll loop, no async runtime, below 1 MB of private memory: it forks quickly, and its children may run ordinary Rust.
//!
//! ```text
//!              requests, descriptors                    FIFOs
//!     agent ◄──────────────────────► keeper ◄──────────────────────── containers
//!              replies, exits           │ exit slots, logs, pid files
//! ```
//!
//! | module | for |
//! |---|---|
//! | [`protocol`], [`client`] | the agent: messages, frames, a blocking connection |
//! | [`exit_slot`], [`pid_file`] | the agent: what the keeper leaves on disk |
//! | [`run`] | the binary |
//!
//! What it deliberately does not know: pods beyond a uid, images, networks, limits, restarts, why anything is done, what an out-of-memory kill is.

mod adopt;
mod child;
pub mod client;
mod connection;
mod container;
pub mod exit_slot;
mod keeper;
mod launch;
mod logs;
pub mod pid_file;
mod pods;
mod poller;
pub mod protocol;
mod replace;
mod requests;
mod rest;
mod say;
mod seal;
mod sessions;
mod start_up;

use std::io;
use std::path::PathBuf;

/// What a keeper is started with.
#[derive(Debug, Clone)]
pub struct KeeperConfig {
    /// Holds `keeper.sock` and the directory `keeper`; exists, and only root may enter it.
    pub run_dir: PathBuf,
    /// Cgroup directories to move itself into: none, one (v2) or one per hierarchy (v1).
    pub cgroups: Vec<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    #[error("the keeper must be a process with one thread")]
    Threads,
    #[error("another keeper holds {lock}")]
    AlreadyRunning { lock: PathBuf },
    #[error("the keeper cannot enter cgroup {directory}")]
    Cgroup {
        directory: PathBuf,
        source: io::Error,
    },
    #[error("the keeper cannot {doing}")]
    StartUp {
        doing: &'static str,
        source: io::Error,
    },
    #[error("the keeper cannot open the log spool")]
    Spool { source: container_logs::SpoolError },
    #[error("the keeper cannot take over from the one before it: {what}")]
    Inherit { what: String },
    #[error("the keeper cannot wait for events")]
    Wait { source: io::Error },
}

/// Runs a keeper in this process, which must have one thread, until it is told to shut down.
///
/// The first call executes the program again, with the same arguments, from a read-only mount of its file; a `main` that does nothing but
/// parse its arguments before will come here again. The same way a keeper that is replaced becomes the new one.
///
/// # Errors
/// When it cannot start, or cannot wait for events any more.
pub fn run(config: &KeeperConfig) -> Result<(), KeeperError> {
    let inherited = replace::inherited()?;
    if inherited.is_none() {
        seal::ensure().map_err(|source| KeeperError::StartUp {
            doing: "execute itself from a read-only mount",
            source,
        })?;
    }
    start_up::settle()?;
    let mut keeper = match inherited {
        Some(handover) => replace::restore(config, handover)?,
        None => keeper::Keeper::new(config, start_up::endow(config)?)?,
    };
    keeper.run()
}
