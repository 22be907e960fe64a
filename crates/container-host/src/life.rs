//! The life with a keeper: connected to, started when none answers, reconciled with, listened to, and all that again when it dies.
//!
//! ```text
//!   ┌─► connect ──none answers──► start one ─┐
//!   │      ▼                                 │
//!   │   reconcile: what it lists, what lies in the run directory, what we hold descriptors of
//!   │      ▼
//!   │   listen: exits ──► out-of-memory? ──► table, exit slot, feed
//!   └──────┘ it went away
//! ```
//!
//! Starting an agent is the same path: there is no other recovery.

use crate::attempt::{self, Found};
use crate::host::{ContainerHost, HostConfig};
use crate::known::{ExecExit, Held, Known};
use crate::link::{Link, LinkError};
use keeper::protocol::{AdoptContainer, Adoption, ContainerStatus, Event, Reply, Request};
use launch_plan::{FdIndex, PidNamespace};
use pod_model::{ContainerKey, ExitCause, ExitRecord, ExitSeen, MonoTime, Now, WallTime};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;

/// Between two tries to reach or start a keeper.
const AGAIN: Duration = Duration::from_millis(20);
/// Tries to reach a keeper that was started, before another is started.
const PATIENCE: u32 = 250;
/// A killed process that was being prepared ends at once, unless the kernel holds it.
const UNFINISHED: Timespec = Timespec {
    tv_sec: 5,
    tv_nsec: 0,
};

#[derive(Debug, thiserror::Error)]
enum LifeError {
    #[error("cannot start the keeper {program}")]
    Spawn { program: String, source: io::Error },
    #[error("the keeper that was started does not answer; {log} may tell why")]
    Silent { log: String },
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("the keeper answered what is not understood: {0}")]
    Odd(String),
    #[error("cannot list the run directory")]
    List { source: io::Error },
}

