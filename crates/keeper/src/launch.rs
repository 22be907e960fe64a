//! A launch on the keeper's side: FIFOs, clone, and what the child reports.

use crate::child::report::{self, Heard, Report};
use crate::child::{self, ContainerSetup, failed, refused};
use crate::container::{Asked, Container, Phase, Ready, Starting};
use crate::keeper::Keeper;
use crate::logs::{Log, StreamEnd};
use crate::pid_file;
use crate::pods::{self, PodInit, now};
use crate::poller::{Kind, Token};
use crate::protocol::{Failure, FailureKind, Launched, Process, Refusal, Reply, Span, Stage};
use crate::rest::Rest;
use crate::say::say;
use container_logs::Stream;
use launch_plan::description::{FdIndex, LaunchDescription, PidNamespace};
use linux_sys::clock::boottime_nanos;
use linux_sys::clone::{Clone3, Cloned, spawn};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

impl Keeper {
    pub(crate) fn launch(
        &mut self,
        asked: Asked,
        description: LaunchDescription,
        fds: Vec<OwnedFd>,
    ) {
        if self.number_of(&description.container).is_some() {
            self.refuse(
                asked,
                Refusal::AlreadyThere,
                format!("container {} is known already", description.container),
            );
            return;
        }
        match self.begin_launch(asked, description, fds) {
            Ok(()) => {}
            Err(failure) => self.reply(asked, Reply::Failed(failure), vec![]),
        }
    }

    fn begin_launch(
        &mut self,
        asked: Asked,
        description: LaunchDescription,
        mut fds: Vec<OwnedFd>,
    ) -> Result<(), Failure> {
        let prepare = |what: &'static str| move || what.to_owned();
        let number = self.next_number();
        let is_terminal = description.stdio.terminal;
        let streams = if is_terminal {
            vec![]
        } else {
            open_streams(&description)?
        };
        let (mut mine, its) = report::channel()
            .map_err(failed(Stage::Prepare, prepare("cannot make a socket pair")))?;
        let born = child::birth_place(&description.cgroup)
            .map_err(failed(Stage::Cgroup, prepare("cannot open the cgroup")))?;
        let shares_pids = description.namespaces.pid == PidNamespace::Pod;
        if shares_pids {
            self.pod_init(&description).map_err(failed(
                Stage::Clone,
                prepare("cannot make the pod's PID namespace"),
            ))?;
        }
        let mark = pid_file::make_mark(&description.files.run).map_err(failed(
            Stage::Prepare,
            prepare("cannot make a file in the run directory"),
        ))?;
        let cloned_at = boottime_nanos();
        let pod = self.pods.get(&description.container.pod);
        let joined = match description.namespaces.pid {
            PidNamespace::Pod => pod.map(|pod| pod.pidfd.as_fd()),
            PidNamespace::Target(FdIndex(at)) => Some(target(&fds, at)?),
            PidNamespace::Private | PidNamespace::Host => None,
        };
        let how = Clone3 {
            new_mounts: true,
            new_pids: description.namespaces.pid == PidNamespace::Private,
            into_cgroup: born.as_ref().map(AsFd::as_fd),
        };
        let (listener, lock, ground) = (&mut self.listener, &mut self.lock, &self.ground);
        let cloned = pods::inside(joined, self.own_pids.as_fd(), || {
            spawn(&how, || {
                let setup = ContainerSetup {
                    description: &description,
                    fds: &fds,
                    ground,
                    report: its.as_fd(),
                    mark: mark.as_fd(),
                    cloned_at,
                };
                child::leave_the_keeper(listener, lock, &mut mine, its.as_fd());
                child::run_container(&setup)
            })
        });
        let Cloned { pid, pidfd } =
            cloned.map_err(failed(Stage::Clone, prepare("cannot clone")))?;
        drop(its);
        fds.clear();
        let started_at = now();
        let start_ticks = linux_sys::process::start_ticks(pid).map_err(failed(
            Stage::Clone,
            prepare("cannot read the start time of the process"),
        ));
        let process = Process {
            pid,
            // without it the launch fails below
            start_ticks: start_ticks.as_ref().map_or(0, |ticks| *ticks),
            started_at,
        };
        // without the file nobody could find the container again, without the word it does not become the program
        let noted = start_ticks
            .and_then(|_| {
                pid_file::write(&description.files.run, &process)
                    .map_err(failed(Stage::Prepare, prepare("cannot write the pid file")))
            })
            .and_then(|()| {
                report::let_go(&mine).map_err(failed(
                    Stage::Prepare,
                    prepare("cannot tell the process to go on"),
                ))
            });
        if let Err(failure) = &noted {
            say(&format!(
                "container {} cannot be launched: {}",
                description.container, failure.message
            ));
        }
        let container = Container {
            key: description.container,
            files: description.files,
            process,
            pidfd,
            is_child: true,
            shares_pids,
            phase: Phase::Starting(Box::new(Starting {
                asked,
                report: mine,
                terminal: None,
                ready: None,
            })),
            log: Log::Closed,
            streams,
            is_paused: false,
        };
        self.containers.insert(number, container);
        self.watch_report(number);
        if let Err(failure) = noted {
            self.fail_launch(number, failure);
        }
        Ok(())
    }

