//! The loop: what is held, what is waited for, in which order it is dealt with.
//!
//! A batch of events is worked off exits first, then children's reports, requests, and output last; of each stream one transfer per turn. So
//! neither a flood of output nor a full log disk delays an exit.

use crate::child::Ground;
use crate::connection::Connection;
use crate::container::{Container, Phase};
use crate::logs::{Log, Logs, Pumped};
use crate::pods::{PodInit, now};
use crate::poller::{Kind, Poller, Token};
use crate::protocol::{Event, FromKeeper, Reply};
use crate::rest::Rest;
use crate::say::{Once, chain, say};
use crate::sessions::Session;
use crate::start_up::Endowment;
use crate::{KeeperConfig, KeeperError, exit_slot};
use container_logs::Stream;
use linux_sys::pidfd::{Exit, pidfd_exit_info, pidfd_has_ended, pidfd_reap, pidfd_send_signal};
use pod_model::{ContainerKey, ExitCause, ExitRecord, PodUid};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

/// How often a process that another has to collect is looked at, and for how long.
const RETRY_COLLECT: Duration = Duration::from_millis(10);
const COLLECT_NANOS: u64 = 3_000_000_000;
/// How often a full log disk is looked at again.
const RETRY_LOGS: Duration = Duration::from_millis(200);

pub(crate) struct Keeper {
    pub(crate) run_dir: PathBuf,
    pub(crate) ground: Ground,
    pub(crate) lock: OwnedFd,
    pub(crate) listener: OwnedFd,
    pub(crate) own_pids: OwnedFd,
    pub(crate) poller: Poller,
    pub(crate) logs: Logs,
    pub(crate) connections: BTreeMap<u64, Connection>,
    pub(crate) containers: BTreeMap<u64, Container>,
    pub(crate) sessions: BTreeMap<u64, Session>,
    pub(crate) pods: BTreeMap<PodUid, PodInit>,
    /// Numbers given so far: of containers, sessions, connections, pods.
    pub(crate) last_number: u64,
    pub(crate) replacement: Option<crate::replace::Pending>,
    pub(crate) is_ending: bool,
    pub(crate) rest: Rest,
    pub(crate) once: Once,
    /// Containers whose process has ended and waits for its parent, which is not this keeper; and until when (`CLOCK_BOOTTIME`).
    pub(crate) uncollected: Vec<(u64, u64)>,
}

impl Keeper {
    pub(crate) fn new(config: &KeeperConfig, endowment: Endowment) -> Result<Self, KeeperError> {
        let Endowment {
            ground,
            lock,
            listener,
            own_pids,
        } = endowment;
        let poller = Poller::new().map_err(|source| KeeperError::Wait { source })?;
        let logs = Logs::open(&config.run_dir.join("keeper"))
            .map_err(|source| KeeperError::Spool { source })?;
        poller
            .watch(&listener, Token::new(Kind::Listener, 0))
            .map_err(|source| KeeperError::Wait { source })?;
        Ok(Self {
            run_dir: config.run_dir.clone(),
            ground,
            lock,
            listener,
            own_pids,
            poller,
            logs,
            connections: BTreeMap::new(),
            containers: BTreeMap::new(),
            sessions: BTreeMap::new(),
            pods: BTreeMap::new(),
            last_number: 0,
            replacement: None,
            is_ending: false,
            rest: Rest::Worked,
            once: Once::default(),
            uncollected: vec![],
        })
    }

    pub(crate) fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    pub(crate) fn run(&mut self) -> Result<(), KeeperError> {
        while !self.is_ending {
            let retry = if !self.uncollected.is_empty() {
                Some(RETRY_COLLECT)
            } else {
                self.logs.is_blocked().then_some(RETRY_LOGS)
            };
            let tokens = self
                .poller
                .wait(retry.or(self.rest.after()))
                .map_err(|source| KeeperError::Wait { source })?;
            if tokens.is_empty() && retry.is_none() {
                self.rest = self.rest.next();
            }
            for token in tokens {
                self.handle(token);
            }
            self.retry_collect();
            self.retry_logs();
            self.replace_when_quiet();
        }
        let _ = std::fs::remove_file(self.run_dir.join("keeper.sock"));
        Ok(())
    }

    fn handle(&mut self, token: Token) {
        let number = token.number;
        match token.kind {
            Kind::Exit => self.container_ended(number),
            Kind::SessionExit => self.session_ended(number),
            Kind::PodExit => self.pod_ended(number),
            Kind::Report => self.container_reported(number),
            Kind::SessionReport => self.session_reported(number),
            Kind::Connection => self.connection_ready(number),
            Kind::Listener => self.accept(),
            Kind::Stdout => self.pump(number, Stream::Stdout),
            Kind::Stderr => self.pump(number, Stream::Stderr),
        }
    }

