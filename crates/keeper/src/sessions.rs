//! Exec sessions: more processes in a running container.

use crate::child::report::{self, Heard, Report};
use crate::child::{self, SessionSetup, failed, refused};
use crate::container::Asked;
use crate::keeper::{Collected, Ended, Keeper, collect};
use crate::pods;
use crate::poller::{Kind, Token};
use crate::protocol::{Event, ExecStdio, Failure, FailureKind, FromKeeper, Refusal, Reply, Stage};
use crate::rest::Rest;
use launch_plan::description::{ExecDescription, FdIndex};
use linux_sys::clock::boottime_nanos;
use linux_sys::clone::{Clone3, Cloned, spawn};
use pod_model::ContainerKey;
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, OwnedFd};

/// Who is told of the end: the connection that asked for it, if it is still there.
pub(crate) struct Session {
    pub(crate) container: ContainerKey,
    pub(crate) session: u64,
    pub(crate) asked: Asked,
    pub(crate) answer: Answer,
    pub(crate) pidfd: OwnedFd,
    pub(crate) phase: SessionPhase,
}

/// When who asked for a session is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// When the program is executed; its end is an event.
    AtStart,
    /// When it has ended. Then what the child reports is read at its end too: that is one wake-up for all of it.
    AtEnd,
}

pub(crate) enum SessionPhase {
    Starting {
        report: OwnedFd,
        terminal: Option<OwnedFd>,
        /// It has said that nothing but exec is left to do.
        is_ready: bool,
    },
    Failed(Failure),
    Running,
}

impl Keeper {
    pub(crate) fn exec(
        &mut self,
        asked: Asked,
        answer: Answer,
        description: ExecDescription,
        endowment: (Option<ExecStdio>, Vec<OwnedFd>),
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
        let asker = (asked, answer);
        if let Err(failure) = self.begin_exec(asker, container, description, endowment) {
            self.reply(asked, Reply::Failed(failure), vec![]);
        }
    }

    fn begin_exec(
        &mut self,
        (asked, answer): (Asked, Answer),
        container: u64,
        description: ExecDescription,
        (stdio, fds): (Option<ExecStdio>, Vec<OwnedFd>),
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
        let Cloned { pid: _, pidfd } =
            cloned.map_err(failed(Stage::Clone, prepare("cannot enter the container")))?;
        drop(its);
        let watched = match answer {
            Answer::AtStart => {
                let token = Token::new(Kind::SessionReport, number);
                self.poller.watch_end(&mine, token)
            }
            Answer::AtEnd => {
                let token = Token::new(Kind::SessionExit, number);
                self.poller.watch(&pidfd, token)
            }
        };
        let watched = watched.map_err(failed(
            Stage::Prepare,
            prepare("cannot wait for the process"),
        ));
        let session = Session {
            container: description.container,
            session: description.session,
            asked,
            answer,
            pidfd,
            phase: SessionPhase::Starting {
                report: mine,
                terminal: None,
                is_ready: false,
            },
        };
        self.sessions.insert(number, session);
        if let Err(failure) = watched {
            self.fail_session(number, failure);
        }
        Ok(())
    }

    /// The process executed its program, or died: what it said before is read now.
    pub(crate) fn session_reported(&mut self, number: u64) {
        while let Some(Session {
            phase:
                SessionPhase::Starting {
                    report,
                    terminal,
                    is_ready,
                },
            ..
        }) = self.sessions.get_mut(&number)
        {
            match report::receive(report) {
                Ok(Heard::Nothing) => return,
                Ok(Heard::Report(Report::Terminal, fd)) => *terminal = fd,
                Ok(Heard::Report(Report::Ready { notes, .. }, _)) => {
                    *is_ready = true;
                    for note in notes {
                        self.once.say(&note);
                    }
                }
                Ok(Heard::Report(Report::Failed(failure), _)) => self.fail_session(number, failure),
                Ok(Heard::End) if *is_ready => self.session_started(number),
                Ok(Heard::End) => self.fail_session(number, killed_early()),
                Err(e) => {
                    let message = format!("cannot understand what the process reports: {e}");
                    self.fail_session(number, refused(Stage::Clone, FailureKind::Create, message));
                }
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
        let Some(session) = self.sessions.get_mut(&number) else {
            return;
        };
        let SessionPhase::Starting {
            report, terminal, ..
        } = std::mem::replace(&mut session.phase, SessionPhase::Running)
        else {
            return;
        };
        self.poller.forget(&report);
        if session.answer == Answer::AtEnd {
            return;
        }
        let reply = Reply::ExecStarted {
            terminal: terminal.is_some().then_some(FdIndex(0)),
        };
        let asked = session.asked;
        let _ = self
            .poller
            .watch(&session.pidfd, Token::new(Kind::SessionExit, number));
        self.reply(asked, reply, terminal.into_iter().collect());
    }

    /// A replacement waits until nothing is being started: those of whom nothing is heard before their end are listened to now.
    pub(crate) fn listen_to_silent_sessions(&self) {
        for (number, session) in &self.sessions {
            if let (Answer::AtEnd, SessionPhase::Starting { report, .. }) =
                (session.answer, &session.phase)
            {
                // an error: its end is waited for
                let token = Token::new(Kind::SessionReport, *number);
                let _ = self.poller.watch_end(report, token);
            }
        }
    }

    pub(crate) fn session_ended(&mut self, number: u64) {
        self.session_reported(number);
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
        let failure = match session.phase {
            SessionPhase::Running => None,
            SessionPhase::Failed(failure) => Some(failure),
            SessionPhase::Starting { .. } => Some(killed_early()),
        };
        if let Some(failure) = failure {
            self.reply(session.asked, Reply::Failed(failure), vec![]);
            return;
        }
        let (code, signal) = match ended {
            Ended::Known(exit) => (exit.shell_code(), exit.signal()),
            Ended::Unknown => (137, None),
        };
        if session.answer == Answer::AtEnd {
            self.reply(session.asked, Reply::ExecEnded { code, signal }, vec![]);
            return;
        }
        let event = Event::ExecExited {
            container: session.container,
            session: session.session,
            code,
            signal,
        };
        self.send(session.asked.connection, &FromKeeper::Event(event), vec![]);
    }
}

fn killed_early() -> Failure {
    let message = "the process was killed before it executed the program";
    refused(Stage::Clone, FailureKind::Create, message)
}
