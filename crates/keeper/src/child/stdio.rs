//! What becomes 0, 1 and 2.
//!
//! A container's FIFOs are opened for reading and writing: then there always is a reader, so a keeper's death sends nobody SIGPIPE, and
//! opening `/dev/stdout` again never waits. They belong to the program's user, who may therefore do that.

use super::{Step, failed};
use crate::protocol::Stage;
use launch_plan::description::{LaunchDescription, TerminalSize};
use rustix::fs::{CWD, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::termios::{Winsize, tcsetwinsize};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub(super) struct Streams {
    stdin: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

/// Opens the FIFOs by their host paths, before the root changes.
pub(super) fn open(description: &LaunchDescription) -> Step<Streams> {
    let process = &description.process;
    let fifo = |name: &str| {
        let path = description.files.run.join(name);
        let opened = || -> Result<OwnedFd, Errno> {
            let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(CWD, &path, flags, Mode::empty())?;
            rustix::fs::fchown(
                &fd,
                Some(Uid::from_raw(process.uid)),
                Some(Gid::from_raw(process.gid)),
            )?;
            Ok(fd)
        };
        opened().map_err(failed(Stage::Stdio, || {
            format!("cannot open FIFO {}", path.display())
        }))
    };
    Ok(Streams {
        stdin: if description.stdio.stdin {
            fifo("stdin")?
        } else {
            null()?
        },
        stdout: fifo("stdout")?,
        stderr: fifo("stderr")?,
    })
}

fn null() -> Step<OwnedFd> {
    let opened = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    let fd = opened.map_err(failed(Stage::Stdio, || "cannot open /dev/null".into()))?;
    match super::devices::is_null(fd.as_fd()) {
        Ok(true) => Ok(fd),
        Ok(false) => Err(failed(Stage::Stdio, || {
            "/dev/null is something else".into()
        })(Errno::NODEV)),
        Err(e) => Err(failed(Stage::Stdio, || "cannot look at /dev/null".into())(
            e,
        )),
    }
}

impl Streams {
    pub(super) fn take_over(&self) -> Step<()> {
        become_standard(self.stdin.as_fd(), self.stdout.as_fd(), self.stderr.as_fd())
    }
}

/// Puts three descriptors in the places of the standard ones, where they survive exec.
pub(super) fn become_standard(
    stdin: BorrowedFd<'_>,
    stdout: BorrowedFd<'_>,
    stderr: BorrowedFd<'_>,
) -> Step<()> {
    nix::unistd::dup2_stdin(stdin)
        .and_then(|()| nix::unistd::dup2_stdout(stdout))
        .and_then(|()| nix::unistd::dup2_stderr(stderr))
        .map_err(failed(Stage::Stdio, || {
            "cannot set up standard input and output".into()
        }))
}

/// Before the program runs: it sees no other size first, and no `SIGWINCH`.
pub(super) fn set_size(terminal: BorrowedFd<'_>, size: TerminalSize) -> Step<()> {
    let size = Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size).map_err(failed(Stage::Stdio, || {
        "cannot set the size of the terminal".into()
    }))
}

/// Makes a terminal the controlling one of this session, and all three streams.
pub(super) fn become_terminal(slave: BorrowedFd<'_>) -> Step<()> {
    rustix::process::ioctl_tiocsctty(slave).map_err(failed(Stage::Stdio, || {
        "cannot take the terminal over".into()
    }))?;
    become_standard(slave, slave, slave)
}
