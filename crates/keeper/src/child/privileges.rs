//! Becoming the user: the last steps before exec, in the only order that works.
//!
//! ```text
//!   bounding set ─► groups, gid, uid ─► capabilities ─► working directory, as the user ─► program looked up, as the user
//!     ─► no_new_privs ─► seccomp ─► exec
//! ```
//!
//! Without `no_new_privs` loading a filter takes `CAP_SYS_ADMIN`: it then stays permitted, not effective, until the filter is loaded.

use super::{Ground, Step, failed, refused};
use crate::protocol::{FailureKind, Stage};
use launch_plan::description::{Capabilities, Process};
use linux_sys::privilege::{
    CAP_SYS_ADMIN, CapabilityMasks, capabilities, limit_bounding_set, set_capabilities,
};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::io;
use std::path::Path;

/// Writes the score into `/proc/self/oom_score_adj` of the keeper's own procfs. Raising is always allowed; lowering takes
/// `CAP_SYS_RESOURCE`, and doing without is a note, no failure.
pub(super) fn set_oom_score(ground: &Ground, score: i32) -> Step<Option<String>> {
    let written = rustix::fs::openat(
        &ground.procfs,
        c"self/oom_score_adj",
        OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .and_then(|file| rustix::io::write(&file, score.to_string().as_bytes()));
    match written {
        Ok(_) => Ok(None),
        Err(Errno::ACCESS | Errno::PERM) => Ok(Some(format!(
            "oom_score_adj {score} is lower than this node may set"
        ))),
        Err(e) => Err(failed(Stage::Privileges, || {
            format!("cannot set oom_score_adj {score}")
        })(e)),
    }
}

/// The limit of open files that the keeper was started with.
pub(super) fn restore_limits(ground: &Ground) -> Step<()> {
    rustix::process::setrlimit(rustix::process::Resource::Nofile, ground.open_files).map_err(
        failed(Stage::Privileges, || {
            "cannot set the limit of open files".into()
        }),
    )
}

/// Capabilities that the process is to have: those asked for that the keeper has itself.
pub(super) struct Granted {
    last: CapabilityMasks,
    /// What is permitted until seccomp is loaded.
    until_seccomp: CapabilityMasks,
}

/// From root to the user of the description. The cwd and the program are looked up with that user's rights after this.
pub(super) fn become_user(process: &Process) -> Step<Granted> {
    let doing =
        |what: &'static str| failed::<io::Error>(Stage::Privileges, move || what.to_owned());
    let Capabilities {
        bounding,
        effective,
        permitted,
    } = process.capabilities;
    let own = capabilities().map_err(doing("cannot read capabilities"))?;
    let last = CapabilityMasks {
        permitted: permitted & own.permitted,
        effective: effective & permitted & own.permitted,
        inheritable: 0,
    };
    let mut until_seccomp = last;
    if process.uid != 0 {
        // what is looked up next is looked up with the user's rights; exec would take them away anyhow
        until_seccomp.effective = 0;
    }
    if process.seccomp.is_some() && !process.no_new_privileges {
        until_seccomp.permitted |= own.permitted & (1 << CAP_SYS_ADMIN);
    }
    limit_bounding_set(bounding).map_err(doing("cannot limit capabilities"))?;
    rustix::thread::set_keep_capabilities(true)
        .map_err(|e| doing("cannot keep capabilities")(e.into()))?;
    let groups: Vec<Gid> = process
        .supplementary_gids
        .iter()
        .map(|g| Gid::from_raw(*g))
        .collect();
    setgroups(&groups).map_err(|e| doing("cannot set the supplementary groups")(e.into()))?;
    let gid = Gid::from_raw(process.gid);
    setresgid(gid, gid, gid).map_err(|e| doing("cannot set the group")(e.into()))?;
    let uid = Uid::from_raw(process.uid);
    setresuid(uid, uid, uid).map_err(|e| doing("cannot set the user")(e.into()))?;
    rustix::thread::set_keep_capabilities(false)
        .map_err(|e| doing("cannot drop capabilities")(e.into()))?;
    match rustix::thread::clear_ambient_capability_set() {
        Ok(()) | Err(Errno::INVAL) => {}
        Err(e) => return Err(doing("cannot drop ambient capabilities")(e.into())),
    }
    set_capabilities(until_seccomp).map_err(doing("cannot set capabilities"))?;
    Ok(Granted {
        last,
        until_seccomp,
    })
}

/// Enters the working directory, made if it is missing. Refuses one that is not below the root: a link to a descriptor that leaked from
/// the host would lead there (CVE-2024-21626).
pub(super) fn enter(cwd: &str) -> Step<()> {
    let doing = || format!("cannot change to the working directory {cwd:?}");
    let outside = || {
        let message = format!(
            "current working directory {cwd:?} is outside of container mount namespace root"
        );
        refused(Stage::WorkingDirectory, FailureKind::Start, message)
    };
    match std::fs::create_dir_all(cwd) {
        // whether it can be entered is what counts; a read-only root file system has what it has
        Ok(()) | Err(_) => {}
    }
    rustix::process::chdir(cwd).map_err(failed(Stage::WorkingDirectory, doing))?;
    // the system call says "(unreachable)/…", which the C library turns into ENOENT
    let here = rustix::process::getcwd(Vec::new()).map_err(|_| outside())?;
    if !here.as_bytes().starts_with(b"/") || !is_same_directory() {
        return Err(outside());
    }
    Ok(())
}

/// The name that `getcwd` gave leads to where we are.
fn is_same_directory() -> bool {
    let Ok(name) = std::env::current_dir() else {
        return false;
    };
    let (Ok(by_name), Ok(here)) = (rustix::fs::stat(Path::new(&name)), rustix::fs::stat("."))
    else {
        // a directory that the user may not look at, but may enter
        return true;
    };
    (by_name.st_dev, by_name.st_ino) == (here.st_dev, here.st_ino)
}

/// No new privileges, the filter, and the last capabilities: only closing descriptors and exec follow.
pub(super) fn seal(process: &Process, granted: &Granted, program: Option<&[u8]>) -> Step<()> {
    let doing = |what: &'static str| failed::<io::Error>(Stage::Seccomp, move || what.to_owned());
    if process.no_new_privileges {
        rustix::thread::set_no_new_privs(true)
            .map_err(|e| doing("cannot set no_new_privs")(e.into()))?;
        set_capabilities(granted.last).map_err(doing("cannot set capabilities"))?;
    }
    if let Some(program) = program {
        if !process.no_new_privileges {
            let mut now = granted.until_seccomp;
            now.effective |= now.permitted & (1 << CAP_SYS_ADMIN);
            set_capabilities(now).map_err(doing(
                "cannot raise CAP_SYS_ADMIN to load the seccomp profile",
            ))?;
        }
        linux_sys::seccomp::load(program).map_err(doing("cannot load the seccomp profile"))?;
    }
    if !process.no_new_privileges {
        set_capabilities(granted.last).map_err(doing("cannot set capabilities"))?;
    }
    Ok(())
}

/// Reads the whole program before the root changes.
pub(super) fn read_program(fd: std::os::fd::BorrowedFd<'_>) -> Step<Vec<u8>> {
    /// `BPF_MAXINSNS` instructions; the kernel refuses what is longer.
    const LONGEST: usize = 4096 * 8;
    let doing = || failed(Stage::Seccomp, || "cannot read the seccomp program".into());
    let size = rustix::fs::fstat(fd).map_err(doing())?.st_size;
    let mut program = vec![0; usize::try_from(size).unwrap_or(0).min(LONGEST + 1)];
    let mut have = 0;
    while have < program.len() {
        match rustix::io::pread(fd, &mut program[have..], have as u64) {
            Ok(0) => break,
            Ok(n) => have += n,
            Err(Errno::INTR) => {}
            Err(e) => return Err(doing()(e)),
        }
    }
    program.truncate(have);
    Ok(program)
}
