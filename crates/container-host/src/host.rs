//! The containers of the node: launched through the keeper, known by key, found again after either process died.

use crate::attempt::{self, Launch};
use crate::known::{Known, Started, Table};
use crate::link::{Link, LinkError};
use crate::paths::HostPaths;
use cgroup_tree::CgroupTree;
use keeper::protocol::{self, Reply, Request};
use launch_plan::FdIndex;
use pod_model::{Attempt, ContainerKey, ExitSeen, Observed, PodUid, Seq, Signal, WallTime};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Between two looks whether a log is complete. A dead process's output is taken within a millisecond.
const LOG_LOOK: Duration = Duration::from_millis(1);

/// How the node's host of containers is set up.
#[derive(Debug, Clone)]
pub struct HostConfig {
    pub paths: HostPaths,
    /// What to execute as the keeper, when none answers.
    pub keeper_program: PathBuf,
    /// Its arguments, the subcommand first.
    pub keeper_arguments: Vec<std::ffi::OsString>,
}

#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error("cannot make the directories of container {container}")]
    Make {
        container: ContainerKey,
        source: io::Error,
    },
    #[error("{}", .0.message)]
    Launch(protocol::Failure),
    #[error("the keeper refused to {operation}: {message}")]
    Refused {
        operation: &'static str,
        message: String,
    },
    #[error(
        "the keeper went away while container {container} was being started; it did not come to run"
    )]
    Interrupted { container: ContainerKey },
    #[error("cannot {operation}")]
    Link {
        operation: &'static str,
        source: LinkError,
    },
    #[error("container {container} does not run")]
    NotRunning { container: ContainerKey },
    #[error("container {container} still runs")]
    StillRuns { container: ContainerKey },
    #[error("cannot signal container {container}")]
    Signal {
        container: ContainerKey,
        source: io::Error,
    },
    #[error("cannot {operation} the cgroup of container {container}")]
    Cgroup {
        operation: &'static str,
        container: ContainerKey,
        source: Box<cgroup_tree::CgroupError>,
    },
    #[error("cannot remove the files of container {container}")]
    Remove {
        container: ContainerKey,
        source: io::Error,
    },
    #[error("a thread of the agent broke off")]
    Broken,
}

pub(crate) struct Shared {
    pub(crate) config: HostConfig,
    pub(crate) cgroups: Arc<CgroupTree>,
    pub(crate) table: Table,
    pub(crate) link: watch::Sender<Option<Link>>,
    pub(crate) exits: mpsc::UnboundedSender<ExitSeen>,
    pub(crate) next_session: AtomicU64,
    /// The keeper was told to end, and none is to follow it.
    pub(crate) is_ending: AtomicBool,
}

/// A handle; clones share one host.
#[derive(Clone)]
pub struct ContainerHost {
    pub(crate) shared: Arc<Shared>,
}

impl ContainerHost {
    /// Builds. [`Self::run`] connects, and starts a keeper if none answers; calls wait for that.
    pub fn new(
        config: HostConfig,
        cgroups: Arc<CgroupTree>,
    ) -> (Self, mpsc::UnboundedReceiver<ExitSeen>) {
        let (exits, seen) = mpsc::unbounded_channel();
        // sessions of an earlier agent may still run in the keeper: numbers are not used twice within a boot
        let first = linux_sys::clock::boottime_nanos();
        let shared = Shared {
            config,
            cgroups,
            table: Table::default(),
            link: watch::Sender::new(None),
            exits,
            next_session: AtomicU64::new(first),
            is_ending: AtomicBool::new(false),
        };
        (
            Self {
                shared: Arc::new(shared),
            },
            seen,
        )
    }

    pub fn paths(&self) -> &HostPaths {
        &self.shared.config.paths
    }
    /// The version of what is known. Everything that happened before has a smaller one.
    pub fn seq(&self) -> Seq {
        self.shared.table.seq()
    }
    /// Process id of the keeper, once there is one.
    pub fn keeper_pid(&self) -> Option<u32> {
        self.shared
            .link
            .borrow()
            .as_ref()
            .map(|link| link.keeper_pid)
    }

    /// The connection, waited for if there is none right now.
    async fn link(&self) -> Result<Link, LinkError> {
        let mut link = self.shared.link.subscribe();
        let link = link
            .wait_for(Option::is_some)
            .await
            .map_err(|_| LinkError::Lost)?;
        link.clone().ok_or(LinkError::Lost)
    }

    pub(crate) async fn call(
        &self,
        operation: &'static str,
        request: Request,
        fds: Vec<OwnedFd>,
    ) -> Result<(Reply, Vec<OwnedFd>), HostError> {
        let link = self
            .link()
            .await
            .map_err(|source| HostError::Link { operation, source })?;
        match link.call(request, fds).await {
            Ok((Reply::Refused { message, .. }, _)) => {
                Err(HostError::Refused { operation, message })
            }
            Ok(answer) => Ok(answer),
            Err(source) => Err(HostError::Link { operation, source }),
        }
    }

