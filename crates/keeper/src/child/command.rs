//! Looking the program up as its user, and executing it. Worded as runc words it, because people search for these words.

use super::{Step, failed, refused, words};
use crate::protocol::{Failure, FailureKind, Stage};
use launch_plan::description::Process;
use rustix::fs::{Access, FileType};
use rustix::io::Errno;
use std::ffi::CString;
use std::io;

/// Where a first word without a slash is looked up when the environment has no `PATH`: as runc does.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Everything that `execve` takes.
pub(super) struct Command {
    shown: String,
    path: CString,
    argv: Vec<CString>,
    env: Vec<CString>,
}

fn start(message: String, errno: Option<Errno>) -> Failure {
    Failure {
        stage: Stage::Exec,
        kind: FailureKind::Start,
        errno: errno.map(Errno::raw_os_error),
        message,
    }
}

/// Finds the program. The working directory has been entered, and this is the user already.
pub(super) fn look_up(process: &Process) -> Step<Command> {
    let first = process.argv.first().map_or("", String::as_str);
    if first.is_empty() {
        return Err(refused(
            Stage::Exec,
            FailureKind::Config,
            "no command to execute",
        ));
    }
    let path = if first.contains('/') {
        match executable(first) {
            Ok(()) => first.to_owned(),
            Err(Errno::ISDIR) => {
                return Err(start(
                    format!("exec: {first:?}: is a directory"),
                    Some(Errno::ISDIR),
                ));
            }
            Err(e @ (Errno::NOENT | Errno::NOTDIR)) => {
                let message = format!(
                    "exec: {first:?}: stat {first}: {}",
                    words(&io::Error::from(e))
                );
                return Err(start(message, Some(e)));
            }
            Err(e) => {
                return Err(start(
                    format!("exec: {first:?}: {}", words(&io::Error::from(e))),
                    Some(e),
                ));
            }
        }
    } else {
        let path = process
            .env
            .iter()
            .rev()
            .find_map(|v| v.strip_prefix("PATH="));
        // an empty entry is the working directory
        let places = path
            .unwrap_or(DEFAULT_PATH)
            .split(':')
            .map(|p| if p.is_empty() { "." } else { p });
        let mut candidates = places.map(|place| format!("{place}/{first}"));
        candidates
            .find(|candidate| executable(candidate).is_ok())
            .ok_or_else(|| {
                start(
                    format!("exec: {first:?}: executable file not found in $PATH"),
                    Some(Errno::NOENT),
                )
            })?
    };
    let strings = |list: &[String], what: &str| -> Step<Vec<CString>> {
        list.iter()
            .map(|s| CString::new(s.as_str()))
            .collect::<Result<_, _>>()
            .map_err(|_| {
                refused(
                    Stage::Exec,
                    FailureKind::Config,
                    format!("a NUL byte in the {what}"),
                )
            })
    };
    let nul = |_| {
        refused(
            Stage::Exec,
            FailureKind::Config,
            "a NUL byte in the command",
        )
    };
    Ok(Command {
        shown: path.clone(),
        path: CString::new(path).map_err(nul)?,
        argv: strings(&process.argv, "arguments")?,
        env: strings(&process.env, "environment")?,
    })
}

fn executable(path: &str) -> Result<(), Errno> {
    let stat = rustix::fs::stat(path)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => return Err(Errno::ISDIR),
        FileType::RegularFile if stat.st_mode & 0o111 == 0 => return Err(Errno::ACCESS),
        _ => {}
    }
    rustix::fs::accessat(
        rustix::fs::CWD,
        path,
        Access::EXEC_OK,
        rustix::fs::AtFlags::EACCESS,
    )
    .or_else(|e| {
        // faccessat2 may be filtered or missing; then exec itself will tell
        if matches!(e, Errno::NOSYS | Errno::PERM) {
            Ok(())
        } else {
            Err(e)
        }
    })
}

impl Command {
    /// Becomes the program; returns only when it cannot.
    pub(super) fn execute(&self) -> Failure {
        match nix::unistd::execve(&self.path, &self.argv, &self.env) {
            Err(e) => failed(Stage::Exec, || format!("exec {}", self.shown))(io::Error::from(e)),
            Ok(never) => match never {},
        }
    }
}
