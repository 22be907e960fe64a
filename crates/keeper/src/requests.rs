//! What an agent asks, and who answers.

use crate::container::Asked;
use crate::keeper::Keeper;
use crate::logs::Pumped;
use crate::protocol::{
    ContainerStatus, FromKeeper, Received, Refusal, Reply, Request, ToKeeper, agree,
};
use crate::say::{chain, say};
use crate::sessions::Answer;
use launch_plan::description::FdIndex;
use pod_model::ContainerKey;
use serde::Deserialize;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Requests that one connection may have answered per turn of the loop.
const PER_TURN: usize = 16;

impl Keeper {
    /// A connection can be read, written, or is gone.
    pub(crate) fn connection_ready(&mut self, number: u64) {
        for _ in 0..PER_TURN {
            let Some(connection) = self.connections.get_mut(&number) else {
                return;
            };
            if let Err(e) = connection.flush() {
                self.once
                    .say(&format!("an agent's connection is closed: {}", chain(&e)));
                self.close(number);
                return;
            }
            // requests of one that does not read its replies wait
            if self.replacement.is_some() || connection.outgoing.bytes() > 1 << 20 {
                break;
            }
            match connection.incoming.receive(connection.socket.as_fd()) {
                Ok(Received::Frame { value, descriptors }) => {
                    self.hear(number, &value, descriptors)
                }
                Ok(Received::Closed) => {
                    self.close(number);
                    return;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => {
                    if e.kind() != io::ErrorKind::UnexpectedEof {
                        self.once
                            .say(&format!("an agent's connection is closed: {}", chain(&e)));
                    }
                    self.close(number);
                    return;
                }
            }
        }
        self.watch_writing(number);
    }

    fn hear(&mut self, connection: u64, value: &[u8], fds: Vec<OwnedFd>) {
        /// What every version's request has.
        #[derive(Deserialize)]
        struct Numbered {
            id: u64,
        }
        match serde_json::from_slice::<ToKeeper>(value) {
            Ok(ToKeeper { id, request }) => self.answer(
                Asked {
                    connection,
                    request: id,
                },
                request,
                fds,
            ),
            Err(e) => match serde_json::from_slice::<Numbered>(value) {
                Ok(Numbered { id }) => {
                    self.refuse(
                        Asked {
                            connection,
                            request: id,
                        },
                        Refusal::Unknown,
                        format!("not understood: {e}"),
                    );
                }
                Err(_) => self.close(connection),
            },
        }
    }

    fn answer(&mut self, asked: Asked, request: Request, fds: Vec<OwnedFd>) {
        let greeted = self
            .connections
            .get(&asked.connection)
            .is_some_and(|c| c.version.is_some());
        if !greeted && !matches!(request, Request::Hello { .. }) {
            self.refuse(
                asked,
                Refusal::Version,
                "the first request must be Hello".into(),
            );
            return;
        }
        match request {
            Request::Hello { oldest, newest } => self.greet(asked, oldest, newest),
            Request::Launch(description) => self.launch(asked, *description, fds),
            Request::Exec {
                description,
                stdio,
                answer_at_end,
            } => {
                let when = if answer_at_end {
                    Answer::AtEnd
                } else {
                    Answer::AtStart
                };
                self.exec(asked, when, *description, (stdio, fds));
            }
            Request::List => {
                let (containers, fds) = self.list();
                self.reply(asked, Reply::Listed { containers }, fds);
            }
            Request::Adopt { containers } => self.adopt(asked, containers, fds),
            Request::Drain { container } => self.drain(asked, &container),
            Request::Forget { container } => self.forget(asked, &container),
            Request::EndPod { pod } => self.end_pod(asked, &pod),
            Request::Replace { binary } => self.replace(asked, binary, fds),
            Request::Shutdown => self.shut_down(asked),
        }
    }

    pub(crate) fn refuse(&mut self, asked: Asked, why: Refusal, message: String) {
        self.reply(asked, Reply::Refused { why, message }, vec![]);
    }

    fn greet(&mut self, asked: Asked, oldest: u32, newest: u32) {
        let Some(version) = agree(oldest, newest) else {
            self.refuse(
                asked,
                Refusal::Version,
                format!("no version in common with {oldest} to {newest}"),
            );
            return;
        };
        if let Some(connection) = self.connections.get_mut(&asked.connection) {
            connection.version = Some(version);
        }
        let build = env!("CARGO_PKG_VERSION").to_owned();
        self.reply(
            asked,
            Reply::Hello {
                version,
                pid: std::process::id(),
                build,
            },
            vec![],
        );
    }

    fn list(&self) -> (Vec<ContainerStatus>, Vec<OwnedFd>) {
        let mut fds = Vec::new();
        let mut give = |fd: &OwnedFd| {
            let index = u32::try_from(fds.len()).ok()?;
            fds.push(fd.try_clone().ok()?);
            Some(FdIndex(index))
        };
        let known = self
            .containers
            .values()
            .filter(|c| c.is_running() || c.exit().is_some());
        let listed = known
            .map(|c| ContainerStatus {
                container: c.key.clone(),
                process: c.process,
                exit: c.exit().cloned(),
                terminal: c
                    .streams
                    .iter()
                    .find(|end| end.is_terminal)
                    .and_then(|end| give(&end.fd)),
            })
            .collect();
        (listed, fds)
    }

    /// Reads everything that the container's streams hold.
    pub(crate) fn drain_streams(&mut self, number: u64) -> Pumped {
        let mut worst = Pumped::Nothing;
        let Some(container) = self.containers.get_mut(&number) else {
            return worst;
        };
        let mut open = Vec::new();
        for end in std::mem::take(&mut container.streams) {
            match self
                .logs
                .drain(number, &container.files, &mut container.log, &end)
            {
                Pumped::Closed => {
                    self.poller.forget(&end.fd);
                    continue;
                }
                Pumped::Blocked => worst = Pumped::Blocked,
                Pumped::Some | Pumped::Nothing => {}
            }
            open.push(end);
        }
        container.streams = open;
        worst
    }

    fn drain(&mut self, asked: Asked, key: &ContainerKey) {
        let Some(number) = self.number_of(key) else {
            self.refuse(
                asked,
                Refusal::NotRunning,
                format!("container {key} is not known"),
            );
            return;
        };
        match self.drain_streams(number) {
            Pumped::Blocked => self.refuse(
                asked,
                Refusal::LogDiskFull,
                "no room to write the log: output waits".into(),
            ),
            _ => self.reply(asked, Reply::Done, vec![]),
        }
    }

    fn forget(&mut self, asked: Asked, key: &ContainerKey) {
        if let Some(number) = self.number_of(key) {
            if self.containers.get(&number).is_some_and(|c| c.is_live()) {
                self.refuse(asked, Refusal::Busy, format!("container {key} lives"));
                return;
            }
            if self.drain_streams(number) == Pumped::Blocked {
                say(&format!(
                    "the last output of {key} is lost: there is no room for it"
                ));
            }
            self.drop_container(number);
        }
        self.reply(asked, Reply::Done, vec![]);
    }

    fn end_pod(&mut self, asked: Asked, uid: &pod_model::PodUid) {
        let directory = self.pod_directory(uid);
        let found = match self.pods.get(uid) {
            Some(pod) => pod.end(),
            None => match crate::pods::PodInit::find(0, &directory) {
                Some(pod) => pod
                    .end()
                    .and_then(|()| std::fs::remove_file(directory.join(crate::pods::PID_FILE))),
                None => Ok(()),
            },
        };
        match found {
            Ok(()) => self.reply(asked, Reply::Done, vec![]),
            Err(e) => self.refuse(
                asked,
                Refusal::Failed,
                format!("cannot end the PID namespace of pod {uid}: {e}"),
            ),
        }
    }

    fn shut_down(&mut self, asked: Asked) {
        let live = self.containers.values().filter(|c| c.is_live()).count();
        if live > 0 || !self.sessions.is_empty() {
            self.refuse(asked, Refusal::Busy, format!("{live} containers live"));
            return;
        }
        for pod in self.pods.values() {
            let _ = pod.end();
        }
        let numbers: Vec<u64> = self.containers.keys().copied().collect();
        for number in numbers {
            self.drain_streams(number);
        }
        self.is_ending = true;
        self.send(
            asked.connection,
            &FromKeeper::Reply {
                id: asked.request,
                reply: Reply::Done,
            },
            vec![],
        );
    }
}
