//! One more process in a container that runs: for a person's exec, a probe or a hook.

use super::containers::{cgroup_placement, open_one};
use super::outcome::chain;
use super::parts::Parts;
use cgroup_tree::SessionOwner;
use container_host::{ExecSession, HostError};
use launch_plan::{TerminalSize, exec_plan};
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
    let launch = parts.host.launch_of(key).map_err(told)?;
    let session = parts.host.begin_session(owner);
    let theirs = Arc::clone(parts);
    let of_key = key.clone();
    let end = EndOfSession {
        parts: Arc::clone(parts),
        key: key.clone(),
        session: session.number,
    };
    let prepared = tokio::task::spawn_blocking(move || {
        let internal = |e: &dyn std::error::Error| NodeError::Internal(chain(e));
        let placement = theirs
            .cgroups
            .create_session(&of_key, session)
            .map_err(|e| internal(&e))?;
        let request = launch_plan::ExecRequest {
            session: session.number,
            argv,
            terminal: terminal.is_some(),
            size: terminal.flatten(),
            cgroup: cgroup_placement(placement),
        };
        let planned = exec_plan(&launch.planned, request)
            .map_err(|e| NodeError::BadRequest(e.to_string()))?;
        let open = |source| open_one(&theirs, &pod, &of_key, source, None);
        let fds = planned.fds.iter().map(open).collect::<Result<Vec<_>, _>>();
        Ok((
            planned,
            fds.map_err(|failure| NodeError::Internal(failure.message))?,
        ))
    });
    let prepared: Result<_, NodeError> = prepared
        .await
        .map_err(|e| NodeError::Internal(e.to_string()))?;
    let (planned, fds) = prepared?;
    let started = parts.host.exec(planned, fds).await.map_err(told)?;
    Ok((started, end))
}

/// The container's own mistakes are the caller's; the rest is ours.
fn told(error: HostError) -> NodeError {
    match error {
        HostError::Launch(failure) => NodeError::BadRequest(failure.message),
        HostError::NotRunning { .. } => NodeError::BadRequest(error.to_string()),
        other => NodeError::Unavailable(chain(&other)),
    }
}

/// Ends the session with everything that it started, when nobody waits for it any more.
pub(crate) struct EndOfSession {
    parts: Arc<Parts>,
    key: ContainerKey,
    session: u64,
}

impl Drop for EndOfSession {
    fn drop(&mut self) {
        let (parts, key, session) = (Arc::clone(&self.parts), self.key.clone(), self.session);
        tokio::spawn(async move { parts.host.end_exec(&key, session).await });
    }
}

/// A pipe's end of a session, for a task to wait on.
pub(crate) fn nonblocking(fd: OwnedFd) -> std::io::Result<OwnedFd> {
    rustix::io::ioctl_fionbio(&fd, true)?;
    Ok(fd)
}
