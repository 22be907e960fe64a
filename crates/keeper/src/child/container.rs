//! The first process of a container, from clone to exec.

use super::{Ground, Step, Timeline, failed, refused};
use super::{cgroup, command, devices, masks, mounts, privileges, report, rootfs, stdio};
use crate::pid_file;
use crate::protocol::{FailureKind, Stage};
use launch_plan::description::{LaunchDescription, SharedNamespace, TerminalSize};
use linux_sys::mount_attr::{MountFlags, set_mount_attributes};
use rustix::thread::LinkNameSpaceType;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What the child starts from.
pub(crate) struct ContainerSetup<'a> {
    pub(crate) description: &'a LaunchDescription,
    pub(crate) fds: &'a [OwnedFd],
    pub(crate) ground: &'a Ground,
    pub(crate) report: BorrowedFd<'a>,
    /// Where it says that it executes its program.
    pub(crate) mark: BorrowedFd<'a>,
    /// When the keeper called clone.
    pub(crate) cloned_at: u64,
}

/// Runs in the child; returns only when it failed, which it has reported then.
pub(crate) fn run(setup: &ContainerSetup<'_>) -> i32 {
    let Err(failure) = set_up(setup);
    let _ = report::send(setup.report, &report::Report::Failed(failure), None);
    1
}

fn set_up(setup: &ContainerSetup<'_>) -> Step<std::convert::Infallible> {
    let ContainerSetup {
        description,
        fds,
        ground,
        report,
        mark,
        cloned_at,
    } = setup;
    let process = &description.process;
    let mut timeline = Timeline::start(*cloned_at);
    let mut notes = Vec::new();

    cgroup::join(&description.cgroup)?;
    timeline.done("cgroup");

    begin(ground)?;
    notes.extend(privileges::set_oom_score(ground, process.oom_score_adj)?);
    let streams = if description.stdio.terminal {
        None
    } else {
        Some(stdio::open(description)?)
    };
    let program = match process.seccomp {
        Some(fd) => Some(privileges::read_program(super::descriptor(fds, fd)?)?),
        None => None,
    };
    let sources = mounts::copy_sources(ground, description, fds)?;
    enter_namespaces(description, fds)?;
    timeline.done("namespaces");

    let paths = description
        .rootfs
        .layers
        .iter()
        .chain([&description.rootfs.writable, &description.files.run]);
    if paths.into_iter().any(|path| !rootfs::is_sound(path)) {
        return Err(refused(
            Stage::Rootfs,
            FailureKind::Config,
            "a NUL byte in the path of a layer",
        ));
    }
    let root = rootfs::assemble(&description.rootfs, &description.files.run)?;
    timeline.done("rootfs");

    mounts::mount_all(root.as_fd(), description, sources)?;
    devices::make(root.as_fd(), description)?;
    let slave = if description.stdio.terminal {
        Some(open_terminal(root.as_fd(), process.uid, None, *report)?)
    } else {
        None
    };
    if let Some(slave) = &slave {
        devices::console(root.as_fd(), slave.as_fd())?;
    }
    masks::apply(root.as_fd(), description)?;
    if description.rootfs.readonly {
        let readonly = MountFlags {
            readonly: true,
            ..MountFlags::default()
        };
        set_mount_attributes(root.as_fd(), readonly, None, false)
            .map_err(failed(Stage::Rootfs, || {
                "cannot make the root file system read-only".into()
            }))?;
    }
    rootfs::pivot(root.as_fd())?;
    drop(root);
    timeline.done("mounts");

    match (&slave, &streams) {
        (Some(slave), _) => stdio::become_terminal(slave.as_fd())?,
        (None, Some(streams)) => streams.take_over()?,
        (None, None) => {}
    }
    let command = finish(process, program.as_deref(), &mut timeline)?;
    report::await_word(*report).map_err(failed(Stage::Exec, || "the keeper is gone".into()))?;
    // From here on nothing but its own program ends it: a keeper that comes later finds the mark, and adopts.
    pid_file::mark(*mark).map_err(failed(Stage::Exec, || "cannot note the start".into()))?;
    let _ = report::send(*report, &report::ready(&timeline, notes), None);
    Err(command.execute())
}

/// What both a container and an exec session begin with.
pub(super) fn begin(ground: &Ground) -> Step<()> {
    let doing = |what: &'static str| move || what.to_owned();
    match rustix::process::setsid() {
        // it is the first of its session already
        Ok(_) | Err(rustix::io::Errno::PERM) => {}
        Err(e) => return Err(failed(Stage::Prepare, doing("cannot make a session"))(e)),
    }
    linux_sys::signals::reset_signals(&ground.ignored_signals)
        .map_err(failed(Stage::Prepare, doing("cannot reset signals")))?;
    rustix::process::umask(rustix::fs::Mode::empty());
    privileges::restore_limits(ground)
}

/// What both end with. What is left is to say so, and to execute the command.
pub(super) fn finish(
    process: &launch_plan::description::Process,
    program: Option<&[u8]>,
    timeline: &mut Timeline,
) -> Step<command::Command> {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let granted = privileges::become_user(process)?;
    privileges::enter(&process.cwd)?;
    let command = command::look_up(process)?;
    linux_sys::descriptors::close_on_exec_from(3).map_err(failed(Stage::Privileges, || {
        "cannot close descriptors".into()
    }))?;
    privileges::seal(process, &granted, program)?;
    timeline.done("security");
    rustix::process::set_parent_process_death_signal(None)
        .map_err(failed(Stage::Exec, || "cannot let go of the keeper".into()))?;
    Ok(command)
}

pub(super) fn open_terminal(
    root: BorrowedFd<'_>,
    uid: u32,
    size: Option<TerminalSize>,
    report: BorrowedFd<'_>,
) -> Step<OwnedFd> {
    let (master, slave) = devices::terminal(root, uid).map_err(failed(Stage::Stdio, || {
        "cannot open a terminal in the container's devpts".into()
    }))?;
    if let Some(size) = size {
        stdio::set_size(slave.as_fd(), size)?;
    }
    report::send(report, &report::Report::Terminal, Some(master.as_fd()))
        .map_err(failed(Stage::Stdio, || {
            "cannot hand the terminal over".into()
        }))?;
    Ok(slave)
}

fn enter_namespaces(description: &LaunchDescription, fds: &[OwnedFd]) -> Step<()> {
    let namespaces = &description.namespaces;
    let enter = |what: SharedNamespace, kind: LinkNameSpaceType, name: &'static str| -> Step<()> {
        let SharedNamespace::Enter(index) = what else {
            return Ok(());
        };
        rustix::thread::move_into_link_name_space(super::descriptor(fds, index)?, Some(kind))
            .map_err(failed(Stage::Namespaces, || {
                format!("cannot enter the {name} namespace")
            }))
    };
    enter(namespaces.net, LinkNameSpaceType::Network, "net")?;
    enter(
        namespaces.ipc,
        LinkNameSpaceType::InterProcessCommunication,
        "ipc",
    )?;
    enter(
        namespaces.uts,
        LinkNameSpaceType::HostNameAndNISDomainName,
        "uts",
    )?;
    if let (Some(hostname), SharedNamespace::Enter(_)) = (&description.hostname, namespaces.uts) {
        nix::unistd::sethostname(hostname).map_err(|e| {
            failed(Stage::Namespaces, || {
                format!("cannot set the host name {hostname:?}")
            })(std::io::Error::from(e))
        })?;
    }
    cgroup::hide_the_rest()
}