impl ContainerHost {
    /// Keeps a keeper, for as long as the agent lives.
    pub async fn run(self) {
        let (host, first) = (
            self.clone(),
            self.shared.next_session.load(Ordering::Relaxed),
        );
        // containers do not wait for it
        tokio::task::spawn_blocking(move || host.sweep_sessions(first));
        loop {
            let (events, mut heard) = mpsc::unbounded_channel();
            match self.begin(events).await {
                Ok(link) => {
                    tracing::info!(keeper.pid = link.keeper_pid, "the keeper answers");
                    self.renew(&link).await;
                    self.shared.link.send_replace(Some(link));
                    while let Some(event) = heard.recv().await {
                        self.hear(event).await;
                    }
                    self.shared.link.send_replace(None);
                    self.shared.table.forget_all_execs();
                    if self.shared.is_ending.load(Ordering::Acquire) {
                        return;
                    }
                    tracing::warn!(
                        "the keeper is gone; containers go on, another keeper takes over"
                    );
                }
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "no keeper");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    async fn begin(&self, events: mpsc::UnboundedSender<Event>) -> Result<Link, LifeError> {
        let socket = self.paths().keeper_socket();
        let link = match Link::open(&socket, events.clone()).await {
            Ok(link) => link,
            Err(LinkError::Version(versions)) => return Err(LinkError::Version(versions).into()),
            Err(_) => {
                spawn(&self.shared.config)?;
                self.wait_for_keeper(&socket, events).await?
            }
        };
        self.reconcile(&link).await?;
        Ok(link)
    }

    /// A keeper of another build executes ours in its place: its containers stay its children.
    async fn renew(&self, link: &Link) {
        let program = &self.shared.config.keeper_program;
        let theirs = format!("/proc/{}/exe", link.keeper_pid);
        let (Ok(ours), Ok(running)) = (std::fs::metadata(program), std::fs::metadata(&theirs))
        else {
            return;
        };
        if (ours.dev(), ours.ino()) == (running.dev(), running.ino()) {
            return;
        }
        let replaced = match File::open(program) {
            Ok(binary) => link
                .call(Request::Replace { binary: FdIndex(0) }, vec![binary.into()])
                .await
                .map_err(LifeError::from),
            Err(source) => Err(LifeError::Spawn {
                program: program.display().to_string(),
                source,
            }),
        };
        match replaced {
            Ok((Reply::Done, _)) => tracing::info!(
                keeper.pid = link.keeper_pid,
                "the keeper is of this build now"
            ),
            Ok((reply, _)) => tracing::warn!("the keeper stays what it is: {reply:?}"),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the keeper stays what it is"
            ),
        }
    }

    async fn wait_for_keeper(
        &self,
        socket: &Path,
        events: mpsc::UnboundedSender<Event>,
    ) -> Result<Link, LifeError> {
        for _ in 0..PATIENCE {
            match Link::open(socket, events.clone()).await {
                Err(LinkError::Connect { .. } | LinkError::Lost) => tokio::time::sleep(AGAIN).await,
                other => return Ok(other?),
            }
        }
        Err(LifeError::Silent {
            log: keeper_log(&self.shared.config).display().to_string(),
        })
    }

    /// Makes the table true: what the keeper lists, and what it does not know but the run directory does.
    async fn reconcile(&self, link: &Link) -> Result<(), LifeError> {
        let (reply, fds) = link.call(Request::List, Vec::new()).await?;
        let Reply::Listed { containers } = reply else {
            return Err(LifeError::Odd(format!("{reply:?}")));
        };
        let listed: BTreeMap<ContainerKey, ContainerStatus> = containers
            .into_iter()
            .map(|c| (c.container.clone(), c))
            .collect();
        let mut fds: Vec<Option<OwnedFd>> = fds.into_iter().map(Some).collect();
        let mut take = |FdIndex(at)| fds.get_mut(usize::try_from(at).ok()?)?.take();
        let paths = self.paths().clone();
        let found = tokio::task::spawn_blocking(move || attempt::find_all(&paths)).await;
        let found = found
            .unwrap_or_else(|e| Err(io::Error::other(e)))
            .map_err(|source| LifeError::List { source })?;

        let mut to_adopt = Vec::new();
        for found in found {
            match listed.get(&found.key) {
                Some(status) => {
                    let terminal = status.terminal.and_then(&mut take);
                    self.take_listed(status, found, terminal).await;
                }
                None => to_adopt.push(found),
            }
        }
        self.adopt(link, to_adopt).await
    }

    async fn take_listed(&self, status: &ContainerStatus, found: Found, terminal: Option<OwnedFd>) {
        let key = &status.container;
        if !self.shared.table.knows(key) {
            let process = &status.process;
            self.shared.table.found(
                key,
                self.known(
                    found,
                    Some((process.pid, process.started_at)),
                    process.start_ticks,
                ),
            );
        }
        if let Some(terminal) = terminal {
            self.shared.table.hold_terminal(key, terminal);
        }
        if let Some(exit) = &status.exit {
            self.exited(key.clone(), exit.clone()).await;
        }
    }

    fn known(&self, found: Found, process: Option<(u32, Now)>, start_ticks: u64) -> Known {
        let run = self.paths().run_of(&found.key);
        let pidfd = process
            .and_then(|(pid, _)| open_same(pid, start_ticks))
            .map(Arc::new);
        let held = Held {
            fifos: [hold(&run.join("stdout")), hold(&run.join("stderr"))],
            terminal: None,
        };
        Known {
            process,
            pidfd,
            held,
            launch: found.launch.map(Arc::new),
            exit: None,
        }
    }

    /// Gives to the keeper what it does not know: what an earlier one launched.
    async fn adopt(&self, link: &Link, found: Vec<Found>) -> Result<(), LifeError> {
        let mut fds = Vec::new();
        let mut containers = Vec::new();
        let mut asked = Vec::new();
        for found in found {
            let Some(launch) = found.launch.as_ref().filter(|_| found.was_launched()) else {
                // cut off before its program was executed: the core starts it again, or has it removed
                if let Some(process) = found.process {
                    end_unfinished(process).await;
                }
                if !self.shared.table.knows(&found.key) {
                    self.shared
                        .table
                        .found(&found.key.clone(), self.known(found, None, 0));
                }
                continue;
            };
            let description = &launch.planned.description;
            let mut adopt = AdoptContainer {
                container: found.key.clone(),
                files: description.files.clone(),
                pidfd: None,
                terminal: None,
                shares_pids: description.namespaces.pid == PidNamespace::Pod,
                started_at: found.process.map(|process| process.started_at),
            };
            self.shared.table.with_living(|key, known| {
                if *key == found.key {
                    let mut give = |fd: Option<&OwnedFd>| {
                        let fd = fd?.try_clone().ok()?;
                        fds.push(fd);
                        Some(FdIndex(u32::try_from(fds.len() - 1).unwrap_or(u32::MAX)))
                    };
                    adopt.pidfd = give(known.pidfd.as_deref());
                    adopt.terminal = give(known.held.terminal.as_ref());
                }
            });
            containers.push(adopt);
            asked.push(found);
        }
        if asked.is_empty() {
            return Ok(());
        }
        tracing::info!(containers = asked.len(), "handing containers to the keeper");
        let (reply, _) = link.call(Request::Adopt { containers }, fds).await?;
        let Reply::Adopted { containers } = reply else {
            return Err(LifeError::Odd(format!("{reply:?}")));
        };
        for (found, adoption) in asked.into_iter().zip(containers) {
            self.take_adopted(found, adoption).await;
        }
        Ok(())
    }

    async fn take_adopted(&self, found: Found, adoption: Adoption) {
        let key = found.key.clone();
        let is_known = self.shared.table.knows(&key);
        match adoption {
            Adoption::Running { process } => {
                if !is_known {
                    self.shared.table.found(
                        &key,
                        self.known(
                            found,
                            Some((process.pid, process.started_at)),
                            process.start_ticks,
                        ),
                    );
                }
            }
            Adoption::Exited { exit } => {
                if !is_known {
                    self.shared.table.found(&key, self.known_by_file(found));
                }
                self.exited(key, exit).await;
            }
            Adoption::Failed { message } => {
                tracing::warn!(container = %key, "it ended and nobody saw how: {message}");
                if !is_known {
                    self.shared.table.found(&key, self.known_by_file(found));
                }
                self.exited(key, unknown_exit()).await;
            }
        }
    }

    /// One that has ended: what is known of its process is what was written of it.
    fn known_by_file(&self, found: Found) -> Known {
        let process = found
            .process
            .map(|process| (process.pid, process.started_at));
        let ticks = found.process.map_or(0, |process| process.start_ticks);
        self.known(found, process, ticks)
    }

    async fn hear(&self, event: Event) {
        match event {
            Event::Exited { container, exit } => self.exited(container, exit).await,
            Event::ExecExited {
                container: _,
                session,
                code,
                signal,
            } => {
                self.shared
                    .table
                    .exec_exited(session, ExecExit { code, signal });
                self.end_exec(session);
            }
        }
    }

    /// Notes an exit once: asks the cgroup whether memory was the cause, and tells.
    async fn exited(&self, container: ContainerKey, mut exit: ExitRecord) {
        if exit.code != 0 && exit.cause == ExitCause::Exited {
            let (shared, key) = (Arc::clone(&self.shared), container.clone());
            match tokio::task::spawn_blocking(move || shared.cgroups.oom_killed(&key)).await {
                Ok(Ok(true)) => exit.cause = ExitCause::OomKilled,
                Ok(Ok(false)) | Err(_) => {}
                Ok(Err(error)) if error.is_gone() => {}
                Ok(Err(error)) => {
                    tracing::warn!(container = %container, error = &error as &dyn std::error::Error, "was it out of memory?")
                }
            }
        }
        if let Some(seq) = self.shared.table.exited(&container, &exit) {
            // whoever listened has ended with the agent
            let _ = self.shared.exits.send(ExitSeen {
                container,
                exit,
                // who knows the pod reads them
                last_words: None,
                seq,
            });
        }
    }
}

/// Killed, at a time nobody knows: 137 and never success.
fn unknown_exit() -> ExitRecord {
    ExitRecord {
        code: 137,
        signal: None,
        cause: ExitCause::Unknown,
        started_at: WallTime::default(),
        finished_at: WallTime(linux_sys::clock::realtime_nanos()),
        finished_mono: MonoTime(linux_sys::clock::boottime_nanos()),
    }
}

/// Ends what a keeper was preparing when it died: it dies with the keeper, so this waits more than it kills.
async fn end_unfinished(process: keeper::protocol::Process) {
    let Some(pidfd) = open_same(process.pid, process.start_ticks) else {
        return;
    };
    let wait = move || {
        linux_sys::pidfd::pidfd_kill(pidfd.as_fd())?;
        let mut ended = [PollFd::new(&pidfd, PollFlags::IN)];
        rustix::event::poll(&mut ended, Some(&UNFINISHED))?;
        io::Result::Ok(())
    };
    // an error says that there is nothing to end any more
    let _ = tokio::task::spawn_blocking(wait).await;
}

/// A descriptor of that very process; a pid alone may be another's by now.
fn open_same(pid: u32, start_ticks: u64) -> Option<OwnedFd> {
    let pidfd = linux_sys::pidfd::pidfd_open(pid).ok()?;
    (linux_sys::process::start_ticks(pid).ok()? == start_ticks).then_some(pidfd)
}

/// Opens a FIFO without waiting for a writer; reads nothing from it.
fn hold(fifo: &Path) -> Option<OwnedFd> {
    rustix::fs::open(
        fifo,
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::empty(),
    )
    .ok()
}

fn keeper_log(config: &HostConfig) -> std::path::PathBuf {
    config.paths.run.join("keeper.log")
}

/// Starts a keeper that outlives us. It makes its own session and goes to its own cgroup itself.
fn spawn(config: &HostConfig) -> Result<(), LifeError> {
    let told = |source| LifeError::Spawn {
        program: config.keeper_program.display().to_string(),
        source,
    };
    let log: File = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(keeper_log(config))
        .map_err(told)?;
    tokio::process::Command::new(&config.keeper_program)
        .args(&config.keeper_arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .current_dir("/")
        .spawn()
        .map_err(told)?;
    Ok(())
}