    fn watch_report(&mut self, number: u64) {
        let Some(Container {
            phase: Phase::Starting(starting),
            ..
        }) = self.containers.get(&number)
        else {
            return;
        };
        if let Err(e) = self
            .poller
            .watch_end(&starting.report, Token::new(Kind::Report, number))
        {
            self.fail_launch(
                number,
                failed(Stage::Prepare, || "cannot wait for the process".into())(e),
            );
        }
    }

    /// The pod's PID namespace: made with its first container, found again after an adoption.
    fn pod_init(&mut self, description: &LaunchDescription) -> io::Result<()> {
        let uid = &description.container.pod;
        if self.pods.get(uid).is_some_and(PodInit::is_live) {
            return Ok(());
        }
        let number = self.next_number();
        let directory = self.pod_directory(uid);
        std::fs::create_dir_all(&directory)?;
        let pod = match PodInit::find(number, &directory) {
            Some(pod) => pod,
            None => PodInit::start(number, &directory)?,
        };
        self.poller
            .watch(&pod.pidfd, Token::new(Kind::PodExit, number))?;
        self.pods.insert(uid.clone(), pod);
        Ok(())
    }

    /// A child executed or died: what it said before is read now.
    pub(crate) fn container_reported(&mut self, number: u64) {
        while let Some(Container {
            phase: Phase::Starting(starting),
            key,
            ..
        }) = self.containers.get_mut(&number)
        {
            match report::receive(&starting.report) {
                Ok(Heard::Nothing) => return,
                Ok(Heard::Report(Report::Terminal, fd)) => starting.terminal = fd,
                Ok(Heard::Report(Report::Ready { spans, at, notes }, _)) => {
                    starting.ready = Some(Ready { spans, at });
                    for note in notes {
                        self.once.say(&note);
                    }
                }
                Ok(Heard::Report(Report::Failed(failure), _)) => self.fail_launch(number, failure),
                Ok(Heard::End) if starting.ready.is_some() => self.launched(number),
                Ok(Heard::End) => {
                    let message = "the process was killed before it executed the program";
                    self.fail_launch(number, refused(Stage::Clone, FailureKind::Create, message));
                }
                Err(e) => {
                    let message =
                        format!("cannot understand what the process of {key} reports: {e}");
                    self.fail_launch(number, refused(Stage::Clone, FailureKind::Create, message));
                }
            }
        }
    }

    /// The child ends, or is ended; the answer waits until it is collected, so that nothing is in the way of cleaning up.
    fn fail_launch(&mut self, number: u64, failure: Failure) {
        let Some(container) = self.containers.get_mut(&number) else {
            return;
        };
        let Phase::Starting(starting) = &container.phase else {
            return;
        };
        self.poller.forget(&starting.report);
        let _ = linux_sys::pidfd::pidfd_kill(container.pidfd.as_fd());
        container.phase = Phase::Failed(Box::new((starting.asked, failure)));
        if let Err(e) = self
            .poller
            .watch(&container.pidfd, Token::new(Kind::Exit, number))
        {
            say(&format!("cannot wait for the end of a process: {e}"));
        }
    }

