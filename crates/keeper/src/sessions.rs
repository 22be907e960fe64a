//! Exec sessions: more processes in a running container.

use crate::child::report::{self, Heard, Report};
use crate::child::{self, SessionSetup, failed, refused};
use crate::container::{Asked, Ready};
use crate::keeper::{Collected, Ended, Keeper, collect};
use crate::pods::{self, now};
use crate::poller::{Kind, Token};
use crate::protocol::{
    Event, ExecStdio, Failure, FailureKind, FromKeeper, Process, Refusal, Reply, Span, Stage,
};
use crate::rest::Rest;
use launch_plan::description::{ExecDescription, FdIndex};
use linux_sys::clock::boottime_nanos;
use linux_sys::clone::{Clone3, Cloned, spawn};
use pod_model::ContainerKey;
use std::os::fd::{AsFd, OwnedFd};

/// Who is told of the end: the connection that asked for it, if it is still there.
pub(crate) struct Session {
    pub(crate) container: ContainerKey,
    pub(crate) session: u64,
    pub(crate) asked: Asked,
    pub(crate) process: Process,
    pub(crate) pidfd: OwnedFd,
    pub(crate) phase: SessionPhase,
}

pub(crate) enum SessionPhase {
    Starting {
        report: OwnedFd,
        terminal: Option<OwnedFd>,
        ready: Option<Ready>,
    },
    Failed(Failure),
    Running,
}

impl Keeper {
    pub(crate) fn exec(
        &mut self,
        asked: Asked,
        description: ExecDescription,
        stdio: Option<ExecStdio>,
        fds: Vec<OwnedFd>,
    ) {
        let running = self
            .number_of(&description.container)
            .filter(|n| self.containers.get(n).is_some_and(|c| c.is_running()));
        let Some(container) = running else {
            self.refuse(
                asked,
                Refusal::NotRunning,
                format!("container {} does not run", description.container),
            );
            return;
        };
        if let Err(failure) = self.begin_exec(asked, container, description, stdio, fds) {
            self.reply(asked, Reply::Failed(failure), vec![]);
        }
    }

    fn begin_exec(
        &mut self,
        asked: Asked,
        container: u64,
        description: ExecDescription,
        stdio: Option<ExecStdio>,
        fds: Vec<OwnedFd>,
    ) -> Result<(), Failure> {
        let prepare = |what: &'static str| move || what.to_owned();
        let number = self.next_number();
        let Some(container) = self.containers.get(&container) else {
            return Err(refused(
                Stage::Prepare,
                FailureKind::Create,
                "the container is gone",
            ));
        };
        let (mut mine, its) = report::channel()
            .map_err(failed(Stage::Prepare, prepare("cannot make a socket pair")))?;
        let born = child::birth_place(&description.cgroup)
            .map_err(failed(Stage::Cgroup, prepare("cannot open the cgroup")))?;
        let cloned_at = boottime_nanos();
        let how = Clone3 {
            into_cgroup: born.as_ref().map(AsFd::as_fd),
            ..Clone3::default()
        };
        let (listener, lock, ground) = (&mut self.listener, &mut self.lock, &self.ground);
        let target = container.pidfd.as_fd();
        let cloned = pods::inside(Some(target), self.own_pids.as_fd(), || {
            spawn(&how, || {
                let setup = SessionSetup {
                    description: &description,
                    stdio,
                    fds: &fds,
                    ground,
                    container: target,
                    report: its.as_fd(),
                    cloned_at,
                };
                child::leave_the_keeper(listener, lock, &mut mine, its.as_fd());
                child::run_session(&setup)
            })
        });
        let Cloned { pid, pidfd } =
            cloned.map_err(failed(Stage::Clone, prepare("cannot enter the container")))?;
        drop(its);
        let start_ticks = linux_sys::process::start_ticks(pid).map_err(failed(
            Stage::Clone,
            prepare("cannot read the start time of the process"),
        ));
        let session = Session {
            container: description.container,
            session: description.session,
            asked,
            process: Process {
                pid,
                // without it the session fails below
                start_ticks: start_ticks.as_ref().map_or(0, |ticks| *ticks),
                started_at: now(),
            },
            pidfd,
            phase: SessionPhase::Starting {
                report: mine,
                terminal: None,
                ready: None,
            },
        };
        let released = match (start_ticks, &session.phase) {
            (Ok(_), SessionPhase::Starting { report, .. }) => self.release(number, report),
            (Err(failure), _) => Err(failure),
            (Ok(_), _) => Ok(()),
        };
        self.sessions.insert(number, session);
        if let Err(failure) = released {
            self.fail_session(number, failure);
        }
        Ok(())
    }

