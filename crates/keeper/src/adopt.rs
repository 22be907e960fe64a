//! Containers that an earlier keeper launched.
//!
//! Found by a pidfd that the agent kept, or by the `pid` file and the start time in it. Not our children: how they end is asked of the kernel
//! (`PIDFD_GET_INFO`), and where it does not say, the exit is recorded as unknown.

use crate::container::{Asked, Container, Phase};
use crate::keeper::{Ended, Keeper};
use crate::launch::open_reading_end;
use crate::logs::{Log, StreamEnd};
use crate::pods::{PodInit, identify};
use crate::poller::{Kind, Token};
use crate::protocol::{AdoptContainer, Adoption, Process, Refusal, Reply};
use crate::rest::Rest;
use crate::say::{chain, say};
use crate::{exit_slot, pid_file};
use container_logs::Stream;
use launch_plan::description::FdIndex;
use std::io;
use std::os::fd::OwnedFd;

impl Keeper {
    pub(crate) fn adopt(
        &mut self,
        asked: Asked,
        containers: Vec<AdoptContainer>,
        fds: Vec<OwnedFd>,
    ) {
        let mut fds: Vec<Option<OwnedFd>> = fds.into_iter().map(Some).collect();
        let mut take = |index: Option<FdIndex>| -> Result<Option<OwnedFd>, FdIndex> {
            let Some(index) = index else { return Ok(None) };
            let at = usize::try_from(index.0).map_err(|_| index)?;
            fds.get_mut(at)
                .and_then(Option::take)
                .map(Some)
                .ok_or(index)
        };
        let mut answers = Vec::with_capacity(containers.len());
        for wanted in containers {
            let (pidfd, terminal) = match (take(wanted.pidfd), take(wanted.terminal)) {
                (Ok(pidfd), Ok(terminal)) => (pidfd, terminal),
                (Err(index), _) | (_, Err(index)) => {
                    self.refuse(
                        asked,
                        Refusal::MissingDescriptor,
                        format!("descriptor {} did not come", index.0),
                    );
                    return;
                }
            };
            answers.push(self.adopt_one(wanted, pidfd, terminal));
        }
        self.rest = Rest::Worked;
        self.reply(
            asked,
            Reply::Adopted {
                containers: answers,
            },
            vec![],
        );
    }

    fn adopt_one(
        &mut self,
        wanted: AdoptContainer,
        pidfd: Option<OwnedFd>,
        terminal: Option<OwnedFd>,
    ) -> Adoption {
        if let Some(known) = self
            .number_of(&wanted.container)
            .and_then(|n| self.containers.get(&n))
        {
            return match known.exit() {
                Some(exit) => Adoption::Exited { exit: exit.clone() },
                None => Adoption::Running {
                    process: known.process,
                },
            };
        }
        let noted = pid_file::read(&wanted.files.run);
        let Some(mut process) = noted.or_else(|| named_by(pidfd.as_ref()?)) else {
            return Adoption::Failed {
                message: format!(
                    "nothing says which process container {} is",
                    wanted.container
                ),
            };
        };
        if let Some(started_at) = wanted.started_at {
            process.started_at = started_at;
        }
        let recorded = exit_slot::read(&wanted.files.exit).unwrap_or_else(|e| {
            say(&chain(&e));
            None
        });
        let live = pidfd.or_else(|| identify(&process));
        let number = self.next_number();
        let null = || {
            rustix::fs::open(
                "/dev/null",
                rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC,
                rustix::fs::Mode::empty(),
            )
        };
        let (pidfd, is_gone) = match live {
            Some(pidfd) => (Ok(pidfd), false),
            None => (null(), true),
        };
        let pidfd = match pidfd {
            Ok(pidfd) => pidfd,
            Err(e) => {
                return Adoption::Failed {
                    message: format!("cannot adopt container {}: {e}", wanted.container),
                };
            }
        };
        let streams = match open_streams(&wanted, terminal) {
            Ok(streams) => streams,
            Err(e) => {
                say(&format!(
                    "the output of container {} cannot be read: {e}",
                    wanted.container
                ));
                vec![]
            }
        };
        if wanted.shares_pids {
            self.find_pod(&wanted);
        }
        let ended = (recorded.is_none() && is_gone).then_some(Ended::Unknown);
        let is_recorded = recorded.is_some();
        let phase = recorded.map_or(Phase::Running, Phase::Exited);
        let container = Container {
            key: wanted.container,
            files: wanted.files,
            process,
            pidfd,
            is_child: false,
            shares_pids: wanted.shares_pids,
            phase,
            log: Log::Closed,
            streams,
            is_paused: false,
        };
        self.containers.insert(number, container);
        if let Err(e) = self.watch_streams(number) {
            self.once.say(&format!("cannot wait for output: {e}"));
        }
        self.read_once(number);
        if let Some(ended) = ended {
            self.record_exit(number, ended);
        } else if !is_recorded
            && let Some(container) = self.containers.get(&number)
            && let Err(e) = self
                .poller
                .watch(&container.pidfd, Token::new(Kind::Exit, number))
        {
            self.once
                .say(&format!("cannot wait for a container's end: {e}"));
        }
        match self.containers.get(&number) {
            Some(container) => match container.exit() {
                Some(exit) => Adoption::Exited { exit: exit.clone() },
                None => Adoption::Running {
                    process: container.process,
                },
            },
            None => Adoption::Failed {
                message: "lost in adoption".into(),
            },
        }
    }

    /// What an earlier keeper left in the FIFOs. One whose writers had all left before it was opened never polls as hung up.
    fn read_once(&mut self, number: u64) {
        self.drain_streams(number);
    }

    fn find_pod(&mut self, wanted: &AdoptContainer) {
        let uid = &wanted.container.pod;
        if self.pods.contains_key(uid) {
            return;
        }
        let number = self.next_number();
        let directory = self.pod_directory(uid);
        if let Some(pod) = PodInit::find(number, &directory)
            && self
                .poller
                .watch(&pod.pidfd, Token::new(Kind::PodExit, number))
                .is_ok()
        {
            self.pods.insert(uid.clone(), pod);
        }
    }
}

/// The process of a pidfd, when there is no pid file.
fn named_by(pidfd: &OwnedFd) -> Option<Process> {
    use std::os::fd::AsRawFd;
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
    let pid = info
        .lines()
        .find_map(|l| l.strip_prefix("Pid:"))?
        .trim()
        .parse()
        .ok()?;
    let start_ticks = linux_sys::process::start_ticks(pid).ok()?;
    Some(Process {
        pid,
        start_ticks,
        started_at: crate::pods::now(),
    })
}

fn open_streams(wanted: &AdoptContainer, terminal: Option<OwnedFd>) -> io::Result<Vec<StreamEnd>> {
    if let Some(fd) = terminal {
        rustix::io::ioctl_fionbio(&fd, true)?;
        return Ok(vec![StreamEnd {
            fd,
            stream: Stream::Stdout,
            is_terminal: true,
        }]);
    }
    let mut streams = Vec::with_capacity(2);
    for (name, stream) in [("stdout", Stream::Stdout), ("stderr", Stream::Stderr)] {
        match open_reading_end(&wanted.files.run.join(name)) {
            Ok(fd) => streams.push(StreamEnd {
                fd,
                stream,
                is_terminal: false,
            }),
            Err(rustix::io::Errno::NOENT) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(streams)
}
