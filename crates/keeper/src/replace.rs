//! Replacing the keeper's program without ending its process: children stay children, descriptors stay open.
//!
//! ```text
//!   asked ──► Pending, until nothing is between clone and exec ──► state into a memfd ──► exec ──► restored, answered
//!                                                                        └── exec failed ──► as before, refused
//! ```
//!
//! The state is JSON with the numbers of the descriptors, which are kept open across exec; `CORACLE_KEEPER_STATE` names the memfd.

use crate::child::Ground;
use crate::connection::Connection;
use crate::container::{Asked, Container, Phase};
use crate::keeper::Keeper;
use crate::logs::{Log, StreamEnd};
use crate::pods::PodInit;
use crate::poller::{Kind, Token};
use crate::protocol::{Incoming, Outgoing, Process, Refusal, Reply};
use crate::say::{chain, say};
use crate::seal;
use crate::sessions::{Answer, Session, SessionPhase};
use crate::start_up::Endowment;
use crate::{KeeperConfig, KeeperError};
use container_logs::Stream;
use launch_plan::description::{ContainerFiles, FdIndex};
use linux_sys::descriptors::{keep_across_exec, take_inherited};
use pod_model::{ContainerKey, ExitRecord, PodUid};
use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create};
use rustix::process::Rlimit;
use rustix::thread::LinkNameSpaceType;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

const VARIABLE: &str = "CORACLE_KEEPER_STATE";

/// A replacement that waits for the keeper to have nothing half done.
pub(crate) struct Pending {
    asked: Asked,
    binary: OwnedFd,
}

/// Everything that a keeper is, but what is in files already. A later version reads what an earlier one wrote: new fields have defaults.
#[derive(Serialize, Deserialize)]
pub(crate) struct Handover {
    asked: (u64, u64),
    listener: RawFd,
    lock: RawFd,
    own_pids: RawFd,
    procfs: RawFd,
    host_mounts: RawFd,
    open_files: (Option<u64>, Option<u64>),
    last_number: u64,
    connections: Vec<ConnectionState>,
    containers: Vec<ContainerState>,
    sessions: Vec<SessionState>,
    pods: Vec<PodState>,
    #[serde(default)]
    unfed: Option<(u64, Vec<u8>, i64)>,
}

#[derive(Serialize, Deserialize)]
struct ConnectionState {
    number: u64,
    socket: RawFd,
    version: Option<u32>,
    received: Vec<u8>,
    received_fds: Vec<RawFd>,
}

#[derive(Serialize, Deserialize)]
struct ContainerState {
    number: u64,
    key: ContainerKey,
    files: ContainerFiles,
    process: Process,
    pidfd: RawFd,
    is_child: bool,
    shares_pids: bool,
    exit: Option<ExitRecord>,
    streams: Vec<StreamState>,
}

#[derive(Serialize, Deserialize)]
struct StreamState {
    fd: RawFd,
    is_stderr: bool,
    is_terminal: bool,
}

#[derive(Serialize, Deserialize)]
struct SessionState {
    number: u64,
    container: ContainerKey,
    session: u64,
    asked: (u64, u64),
    #[serde(default = "at_start")]
    answer: Answer,
    pidfd: RawFd,
}

/// What a keeper of before knew alone.
fn at_start() -> Answer {
    Answer::AtStart
}

#[derive(Serialize, Deserialize)]
struct PodState {
    uid: PodUid,
    number: u64,
    process: Process,
    pidfd: RawFd,
}

/// Notes the number of each descriptor that must stay open.
struct Kept<'a>(Vec<BorrowedFd<'a>>);

impl<'a> Kept<'a> {
    fn number(&mut self, fd: &'a OwnedFd) -> RawFd {
        self.0.push(fd.as_fd());
        fd.as_raw_fd()
    }
    fn survive(&self, exec: bool) -> io::Result<()> {
        self.0.iter().try_for_each(|fd| keep_across_exec(*fd, exec))
    }
}

impl Keeper {
    pub(crate) fn replace(&mut self, asked: Asked, binary: FdIndex, mut fds: Vec<OwnedFd>) {
        let at = usize::try_from(binary.0).unwrap_or(usize::MAX);
        if at >= fds.len() {
            self.refuse(
                asked,
                Refusal::MissingDescriptor,
                "the binary did not come".into(),
            );
            return;
        }
        if self.replacement.is_some() {
            self.refuse(asked, Refusal::Busy, "another replacement waits".into());
            return;
        }
        self.replacement = Some(Pending {
            asked,
            binary: fds.swap_remove(at),
        });
        self.listen_to_silent_sessions();
    }