    /// Gives the process the word to go on, and waits for what it reports.
    fn release(&self, number: u64, report: &OwnedFd) -> Result<(), Failure> {
        report::let_go(report).map_err(failed(Stage::Prepare, || {
            "cannot tell the process to go on".into()
        }))?;
        self.poller
            .watch(report, Token::new(Kind::SessionReport, number))
            .map_err(failed(Stage::Prepare, || {
                "cannot wait for the process".into()
            }))
    }

    pub(crate) fn session_reported(&mut self, number: u64) {
        let Some(Session {
            phase:
                SessionPhase::Starting {
                    report,
                    terminal,
                    ready,
                },
            ..
        }) = self.sessions.get_mut(&number)
        else {
            return;
        };
        match report::receive(report) {
            Ok(Heard::Nothing) => {}
            Ok(Heard::Report(Report::Terminal, fd)) => *terminal = fd,
            Ok(Heard::Report(Report::Ready { spans, at, notes }, _)) => {
                *ready = Some(Ready { spans, at });
                for note in notes {
                    self.once.say(&note);
                }
            }
            Ok(Heard::Report(Report::Failed(failure), _)) => self.fail_session(number, failure),
            Ok(Heard::End) if ready.is_some() => self.session_started(number),
            Ok(Heard::End) => {
                let message = "the process was killed before it executed the program";
                self.fail_session(number, refused(Stage::Clone, FailureKind::Create, message));
            }
            Err(e) => {
                let message = format!("cannot understand what the process reports: {e}");
                self.fail_session(number, refused(Stage::Clone, FailureKind::Create, message));
            }
        }
    }

    fn fail_session(&mut self, number: u64, failure: Failure) {
        let Some(session) = self.sessions.get_mut(&number) else {
            return;
        };
        if let SessionPhase::Starting { report, .. } = &session.phase {
            self.poller.forget(report);
        }
        let _ = linux_sys::pidfd::pidfd_kill(session.pidfd.as_fd());
        session.phase = SessionPhase::Failed(failure);
        let _ = self
            .poller
            .watch(&session.pidfd, Token::new(Kind::SessionExit, number));
    }

    fn session_started(&mut self, number: u64) {
        let executed_at = boottime_nanos();
        let Some(session) = self.sessions.get_mut(&number) else {
            return;
        };
        let SessionPhase::Starting {
            report,
            terminal,
            ready,
        } = std::mem::replace(&mut session.phase, SessionPhase::Running)
        else {
            return;
        };
        self.poller.forget(&report);
        let (mut spans, at) = ready.map_or((vec![], executed_at), |r| (r.spans, r.at));
        spans.push(Span {
            step: "exec".into(),
            nanos: executed_at.saturating_sub(at),
        });
        let mut fds: Vec<OwnedFd> = session.pidfd.try_clone().into_iter().collect();
        let has_terminal = terminal.is_some();
        fds.extend(terminal);
        let reply = Reply::ExecStarted {
            process: session.process,
            pidfd: FdIndex(0),
            terminal: has_terminal.then_some(FdIndex(1)),
            spans,
        };
        let asked = session.asked;
        let _ = self
            .poller
            .watch(&session.pidfd, Token::new(Kind::SessionExit, number));
        self.reply(asked, reply, fds);
    }

    pub(crate) fn session_ended(&mut self, number: u64) {
        let Some(session) = self.sessions.get(&number) else {
            return;
        };
        let Collected::Ended(ended) = collect(session.pidfd.as_fd(), true) else {
            return;
        };
        self.poller.forget(&session.pidfd);
        let Some(session) = self.sessions.remove(&number) else {
            return;
        };
        self.rest = Rest::Worked;
        if let SessionPhase::Failed(failure) = session.phase {
            self.reply(session.asked, Reply::Failed(failure), vec![]);
            return;
        }
        let (code, signal) = match ended {
            Ended::Known(exit) => (exit.shell_code(), exit.signal()),
            Ended::Unknown => (137, None),
        };
        let event = Event::ExecExited {
            container: session.container,
            session: session.session,
            code,
            signal,
        };
        self.send(session.asked.connection, &FromKeeper::Event(event), vec![]);
    }
}
