//! One more process in a running container, from clone to exec.

use super::container::{begin, finish, open_terminal};
use super::{Ground, Step, Timeline, failed, refused};
use super::{cgroup, privileges, report, stdio};
use crate::protocol::{ExecStdio, FailureKind, Stage};
use launch_plan::description::ExecDescription;
use rustix::fs::{Mode, OFlags};
use rustix::thread::ThreadNameSpaceType;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub(crate) struct SessionSetup<'a> {
    pub(crate) description: &'a ExecDescription,
    pub(crate) stdio: Option<ExecStdio>,
    pub(crate) fds: &'a [OwnedFd],
    pub(crate) ground: &'a Ground,
    /// Of the container's first process. The keeper has entered its PID namespace for this child already.
    pub(crate) container: BorrowedFd<'a>,
    pub(crate) report: BorrowedFd<'a>,
    pub(crate) cloned_at: u64,
}

/// Runs in the child; returns only when it failed, which it has reported then.
pub(crate) fn run(setup: &SessionSetup<'_>) -> i32 {
    let Err(failure) = set_up(setup);
    let _ = report::send(setup.report, &report::Report::Failed(failure), None);
    1
}

fn set_up(setup: &SessionSetup<'_>) -> Step<std::convert::Infallible> {
    let SessionSetup {
        description,
        stdio,
        fds,
        ground,
        container,
        report,
        cloned_at,
    } = setup;
    let process = &description.process;
    let mut timeline = Timeline::start(*cloned_at);
    let mut notes = Vec::new();

    cgroup::join(&description.cgroup)?;
    timeline.done("cgroup");
    begin(ground)?;
    notes.extend(privileges::set_oom_score(ground, process.oom_score_adj)?);
    let program = match process.seccomp {
        Some(fd) => Some(privileges::read_program(super::descriptor(fds, fd)?)?),
        None => None,
    };
    // the container's namespaces, all but the PID namespace, which a process cannot change for itself
    let all = ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::NETWORK
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::CONTROL_GROUP;
    rustix::thread::move_into_thread_name_spaces(*container, all)
        .map_err(failed(Stage::Namespaces, || {
            "cannot enter the container's namespaces".into()
        }))?;
    timeline.done("namespaces");

    if description.terminal {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open("/", flags, Mode::empty())
            .map_err(failed(Stage::Stdio, || "cannot open the root".into()))?;
        let slave = open_terminal(root.as_fd(), process.uid, description.size, *report)?;
        stdio::become_terminal(slave.as_fd())?;
    } else {
        let missing = || {
            refused(
                Stage::Stdio,
                FailureKind::Config,
                "neither a terminal nor descriptors for input and output",
            )
        };
        let stdio = stdio.ok_or_else(missing)?;
        let of = |index| super::descriptor(fds, index);
        stdio::become_standard(of(stdio.stdin)?, of(stdio.stdout)?, of(stdio.stderr)?)?;
    }
    let command = finish(process, program.as_deref(), &mut timeline)?;
    report::send(*report, &report::ready(&timeline, notes), None)
        .map_err(failed(Stage::Exec, || "cannot report".into()))?;
    Err(command.execute())
}
