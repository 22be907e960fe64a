//! One more process in a container that runs: for a person's exec, a probe or a hook.

use super::containers::{cgroup_placement, open_one};
use super::outcome::chain;
use super::parts::Parts;
use cgroup_tree::SessionOwner;
use container_host::{ExecSession, HostError};
use launch_plan::{ExecPlanned, TerminalSize, exec_plan};
use node_server::NodeError;
use pod_model::{AdmittedPod, ContainerKey};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Starts it in a cgroup of its own below the container's. `terminal`: with one of that size.
///
/// A start that is under way is seen to its end though nobody waits for it any more: what has started can be ended.
pub(crate) async fn begin(
    parts: &Arc<Parts>,
    pod: AdmittedPod,
    key: &ContainerKey,
    owner: SessionOwner,
    argv: Vec<String>,
    terminal: Option<Option<TerminalSize>>,
) -> Result<(ExecSession, EndOfSession), NodeError> {
    let (parts, key) = (Arc::clone(parts), key.clone());
    let begun = tokio::spawn(async move { start(&parts, pod, &key, owner, argv, terminal).await });
    begun
        .await
        .map_err(|e| NodeError::Internal(e.to_string()))?
}

async fn start(
    parts: &Arc<Parts>,
    pod: AdmittedPod,
    key: &ContainerKey,
    owner: SessionOwner,
    argv: Vec<String>,
    terminal: Option<Option<TerminalSize>>,
) -> Result<(ExecSession, EndOfSession), NodeError> {
    let (planned, fds, end) = prepare(parts, &pod, key, owner, argv, terminal)?;
    let started = parts.host.exec(planned, fds).await.map_err(told)?;
    Ok((started, end))
}

/// Makes its place and plans it.
pub(crate) fn prepare(
    parts: &Arc<Parts>,
    pod: &AdmittedPod,
    key: &ContainerKey,
    owner: SessionOwner,
    argv: Vec<String>,
    terminal: Option<Option<TerminalSize>>,
) -> Result<(ExecPlanned, Vec<OwnedFd>, EndOfSession), NodeError> {
    let launch = parts.host.launch_of(key).map_err(told)?;
    let session = parts.host.begin_session(key, pod.qos(), owner);
    let end = EndOfSession {
        parts: Arc::clone(parts),
        session: session.number,
    };
    // Made here, in a task that should not block: it takes less time than another thread takes to wake up.
    let placement = parts
        .cgroups
        .create_session(&session)
        .map_err(|e| NodeError::Internal(chain(&e)))?;
    let request = launch_plan::ExecRequest {
        session: session.number,
        argv,
        terminal: terminal.is_some(),
        size: terminal.flatten(),
        cgroup: cgroup_placement(placement),
    };
    let planned =
        exec_plan(&launch.planned, request).map_err(|e| NodeError::BadRequest(e.to_string()))?;
    let open = |source| open_one(parts, pod, key, source, None);
    let fds = planned.fds.iter().map(open).collect::<Result<Vec<_>, _>>();
    let fds = fds.map_err(|failure| NodeError::Internal(failure.message))?;
    Ok((planned, fds, end))
}

/// The container's own mistakes are the caller's; the rest is ours.
pub(crate) fn told(error: HostError) -> NodeError {
    match error {
        HostError::Launch(failure) => NodeError::BadRequest(failure.message),
        HostError::NotRunning { .. } => NodeError::BadRequest(error.to_string()),
        other => NodeError::Unavailable(chain(&other)),
    }
}

/// Ends the session with everything that it started, when nobody waits for it any more.
pub(crate) struct EndOfSession {
    parts: Arc<Parts>,
    session: u64,
}

impl Drop for EndOfSession {
    fn drop(&mut self) {
        self.parts.host.end_exec(self.session);
    }
}

/// A pipe's end of a session, for a task to wait on.
pub(crate) fn nonblocking(fd: OwnedFd) -> std::io::Result<OwnedFd> {
    rustix::io::ioctl_fionbio(&fd, true)?;
    Ok(fd)
}