    /// Replaces the program, if that was asked and nothing is between two states that a memfd can hold.
    pub(crate) fn replace_when_quiet(&mut self) {
        let settled = |phase: &Phase| matches!(phase, Phase::Running | Phase::Exited(_));
        let is_quiet = self.containers.values().all(|c| settled(&c.phase))
            && self
                .sessions
                .values()
                .all(|s| matches!(s.phase, SessionPhase::Running))
            && self.connections.values().all(|c| c.outgoing.is_empty());
        if !is_quiet {
            return;
        }
        let Some(Pending { asked, binary }) = self.replacement.take() else {
            return;
        };
        let error = self.become_another(asked, &binary);
        say(&format!("the keeper cannot be replaced: {}", chain(&error)));
        self.refuse(
            asked,
            Refusal::Failed,
            format!("cannot execute the new keeper: {error}"),
        );
    }

    /// Returns only an error, and everything is as it was then.
    fn become_another(&self, asked: Asked, binary: &OwnedFd) -> io::Error {
        let sealed = match self.seal_there(binary.as_fd()) {
            Ok(sealed) => sealed,
            Err(e) => return e,
        };
        let mut kept = Kept(Vec::new());
        let state = self.hand_over(asked, &mut kept);
        let memfd = match write_state(&state) {
            Ok(memfd) => memfd,
            Err(e) => return e,
        };
        kept.0.push(memfd.as_fd());
        let error = match kept.survive(true) {
            Ok(()) => seal::execute(sealed.as_fd(), &[(VARIABLE, memfd.as_raw_fd().to_string())]),
            Err(e) => e,
        };
        match kept.survive(false) {
            Ok(()) => error,
            Err(e) => e,
        }
    }

    /// The agent's descriptor belongs to the host's mount namespace, where alone its mount can be copied.
    fn seal_there(&self, binary: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        let mount = Some(LinkNameSpaceType::Mount);
        let own = rustix::fs::openat(
            &self.ground.procfs,
            c"self/ns/mnt",
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        rustix::thread::move_into_link_name_space(self.ground.host_mounts.as_fd(), mount)?;
        let sealed = seal::seal(binary);
        rustix::thread::move_into_link_name_space(own.as_fd(), mount)?;
        sealed
    }

    fn hand_over<'a>(&'a self, asked: Asked, kept: &mut Kept<'a>) -> Handover {
        let mut connections = Vec::new();
        for (number, connection) in &self.connections {
            let (received, fds) = connection.incoming.parts();
            connections.push(ConnectionState {
                number: *number,
                socket: kept.number(&connection.socket),
                version: connection.version,
                received: received.to_vec(),
                received_fds: fds.iter().map(|fd| kept.number(fd)).collect(),
            });
        }
        let mut containers = Vec::new();
        for (number, container) in &self.containers {
            let streams = container.streams.iter().map(|end| StreamState {
                fd: kept.number(&end.fd),
                is_stderr: end.stream == Stream::Stderr,
                is_terminal: end.is_terminal,
            });
            containers.push(ContainerState {
                streams: streams.collect(),
                number: *number,
                key: container.key.clone(),
                files: container.files.clone(),
                process: container.process,
                pidfd: kept.number(&container.pidfd),
                is_child: container.is_child,
                shares_pids: container.shares_pids,
                exit: container.exit().cloned(),
            });
        }
        let sessions = self.sessions.iter().map(|(number, session)| SessionState {
            number: *number,
            container: session.container.clone(),
            session: session.session,
            asked: (session.asked.connection, session.asked.request),
            answer: session.answer,
            pidfd: kept.number(&session.pidfd),
        });
        let sessions = sessions.collect();
        let pods = self.pods.iter().map(|(uid, pod)| PodState {
            uid: uid.clone(),
            number: pod.number,
            process: pod.process,
            pidfd: kept.number(&pod.pidfd),
        });
        let pods = pods.collect();
        Handover {
            asked: (asked.connection, asked.request),
            listener: kept.number(&self.listener),
            lock: kept.number(&self.lock),
            own_pids: kept.number(&self.own_pids),
            procfs: kept.number(&self.ground.procfs),
            host_mounts: kept.number(&self.ground.host_mounts),
            open_files: (
                self.ground.open_files.current,
                self.ground.open_files.maximum,
            ),
            last_number: self.last_number,
            connections,
            containers,
            sessions,
            pods,
            unfed: self.logs.unfed(),
        }
    }
}

fn write_state(state: &Handover) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(c"keeper", MemfdFlags::CLOEXEC)?);
    file.write_all(&serde_json::to_vec(state)?)?;
    Ok(file.into())
}