    /// Launches an attempt. What an earlier start of the same attempt left is taken away first; one that runs is found.
    ///
    /// # Errors
    /// Nothing of the attempt runs then. [`HostError::Launch`] tells whose fault it is.
    pub async fn start(&self, launch: Launch, fds: Vec<OwnedFd>) -> Result<Started, HostError> {
        let key = launch.planned.description.container.clone();
        self.link().await.map_err(|source| HostError::Link {
            operation: "start a container",
            source,
        })?;
        if let Some(started) = self.shared.table.started(&key) {
            return Ok(started);
        }
        let begun = std::time::Instant::now();
        let (shared, of_launch) = (Arc::clone(&self.shared), launch.clone());
        let made = tokio::task::spawn_blocking(move || {
            let paths = &shared.config.paths;
            attempt::make(paths, &of_launch)?;
            attempt::link_log(
                paths,
                &of_launch.log_link,
                &of_launch.planned.description.files.log,
            )
        });
        let made = made.await.map_err(|_| HostError::Broken)?;
        made.map_err(|source| HostError::Make {
            container: key.clone(),
            source,
        })?;
        let mut spans = vec![("container directories".to_owned(), begun.elapsed())];

        let description = Box::new(launch.planned.description.clone());
        match self
            .call("start a container", Request::Launch(description), fds)
            .await
        {
            Ok((Reply::Launched(launched), fds)) => {
                let (started_at, executed_at) = (launched.process.started_at, launched.executed_at);
                spans.extend(
                    launched
                        .spans
                        .iter()
                        .map(|span| (span.step.clone(), Duration::from_nanos(span.nanos))),
                );
                self.shared
                    .table
                    .launched(&key, Known::launched(&launched, fds, launch));
                Ok(Started {
                    pid: launched.process.pid,
                    at: started_at,
                    executed_at: Some(executed_at),
                    spans,
                })
            }
            Ok((Reply::Failed(failure), _)) => {
                self.clear(&key).await;
                Err(HostError::Launch(failure))
            }
            Ok((other, _)) => Err(HostError::Refused {
                operation: "start a container",
                message: format!("{other:?}"),
            }),
            Err(HostError::Link {
                source: LinkError::Lost,
                ..
            }) => self.look_for_interrupted(&key).await,
            Err(error) => Err(error),
        }
    }

    /// The keeper died during a launch: its successor tells whether the container came to run.
    async fn look_for_interrupted(&self, key: &ContainerKey) -> Result<Started, HostError> {
        self.link().await.map_err(|source| HostError::Link {
            operation: "start a container",
            source,
        })?;
        match self.shared.table.started(key) {
            Some(started) => Ok(started),
            None => {
                self.clear(key).await;
                Err(HostError::Interrupted {
                    container: key.clone(),
                })
            }
        }
    }

