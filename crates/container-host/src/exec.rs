//! One more process in a container that runs.

use crate::host::{ContainerHost, HostError};
use crate::known::ExecExit;
use cgroup_tree::{Session, SessionOwner};
use keeper::protocol::{ExecStdio, Reply, Request};
use launch_plan::{ExecPlanned, FdIndex};
use pod_model::{ContainerKey, QosClass};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::oneshot;

/// One more process in a container. Dropping it ends nothing; [`ContainerHost::end_exec`] does.
#[derive(Debug)]
pub struct ExecSession {
    pub number: u64,
    pub container: ContainerKey,
    pub stdin: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
    /// The master, when a terminal was asked for; the others are `None` then.
    pub terminal: Option<OwnedFd>,
    /// An error: the keeper went away, and nobody knows.
    pub exit: oneshot::Receiver<ExecExit>,
}

impl ContainerHost {
    /// The session's place is made, and its process started, by the caller; [`Self::end_exec`] takes away whatever there is of it.
    pub fn begin_session(
        &self,
        container: &ContainerKey,
        qos: QosClass,
        owner: SessionOwner,
    ) -> Session {
        let session = Session {
            container: container.clone(),
            qos,
            owner,
            number: self.shared.next_session.fetch_add(1, Ordering::Relaxed),
        };
        self.shared.table.begin_exec(session.clone());
        session
    }

    /// Starts one more process in a running container. `fds` are those that the plan counts on.
    ///
    /// # Errors
    /// When it cannot be started; [`HostError::Launch`] has the kernel's word.
    pub async fn exec(
        &self,
        planned: ExecPlanned,
        mut fds: Vec<OwnedFd>,
    ) -> Result<ExecSession, HostError> {
        let ExecPlanned { description, .. } = planned;
        let (number, container) = (description.session, description.container.clone());
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
        let mut session = ExecSession {
            number,
            container: container.clone(),
            stdin: None,
            stdout: None,
            stderr: None,
            terminal: None,
            exit: self.shared.table.expect_exec(number),
        };
        let mut stdio = None;
        if !description.terminal {
            let broken = |e: rustix::io::Errno| HostError::Make {
                container: container.clone(),
                source: e.into(),
            };
            let (in_read, in_write) = pipe().map_err(broken)?;
            let (out_read, out_write) = pipe().map_err(broken)?;
            let (err_read, err_write) = pipe().map_err(broken)?;
            let mut add = |fd: OwnedFd| {
                fds.push(fd);
                FdIndex(u32::try_from(fds.len() - 1).unwrap_or(u32::MAX))
            };
            stdio = Some(ExecStdio {
                stdin: add(in_read),
                stdout: add(out_write),
                stderr: add(err_write),
            });
            (session.stdin, session.stdout, session.stderr) =
                (Some(in_write), Some(out_read), Some(err_read));
        }
        let request = Request::Exec {
            description: Box::new(description),
            stdio,
        };
        let answer = self
            .call("start a process in a container", request, fds)
            .await;
        match answer {
            Ok((Reply::ExecStarted { terminal, .. }, fds)) => {
                session.terminal =
                    terminal.and_then(|FdIndex(at)| fds.into_iter().nth(usize::try_from(at).ok()?));
                Ok(session)
            }
            Ok((Reply::Failed(failure), _)) => Err(HostError::Launch(failure)),
            Ok((other, _)) => Err(HostError::Refused {
                operation: "start a process in a container",
                message: format!("{other:?}"),
            }),
            Err(error) => Err(error),
        }
    }

    /// Kills an exec session whole and removes its place, once. One in which nothing lives, as nearly always when its process has ended, is
    /// gone when this returns: to remove it costs less than to hand it to another thread.
    pub fn end_exec(&self, number: u64) {
        let Some(session) = self.shared.table.end_exec(number) else {
            return;
        };
        if self.shared.cgroups.remove_session(&session) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = shared.cgroups.end_session(&session) {
                tracing::warn!(
                    session = number,
                    error = &error as &dyn std::error::Error,
                    "an exec session left a cgroup"
                );
            }
        });
    }

    /// Ends probes and hooks that an agent which died has left: nobody wants their answers any more. People's sessions go on.
    pub(crate) fn sweep_sessions(&self, before: u64) {
        let swept = match self.shared.cgroups.sweep_sessions(before) {
            Ok(swept) => swept,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "exec sessions of an earlier agent are not found");
                return;
            }
        };
        for session in swept {
            let cgroup = session.relative.display();
            match session.result {
                Ok(_) => tracing::info!(%cgroup, "ended an exec session of an earlier agent"),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(%cgroup, error, "an exec session of an earlier agent is not ended");
                }
            }
        }
    }
}