    fn accept(&mut self) {
        let flags = rustix::net::SocketFlags::CLOEXEC | rustix::net::SocketFlags::NONBLOCK;
        let accepted = rustix::net::accept_with(&self.listener, flags)
            .map_err(io::Error::from)
            .and_then(Connection::new);
        match accepted {
            Ok(connection) => {
                let number = self.next_number();
                if self
                    .poller
                    .watch(&connection.socket, Token::new(Kind::Connection, number))
                    .is_ok()
                {
                    self.connections.insert(number, connection);
                }
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => self
                .once
                .say(&format!("a connection was refused: {}", chain(&e))),
        }
    }

    pub(crate) fn close(&mut self, number: u64) {
        if let Some(connection) = self.connections.remove(&number) {
            self.poller.forget(&connection.socket);
        }
    }

    /// Sends a message to one agent, now or when it reads.
    pub(crate) fn send(&mut self, number: u64, message: &FromKeeper, fds: Vec<OwnedFd>) {
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        let sent = connection
            .outgoing
            .push(message, fds)
            .map_err(io::Error::other)
            .and_then(|()| connection.flush());
        if let Err(e) = sent {
            self.once
                .say(&format!("an agent's connection is closed: {}", chain(&e)));
            self.close(number);
            return;
        }
        self.watch_writing(number);
    }

    /// Asks for word when a connection that has something to send can be written.
    pub(crate) fn watch_writing(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        let wanted = !connection.outgoing.is_empty();
        if wanted != connection.waits_to_write {
            connection.waits_to_write = wanted;
            let _ = self.poller.also_writable(
                &connection.socket,
                Token::new(Kind::Connection, number),
                wanted,
            );
        }
    }

    pub(crate) fn reply(
        &mut self,
        asked: crate::container::Asked,
        reply: Reply,
        fds: Vec<OwnedFd>,
    ) {
        self.send(
            asked.connection,
            &FromKeeper::Reply {
                id: asked.request,
                reply,
            },
            fds,
        );
    }

    pub(crate) fn push(&mut self, event: Event) {
        let message = FromKeeper::Event(event);
        let all: Vec<u64> = self
            .connections
            .iter()
            .filter(|(_, c)| c.version.is_some())
            .map(|(n, _)| *n)
            .collect();
        for number in all {
            self.send(number, &message, vec![]);
        }
    }

    pub(crate) fn number_of(&self, key: &ContainerKey) -> Option<u64> {
        self.containers
            .iter()
            .find(|(_, c)| c.key == *key)
            .map(|(n, _)| *n)
    }

    /// The first process of a container is gone: collect it.
    pub(crate) fn container_ended(&mut self, number: u64) {
        let Some(container) = self.containers.get_mut(&number).filter(|c| c.is_live()) else {
            return;
        };
        let exit = match collect(container.pidfd.as_fd(), container.is_child) {
            Collected::Lives => return,
            Collected::Waits => {
                self.poller.forget(&container.pidfd);
                let until = linux_sys::clock::boottime_nanos() + COLLECT_NANOS;
                self.uncollected.push((number, until));
                return;
            }
            Collected::Ended(exit) => exit,
        };
        self.poller.forget(&container.pidfd);
        if let Phase::Failed(failed) = &container.phase {
            let (asked, failure) = (**failed).clone();
            self.drop_container(number);
            self.reply(asked, Reply::Failed(failure), vec![]);
            return;
        }
        self.record_exit(number, exit);
    }

    /// The exit of an adopted process is told by the kernel when its parent has collected it. One that is never collected is unknown.
    fn retry_collect(&mut self) {
        let now = linux_sys::clock::boottime_nanos();
        for (number, until) in std::mem::take(&mut self.uncollected) {
            let Some(container) = self.containers.get(&number) else {
                continue;
            };
            match collect(container.pidfd.as_fd(), container.is_child) {
                Collected::Ended(exit) => self.record_exit(number, exit),
                _ if now > until => self.record_exit(number, Ended::Unknown),
                _ => self.uncollected.push((number, until)),
            }
        }
    }

    /// Writes an exit down, and tells everybody.
    pub(crate) fn record_exit(&mut self, number: u64, exit: Ended) {
        let Some(container) = self.containers.get_mut(&number) else {
            return;
        };
        let now = now();
        let record = ExitRecord {
            code: match exit {
                Ended::Known(exit) => exit.shell_code(),
                Ended::Unknown => 137,
            },
            signal: match exit {
                Ended::Known(exit) => exit.signal(),
                Ended::Unknown => None,
            },
            cause: match exit {
                Ended::Known(_) => ExitCause::Exited,
                Ended::Unknown => ExitCause::Unknown,
            },
            started_at: container.process.started_at.wall,
            finished_at: now.wall,
            finished_mono: now.mono,
        };
        if let Err(e) = exit_slot::write(&container.files.exit, &record) {
            say(&format!(
                "the exit of {} is in memory only: {}",
                container.key,
                chain(&e)
            ));
        }
        let key = container.key.clone();
        container.phase = Phase::Exited(record.clone());
        self.rest = Rest::Worked;
        self.push(Event::Exited {
            container: key,
            exit: record,
        });
    }

    fn pod_ended(&mut self, number: u64) {
        let Some(uid) = self
            .pods
            .iter()
            .find(|(_, p)| p.number == number)
            .map(|(uid, _)| uid.clone())
        else {
            return;
        };
        if let Some(pod) = self.pods.remove(&uid) {
            self.poller.forget(&pod.pidfd);
            // not ours to collect after adoption
            let _ = pidfd_reap(pod.pidfd.as_fd());
            let _ = std::fs::remove_file(self.pod_directory(&uid).join(crate::pods::PID_FILE));
        }
    }

    pub(crate) fn pod_directory(&self, uid: &PodUid) -> PathBuf {
        self.run_dir.join("containers").join(uid.as_str())
    }

    /// Forgets a container without a word; what it holds is closed.
    pub(crate) fn drop_container(&mut self, number: u64) {
        if let Some(container) = self.containers.remove(&number) {
            self.poller.forget(&container.pidfd);
            for end in &container.streams {
                self.poller.forget(&end.fd);
            }
            if self.logs.waits_for().1 == Some(number) {
                self.logs.drop_unfed();
            }
        }
        self.rest = Rest::Worked;
    }

    pub(crate) fn watch_streams(&self, number: u64) -> io::Result<()> {
        for end in self.containers.get(&number).map_or(&[][..], |c| &c.streams) {
            self.poller
                .watch(&end.fd, Token::new(kind_of(end.stream), number))?;
        }
        Ok(())
    }

    /// One transfer of one stream.
    fn pump(&mut self, number: u64, stream: Stream) {
        let Some(container) = self.containers.get_mut(&number) else {
            return;
        };
        let Some(at) = container.streams.iter().position(|s| s.stream == stream) else {
            return;
        };
        match self.logs.pump(
            number,
            &container.files,
            &mut container.log,
            &container.streams[at],
        ) {
            Pumped::Some | Pumped::Nothing => {}
            Pumped::Closed => {
                let end = container.streams.remove(at);
                self.poller.forget(&end.fd);
                if container.streams.is_empty() {
                    container.log = Log::Closed;
                }
            }
            Pumped::Blocked => {
                for end in &container.streams {
                    self.poller.forget(&end.fd);
                }
                container.is_paused = true;
                self.once.say(&format!(
                    "no room to write {}: output waits until there is",
                    container.files.log.display()
                ));
            }
        }
    }

    /// While there was no room: try again, and if there is, read everywhere.
    fn retry_logs(&mut self) {
        if !self.logs.is_blocked() && !self.containers.values().any(|c| c.is_paused) {
            return;
        }
        let waits = self.logs.waits_for().0.map(std::path::Path::to_path_buf);
        let log = waits.and_then(|path| {
            self.containers
                .values_mut()
                .find(|c| c.files.log == path)
                .and_then(|c| match &mut c.log {
                    Log::Open(log) => Some(log),
                    _ => None,
                })
        });
        self.logs.retry(log);
        if !self.logs.is_blocked()
            && let Some(number) = self.logs.waits_for().1
        {
            match self.containers.get_mut(&number) {
                Some(container) => self.logs.retry_unfed(&container.files, &mut container.log),
                None => self.logs.drop_unfed(),
            }
        }
        if self.logs.is_blocked() {
            return;
        }
        let paused: Vec<u64> = self
            .containers
            .iter()
            .filter(|(_, c)| c.is_paused)
            .map(|(n, _)| *n)
            .collect();
        for number in paused {
            if let Some(container) = self.containers.get_mut(&number) {
                container.is_paused = false;
            }
            if let Err(e) = self.watch_streams(number) {
                self.once
                    .say(&format!("cannot wait for output: {}", chain(&e)));
            }
        }
    }
}

fn kind_of(stream: Stream) -> Kind {
    match stream {
        Stream::Stdout => Kind::Stdout,
        Stream::Stderr => Kind::Stderr,
    }
}

/// How a process ended, as far as can be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Known(Exit),
    /// Somebody else collected it, and the kernel does not say.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Collected {
    Lives,
    /// It has ended; its parent, another process, has not collected it yet.
    Waits,
    Ended(Ended),
}

/// Collects a process of ours, or asks how another's ended.
pub(crate) fn collect(pidfd: BorrowedFd<'_>, is_child: bool) -> Collected {
    if is_child {
        match pidfd_reap(pidfd) {
            Ok(Some(exit)) => return Collected::Ended(Ended::Known(exit)),
            Ok(None) => return Collected::Lives,
            // somebody else's after all
            Err(_) => {}
        }
    }
    if !pidfd_has_ended(pidfd).unwrap_or(true) {
        return Collected::Lives;
    }
    // In this order: what was collected by the first question is known by the second. A zombie can be signalled.
    let waits = pidfd_send_signal(pidfd, 0).is_ok();
    match pidfd_exit_info(pidfd) {
        Some(status) => Collected::Ended(Ended::Known(Exit::from_wait_status(status))),
        None if waits => Collected::Waits,
        // the kernel cannot tell (before 6.15)
        None => Collected::Ended(Ended::Unknown),
    }
}
