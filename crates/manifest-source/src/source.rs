//! The source as others use it: made, run, stopped. The work is [`Follower`]'s.

use crate::follower::{Follower, SETTLES_IN};
use crate::snapshot::Snapshot;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch as channel;

/// A kubelet's `fileCheckFrequency`.
const REREAD_EVERY: Duration = Duration::from_secs(20);

/// Why the source does not run.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("make the path of the manifests {path:?} absolute")]
    Path {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("make the event to stop the reading of manifests with")]
    Event { source: Errno },
    #[error("start the thread that reads the manifests")]
    Thread { source: std::io::Error },
}

/// A directory to read pods from; nothing is touched before [`ManifestSource::run`].
#[derive(Debug, Clone)]
pub struct ManifestSource {
    directory: PathBuf,
    node_name: String,
    reread_every: Duration,
}

impl ManifestSource {
    /// `node_name` is an RFC 1123 subdomain.
    pub fn new(directory: impl Into<PathBuf>, node_name: impl Into<String>) -> Self {
        Self {
            directory: directory.into(),
            node_name: node_name.into(),
            reread_every: REREAD_EVERY,
        }
    }

    /// How often everything is read again, in case an event was not sent (a network file system, a file behind a link).
    #[must_use]
    pub fn reread_every(mut self, interval: Duration) -> Self {
        self.reread_every = interval.max(SETTLES_IN);
        self
    }

    /// Starts the thread. The directory need not exist.
    ///
    /// # Errors
    /// When the process has no descriptor or thread left.
    pub fn run(self) -> Result<Running, SourceError> {
        // The path is part of a pod's identity: it must not depend on where the agent was started from more than it has to.
        let directory = std::path::absolute(&self.directory).map_err(|source| {
            let path = self.directory.clone();
            SourceError::Path { path, source }
        })?;
        let event = |source| SourceError::Event { source };
        let stop = eventfd(0, EventfdFlags::CLOEXEC).map_err(event)?;
        let stopped = stop
            .try_clone()
            .map_err(|source| SourceError::Thread { source })?;
        let (sender, snapshots) = channel::channel(Arc::new(Snapshot::default()));
        let mut follower = Follower::new(
            directory,
            self.node_name,
            self.reread_every,
            sender,
            stopped,
        );
        let thread = std::thread::Builder::new()
            .name("manifests".to_owned())
            .spawn(move || follower.run())
            .map_err(|source| SourceError::Thread { source })?;
        Ok(Running {
            snapshots,
            stop,
            thread: Some(thread),
        })
    }
}

/// The running source. The thread ends when this is dropped.
#[derive(Debug)]
pub struct Running {
    snapshots: channel::Receiver<Arc<Snapshot>>,
    stop: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// The snapshots; the first, before the directory was looked at, is empty and not ready.
    pub fn snapshots(&self) -> channel::Receiver<Arc<Snapshot>> {
        self.snapshots.clone()
    }

    /// Ends the thread and waits for it.
    pub fn stop(mut self) {
        self.tell_to_stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that reads the manifests panicked");
        }
    }

    fn tell_to_stop(&self) {
        // Fails only when the counter is full: then it was told already.
        let _ = rustix::io::write(&self.stop, &1u64.to_ne_bytes());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Not joined: a read from a file system that hangs must not hang the agent's end too.
        self.tell_to_stop();
    }
}
