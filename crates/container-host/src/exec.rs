//! One more process in a container that runs.

use crate::host::{ContainerHost, HostError};
use crate::known::ExecExit;
use crate::link::LinkError;
use cgroup_tree::{Session, SessionOwner};
use keeper::protocol::{ExecStdio, Reply, Request};
use launch_plan::{ExecPlanned, FdIndex};
use pod_model::{ContainerKey, QosClass};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
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

const START: &str = "start a process in a container";

/// What an answer says that is not the one hoped for.
fn refused(answer: Result<(Reply, Vec<OwnedFd>), HostError>) -> HostError {
    match answer {
        Ok((Reply::Failed(failure), _)) => HostError::Launch(failure),
        Ok((other, _)) => HostError::Refused {
            operation: START,
            message: format!("{other:?}"),
        },
        Err(error) => error,
    }
}

fn broken(container: &ContainerKey) -> impl FnOnce(Errno) -> HostError {
    |e| HostError::Make {
        container: container.clone(),
        source: e.into(),
    }
}

/// (the reading end, the writing end)
fn pipe(container: &ContainerKey) -> Result<(OwnedFd, OwnedFd), HostError> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(broken(container))
}

fn add(fds: &mut Vec<OwnedFd>, fd: OwnedFd) -> FdIndex {
    fds.push(fd);
    FdIndex(u32::try_from(fds.len() - 1).unwrap_or(u32::MAX))
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
            let (in_read, in_write) = pipe(&container)?;
            let (out_read, out_write) = pipe(&container)?;
            let (err_read, err_write) = pipe(&container)?;
            stdio = Some(ExecStdio {
                stdin: add(&mut fds, in_read),
                stdout: add(&mut fds, out_write),
                stderr: add(&mut fds, err_write),
            });
            (session.stdin, session.stdout, session.stderr) =
                (Some(in_write), Some(out_read), Some(err_read));
        }
        let request = Request::Exec {
            description: Box::new(description),
            stdio,
            answer_at_end: false,
        };
        match self.call(START, request, fds).await {
            Ok((Reply::ExecStarted { terminal, .. }, fds)) => {
                session.terminal =
                    terminal.and_then(|FdIndex(at)| fds.into_iter().nth(usize::try_from(at).ok()?));
                Ok(session)
            }
            answer => Err(refused(answer)),
        }
    }

    /// Runs a command to its end in a running container, with nothing to read: what it writes, both outputs by one pipe, and what waits
    /// for its end. Nothing happens before that is polled. Dropping it ends nothing; [`Self::end_exec`] does, whatever has become of it.
    ///
    /// # Errors
    /// When there is no pipe to be had.
    pub fn command(
        &self,
        planned: ExecPlanned,
        mut fds: Vec<OwnedFd>,
    ) -> Result<(OwnedFd, impl Future<Output = Result<ExecExit, HostError>>), HostError> {
        let ExecPlanned { description, .. } = planned;
        let (output, write) = pipe(&description.container)?;
        let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let null = null.map_err(broken(&description.container))?;
        let stdin = add(&mut fds, null);
        let both = add(&mut fds, write);
        let exit = self.shared.table.expect_exec(description.session);
        let request = Request::Exec {
            description: Box::new(description),
            stdio: Some(ExecStdio {
                stdin,
                stdout: both,
                stderr: both,
            }),
            answer_at_end: true,
        };
        Ok((output, self.clone().end_of(request, fds, exit)))
    }

    async fn end_of(
        self,
        request: Request,
        fds: Vec<OwnedFd>,
        mut exit: oneshot::Receiver<ExecExit>,
    ) -> Result<ExecExit, HostError> {
        // Neither arm loses anything: who is told of the end waits for nothing else. The event comes from a keeper that does not know how to
        // answer at the end; it may have taken over from one that does.
        let answer = tokio::select! {
            answer = self.call(START, request, fds) => answer,
            Ok(exit) = &mut exit => return Ok(exit),
        };
        match answer {
            Ok((Reply::ExecEnded { code, signal }, _)) => Ok(ExecExit { code, signal }),
            Ok((Reply::ExecStarted { .. }, _)) => exit.await.map_err(|_| HostError::Link {
                operation: "run a command in a container",
                source: LinkError::Lost,
            }),
            answer => Err(refused(answer)),
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