    /// Takes away what a failed launch left on disk. What cannot be removed now is removed with the pod.
    async fn clear(&self, key: &ContainerKey) {
        let (shared, key) = (Arc::clone(&self.shared), key.clone());
        let cleared = tokio::task::spawn_blocking(move || {
            if let Err(error) = shared
                .cgroups
                .kill_container(&key)
                .and_then(|_| shared.cgroups.remove_container(&key))
            {
                tracing::warn!(container = %key, error = &error as &dyn std::error::Error, "a failed start left a cgroup");
            }
            attempt::remove(&shared.config.paths, &key)
        });
        if let Ok(Err(error)) = cleared.await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a failed start left files"
            );
        }
    }

    /// Sends a signal to the first process.
    ///
    /// # Errors
    /// When it cannot be sent. One that is gone already is fine.
    pub fn signal(&self, key: &ContainerKey, signal: Signal) -> Result<(), HostError> {
        let Some(pidfd) = self.shared.table.pidfd(key) else {
            return Ok(());
        };
        match linux_sys::pidfd::pidfd_send_signal(pidfd.as_fd(), signal.0) {
            Err(source)
                if source.raw_os_error() != Some(rustix::io::Errno::SRCH.raw_os_error()) =>
            {
                Err(HostError::Signal {
                    container: key.clone(),
                    source,
                })
            }
            _ => Ok(()),
        }
    }

    /// Kills every process of the container, exec sessions too. The exit comes as an event.
    ///
    /// # Errors
    /// When the cgroup cannot be told.
    pub async fn kill(&self, key: &ContainerKey) -> Result<(), HostError> {
        let (shared, container) = (Arc::clone(&self.shared), key.clone());
        let killed = tokio::task::spawn_blocking(move || shared.cgroups.kill_container(&container));
        killed
            .await
            .map_err(|_| HostError::Broken)?
            .map_err(|source| HostError::Cgroup {
                operation: "kill",
                container: key.clone(),
                source: Box::new(source),
            })?;
        Ok(())
    }

    /// Removes what a dead attempt left; its log stays.
    ///
    /// # Errors
    /// When it lives, or something cannot be removed; the call can be repeated.
    pub async fn remove(&self, key: &ContainerKey) -> Result<(), HostError> {
        if self.shared.table.runs(key) {
            return Err(HostError::StillRuns {
                container: key.clone(),
            });
        }
        self.call(
            "forget a container",
            Request::Forget {
                container: key.clone(),
            },
            Vec::new(),
        )
        .await?;
        let log_link = self
            .shared
            .table
            .launch(key)
            .map(|launch| launch.log_link.clone());
        let (shared, container) = (Arc::clone(&self.shared), key.clone());
        let removed = tokio::task::spawn_blocking(move || {
            let key = &container;
            // what the first process left behind (a process that hung on to the cgroup from a shared PID namespace) goes with it
            let cgroups = &shared.cgroups;
            cgroups
                .kill_container(key)
                .map_err(|source| HostError::Cgroup {
                    operation: "kill",
                    container: key.clone(),
                    source: Box::new(source),
                })?;
            cgroups
                .remove_container(key)
                .map_err(|source| HostError::Cgroup {
                    operation: "remove",
                    container: key.clone(),
                    source: Box::new(source),
                })?;
            let link_gone =
                log_link.map_or(Ok(()), |link| attempt::gone(std::fs::remove_file(link)));
            link_gone
                .and_then(|()| attempt::remove(&shared.config.paths, key))
                .map_err(|source| HostError::Remove {
                    container: key.clone(),
                    source,
                })
        });
        removed.await.map_err(|_| HostError::Broken)??;
        self.shared.table.removed(key);
        Ok(())
    }

    /// Waits until what an attempt that has ended printed is in its log, but no longer than `at_most`: without a keeper, or without
    /// room on the disk, it would take for ever.
    pub async fn log_is_complete(&self, key: &ContainerKey, at_most: Duration) {
        let complete = async {
            while self.shared.table.unread(key) > 0 {
                tokio::time::sleep(LOG_LOOK).await;
            }
            // the keeper answers when it has written what it has taken
            self.call("list containers", Request::List, Vec::new())
                .await
        };
        match tokio::time::timeout(at_most, complete).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::debug!(container = %key, error = &error as &dyn std::error::Error, "its log may lack its end");
            }
            Err(_) => tracing::debug!(container = %key, "its log may lack its end"),
        }
    }

    /// Everything that is known, complete. Waits for the keeper.
    pub async fn look(&self) -> Option<Observed> {
        self.link().await.ok()?;
        Some(self.shared.table.look())
    }

    /// Waits until everything that the container has written is in its log.
    ///
    /// # Errors
    /// When the log disk is full.
    pub async fn drain(&self, key: &ContainerKey) -> Result<(), HostError> {
        self.call(
            "drain a log",
            Request::Drain {
                container: key.clone(),
            },
            Vec::new(),
        )
        .await
        .map(|_| ())
    }

    /// Ends what holds the pod's shared PID namespace.
    ///
    /// # Errors
    /// When the keeper cannot be told.
    pub async fn end_pod(&self, pod: &PodUid) -> Result<(), HostError> {
        self.call(
            "end a pod's process namespace",
            Request::EndPod { pod: pod.clone() },
            Vec::new(),
        )
        .await
        .map(|_| ())
    }

    /// How a running container was launched.
    ///
    /// # Errors
    /// When it does not run.
    pub fn launch_of(&self, key: &ContainerKey) -> Result<Arc<Launch>, HostError> {
        let runs = self.shared.table.runs(key);
        self.shared
            .table
            .launch(key)
            .filter(|_| runs)
            .ok_or_else(|| HostError::NotRunning {
                container: key.clone(),
            })
    }
    /// The attempt of a container that runs, and its process.
    pub fn running(&self) -> Vec<(ContainerKey, u32, WallTime)> {
        self.shared.table.running()
    }
    /// A pidfd of the first process of a container, as far as this agent has one.
    pub fn first_process(&self, key: &ContainerKey) -> Option<Arc<OwnedFd>> {
        self.shared.table.pidfd(key)
    }
    pub fn running_attempt(
        &self,
        pod: &PodUid,
        name: &pod_model::ContainerName,
    ) -> Option<Attempt> {
        self.running()
            .into_iter()
            .find(|(key, ..)| key.pod == *pod && key.name == *name)
            .map(|(key, ..)| key.attempt)
    }

    /// Ends the keeper, for good; only when no container is left.
    ///
    /// # Errors
    /// When a container lives.
    pub async fn shut_down_keeper(&self) -> Result<(), HostError> {
        self.shared.is_ending.store(true, Ordering::Release);
        match self.call("shut down", Request::Shutdown, Vec::new()).await {
            Ok(_)
            | Err(HostError::Link {
                source: LinkError::Lost,
                ..
            }) => Ok(()),
            Err(error) => {
                self.shared.is_ending.store(false, Ordering::Release);
                Err(error)
            }
        }
    }

    /// Executes `binary` in place of the running keeper; its containers go on.
    ///
    /// # Errors
    /// When the keeper cannot; it is as it was then.
    pub async fn replace_keeper(&self, binary: OwnedFd) -> Result<(), HostError> {
        self.call(
            "replace the keeper",
            Request::Replace { binary: FdIndex(0) },
            vec![binary],
        )
        .await
        .map(|_| ())
    }
}