    /// Exec closed the child's end: the program runs.
    fn launched(&mut self, number: u64) {
        let executed_at = now();
        let Some(container) = self.containers.get_mut(&number) else {
            return;
        };
        let Phase::Starting(starting) = std::mem::replace(&mut container.phase, Phase::Running)
        else {
            return;
        };
        let Starting {
            asked,
            report,
            terminal,
            ready,
        } = *starting;
        self.poller.forget(&report);
        drop(report);
        let executed = executed_at.mono.0;
        let (mut spans, at) = ready.map_or((vec![], executed), |r| (r.spans, r.at));
        spans.push(Span {
            step: "exec".into(),
            nanos: executed.saturating_sub(at),
        });
        if let Some(master) = &terminal {
            let ready = rustix::io::ioctl_fionbio(master, true)
                .and_then(|()| rustix::io::fcntl_dupfd_cloexec(master, 3));
            match ready {
                Ok(fd) => container.streams.push(StreamEnd {
                    fd,
                    stream: Stream::Stdout,
                    is_terminal: true,
                }),
                Err(e) => say(&format!(
                    "the terminal of {} cannot be read: {e}",
                    container.key
                )),
            }
        }
        let mut fds = Vec::new();
        let mut add = |fd: io::Result<OwnedFd>| -> Option<FdIndex> {
            let index = u32::try_from(fds.len()).ok()?;
            fds.push(fd.ok()?);
            Some(FdIndex(index))
        };
        let pidfd = add(container.pidfd.try_clone());
        let mut of = |stream| {
            add(container
                .streams
                .iter()
                .find(|s| s.stream == stream && !s.is_terminal)?
                .fd
                .try_clone())
        };
        let (stdout, stderr) = (of(Stream::Stdout), of(Stream::Stderr));
        let terminal = terminal.and_then(|t| add(Ok(t)));
        let launched = Launched {
            process: container.process,
            executed_at,
            pidfd: pidfd.unwrap_or(FdIndex(0)),
            stdout,
            stderr,
            terminal,
            spans,
        };
        let watched = self
            .poller
            .watch(&container.pidfd, Token::new(Kind::Exit, number));
        if let Err(e) = watched.and_then(|()| self.watch_streams(number)) {
            say(&format!(
                "cannot wait for a container's end and output: {e}"
            ));
        }
        self.rest = Rest::Worked;
        self.reply(asked, Reply::Launched(launched), fds);
    }
}

/// The pidfd of the process whose PID namespace is joined.
fn target(fds: &[OwnedFd], at: u32) -> Result<BorrowedFd<'_>, Failure> {
    let fd = usize::try_from(at).ok().and_then(|at| fds.get(at));
    fd.map(AsFd::as_fd).ok_or_else(|| {
        let message = "no descriptor came with it of the process whose PID namespace is joined";
        refused(Stage::Clone, FailureKind::Create, message)
    })
}

/// Makes the FIFOs that are missing and opens the reading ends.
fn open_streams(description: &LaunchDescription) -> Result<Vec<StreamEnd>, Failure> {
    let run = &description.files.run;
    let doing = |name: &'static str| {
        failed::<Errno>(Stage::Stdio, move || {
            format!("cannot make FIFO {}", run.join(name).display())
        })
    };
    if description.stdio.stdin {
        make_fifo(&run.join("stdin")).map_err(doing("stdin"))?;
    }
    let mut streams = Vec::with_capacity(2);
    for (name, stream) in [("stdout", Stream::Stdout), ("stderr", Stream::Stderr)] {
        let path = run.join(name);
        make_fifo(&path).map_err(doing(name))?;
        let fd = open_reading_end(&path).map_err(doing(name))?;
        streams.push(StreamEnd {
            fd,
            stream,
            is_terminal: false,
        });
    }
    Ok(streams)
}

fn make_fifo(path: &Path) -> Result<(), Errno> {
    match rustix::fs::mkfifoat(CWD, path, Mode::from_raw_mode(0o600)) {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

/// Without waiting for a writer.
pub(crate) fn open_reading_end(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::empty())?;
    if FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) != FileType::Fifo {
        return Err(Errno::INVAL);
    }
    Ok(fd)
}