/// What the keeper before this one left in this process, if there was one.
pub(crate) fn inherited() -> Result<Option<Handover>, KeeperError> {
    let Some(number) = std::env::var_os(VARIABLE) else {
        return Ok(None);
    };
    let bad = |what: String| KeeperError::Inherit { what };
    let number = number.to_str().and_then(|n| n.parse().ok());
    let number = number.ok_or_else(|| bad(format!("{VARIABLE} is no number")))?;
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::from(take_inherited(number)?);
        let mut text = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut text)?;
        Ok(text)
    };
    let text = read().map_err(|e| bad(format!("its state cannot be read: {e}")))?;
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|e| bad(format!("its state is not understood: {e}")))
}

/// The same keeper as before, with this program.
pub(crate) fn restore(config: &KeeperConfig, handover: Handover) -> Result<Keeper, KeeperError> {
    let asked = Asked {
        connection: handover.asked.0,
        request: handover.asked.1,
    };
    let mut keeper = rebuild(config, handover).map_err(|what| KeeperError::Inherit { what })??;
    keeper.reply(asked, Reply::Done, vec![]);
    Ok(keeper)
}

fn take(number: RawFd, what: &str) -> Result<OwnedFd, String> {
    take_inherited(number).map_err(|e| format!("descriptor {number} ({what}): {e}"))
}

fn rebuild(
    config: &KeeperConfig,
    handover: Handover,
) -> Result<Result<Keeper, KeeperError>, String> {
    let ground = Ground {
        procfs: take(handover.procfs, "procfs")?,
        host_mounts: take(handover.host_mounts, "mount namespace")?,
        open_files: Rlimit {
            current: handover.open_files.0,
            maximum: handover.open_files.1,
        },
        ignored_signals: linux_sys::signals::ignored_signals()
            .map_err(|e| format!("its signals: {e}"))?,
    };
    let endowment = Endowment {
        ground,
        lock: take(handover.lock, "lock")?,
        listener: take(handover.listener, "listener")?,
        own_pids: take(handover.own_pids, "pid namespace")?,
    };
    let mut keeper = match Keeper::new(config, endowment) {
        Ok(keeper) => keeper,
        Err(e) => return Ok(Err(e)),
    };
    keeper.last_number = handover.last_number;
    let watch = |keeper: &Keeper, fd: &OwnedFd, kind, number| {
        keeper
            .poller
            .watch(fd, Token::new(kind, number))
            .map_err(|e| format!("cannot wait for events: {e}"))
    };
    for state in handover.connections {
        let received_fds = state
            .received_fds
            .iter()
            .map(|n| take(*n, "a message's"))
            .collect::<Result<_, _>>()?;
        let socket = take(state.socket, "a connection")?;
        watch(&keeper, &socket, Kind::Connection, state.number)?;
        let connection = Connection {
            socket,
            incoming: Incoming::resume(state.received, received_fds),
            outgoing: Outgoing::default(),
            version: state.version,
            waits_to_write: false,
        };
        keeper.connections.insert(state.number, connection);
    }
    for state in handover.containers {
        let pidfd = take(state.pidfd, "a container")?;
        if state.exit.is_none() {
            watch(&keeper, &pidfd, Kind::Exit, state.number)?;
        }
        let mut streams = Vec::with_capacity(state.streams.len());
        for end in state.streams {
            let stream = if end.is_stderr {
                Stream::Stderr
            } else {
                Stream::Stdout
            };
            streams.push(StreamEnd {
                fd: take(end.fd, "a stream")?,
                stream,
                is_terminal: end.is_terminal,
            });
        }
        let container = Container {
            key: state.key,
            files: state.files,
            process: state.process,
            pidfd,
            is_child: state.is_child,
            shares_pids: state.shares_pids,
            phase: state.exit.map_or(Phase::Running, Phase::Exited),
            log: Log::Closed,
            streams,
            is_paused: false,
        };
        keeper.containers.insert(state.number, container);
        keeper
            .watch_streams(state.number)
            .map_err(|e| format!("cannot wait for output: {e}"))?;
    }
    for state in handover.sessions {
        let pidfd = take(state.pidfd, "a session")?;
        watch(&keeper, &pidfd, Kind::SessionExit, state.number)?;
        let session = Session {
            container: state.container,
            session: state.session,
            asked: Asked {
                connection: state.asked.0,
                request: state.asked.1,
            },
            answer: state.answer,
            pidfd,
            phase: SessionPhase::Running,
        };
        keeper.sessions.insert(state.number, session);
    }
    for state in handover.pods {
        let pidfd = take(state.pidfd, "a pod")?;
        watch(&keeper, &pidfd, Kind::PodExit, state.number)?;
        keeper.pods.insert(
            state.uid,
            PodInit {
                number: state.number,
                process: state.process,
                pidfd,
            },
        );
    }
    keeper.logs.resume_unfed(handover.unfed);
    Ok(Ok(keeper))
}
