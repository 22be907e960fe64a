//! One more process in a container that was launched by a plan: the same user, environment, capabilities, seccomp program and directory.

use crate::command::check_argv;
use crate::description::{CgroupPlacement, ExecDescription, FdIndex, Process, TerminalSize};
use crate::error::PlanError;
use crate::fds::FdSource;
use crate::plan::{Planned, check_size};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecRequest {
    pub session: u64,
    /// Executed as it is: no `$(VAR)`, no image.
    pub argv: Vec<String>,
    pub terminal: bool,
    /// Of the terminal, if it is known.
    pub size: Option<TerminalSize>,
    pub cgroup: CgroupPlacement,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecPlanned {
    pub description: ExecDescription,
    /// Descriptor *n* of the description is made from entry *n*.
    pub fds: Vec<FdSource>,
}

/// # Errors
/// When the command is none.
pub fn exec_plan(container: &Planned, request: ExecRequest) -> Result<ExecPlanned, PlanError> {
    let of = &container.description.process;
    let argv = check_argv(request.argv)?;
    let mut env = of.env.clone();
    if request.terminal && !env.iter().any(|e| e.starts_with("TERM=")) {
        env.push("TERM=xterm".to_owned());
    }
    check_size(&argv, &env)?;
    let fds: Vec<FdSource> = of
        .seccomp
        .and_then(|FdIndex(n)| container.fds.get(usize::try_from(n).ok()?))
        .cloned()
        .into_iter()
        .collect();
    let process = Process {
        argv,
        env,
        seccomp: of.seccomp.map(|_| FdIndex(0)),
        ..of.clone()
    };
    Ok(ExecPlanned {
        description: ExecDescription {
            container: container.description.container.clone(),
            session: request.session,
            process,
            cgroup: request.cgroup,
            terminal: request.terminal,
            size: request.size,
        },
        fds,
    })
}
