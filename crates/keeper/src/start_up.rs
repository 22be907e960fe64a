//! From a fresh process to a keeper: apart from whoever started it, small, hard to kill, and alone on its run directory.

use crate::child::Ground;
use crate::say::{chain, say};
use crate::{KeeperConfig, KeeperError};
use linux_sys::mount_attr::{MountPropagation, set_mount_attributes};
use nix::sched::CloneFlags;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, UnmountFlags, fsconfig_create, fsmount, fsopen,
    unmount,
};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

const SOCKET: &str = "keeper.sock";

/// How long the remains of a keeper that was killed may hold its lock and its socket.
const DYING: Duration = Duration::from_millis(200);
/// How long a lock is waited for at most.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// What a keeper is given, by its start or by the one that it replaced.
pub(crate) struct Endowment {
    pub(crate) ground: Ground,
    /// Held for life: one keeper per run directory.
    pub(crate) lock: OwnedFd,
    pub(crate) listener: OwnedFd,
    /// `/proc/self/ns/pid`: the way back from a pod's PID namespace.
    pub(crate) own_pids: OwnedFd,
}

fn doing(what: &'static str) -> impl FnOnce(io::Error) -> KeeperError {
    move |source| KeeperError::StartUp {
        doing: what,
        source,
    }
}

/// What every keeper does first, also one that replaced another.
pub(crate) fn settle() -> Result<(), KeeperError> {
    linux_sys::memory::stay_small(64 << 10);
    if linux_sys::process::thread_count().map_err(doing("count threads"))? != 1 {
        return Err(KeeperError::Threads);
    }
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|e| doing("protect its memory")(e.into()))?;
    rustix::thread::set_name(c"coracle-keeper").map_err(|e| doing("set its name")(e.into()))?;
    rustix::process::umask(Mode::from_raw_mode(0o077));
    Ok(())
}

/// Makes everything that a first keeper needs.
pub(crate) fn endow(config: &KeeperConfig) -> Result<Endowment, KeeperError> {
    match rustix::process::setsid() {
        Ok(_) | Err(Errno::PERM) => {}
        Err(e) => return Err(doing("make a session")(e.into())),
    }
    let directory = config.run_dir.join("keeper");
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)
        .map_err(doing("make its directory"))?;
    let socket = config.run_dir.join(SOCKET);
    // before the cgroup: who waits here is not yet the keeper, and who comes after the node's end finds no cgroup
    let lock = lock(&directory.join("lock"), &socket)?;
    for directory in &config.cgroups {
        enter_cgroup(directory).map_err(|source| KeeperError::Cgroup {
            directory: directory.clone(),
            source,
        })?;
    }
    let oom = std::fs::write("/proc/self/oom_score_adj", "-999");
    if oom.is_err() {
        say("this node does not let the keeper lower its OOM score");
    }
    let open_files = raise_open_files().map_err(doing("read the limit of open files"))?;
    let host_mounts =
        open_proc("/proc/self/ns/mnt").map_err(doing("open the host's mount namespace"))?;
    let own_pids = open_proc("/proc/self/ns/pid").map_err(doing("open its PID namespace"))?;
    own_mounts(&config.run_dir).map_err(doing("make its mount namespace"))?;
    let procfs = private_procfs().map_err(|e| doing("mount a private procfs")(e.into()))?;
    let listener = listen(&socket).map_err(doing("listen on keeper.sock"))?;
    let ignored_signals =
        linux_sys::signals::ignored_signals().map_err(doing("read its signals"))?;
    Ok(Endowment {
        ground: Ground {
            procfs,
            host_mounts,
            open_files,
            ignored_signals,
        },
        lock,
        listener,
        own_pids,
    })
}

fn open_proc(path: &str) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// Once in a keeper's life, and of no container's business: v2 has no cheaper way in.
fn enter_cgroup(directory: &Path) -> io::Result<()> {
    let tasks = directory.join("tasks");
    let file = if tasks.exists() {
        tasks
    } else {
        directory.join("cgroup.procs")
    };
    std::fs::write(file, "0")
}

/// Raises the soft limit as far as the hard one allows, and returns what it was: containers get that.
fn raise_open_files() -> io::Result<Rlimit> {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    if let Err(e) = setrlimit(Resource::Nofile, raised) {
        say(&format!(
            "the keeper's limit of open files stays at {:?}: {}",
            before.current,
            chain(&io::Error::from(e))
        ));
    }
    Ok(before)
}

/// The child of a keeper that was just killed may hold the lock until it executes. When another keeper answers all that time, this one is
/// not needed: two agents, one after the other, may each have started one.
fn lock(path: &Path, socket: &Path) -> Result<OwnedFd, KeeperError> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::open(path, flags, Mode::from_raw_mode(0o600))
        .map_err(|e| doing("open its lock")(e.into()))?;
    let begun = Instant::now();
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(e) => return Err(doing("take its lock")(e.into())),
        }
        let waited = begun.elapsed();
        let is_needless = waited > DYING && UnixStream::connect(socket).is_ok();
        if is_needless || waited > LOCK_PATIENCE {
            return Err(KeeperError::AlreadyRunning {
                lock: path.to_owned(),
            });
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A mount namespace that sees what the host mounts and is not seen. Pinned namespaces are left out, or every container would begin with a
/// copy of each of those mounts.
fn own_mounts(run_dir: &Path) -> io::Result<()> {
    nix::sched::unshare(CloneFlags::CLONE_NEWNS)?;
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    set_mount_attributes(
        root.as_fd(),
        Default::default(),
        Some(MountPropagation::Slave),
        true,
    )?;
    loop {
        match unmount(
            run_dir.join("ns"),
            UnmountFlags::DETACH | UnmountFlags::NOFOLLOW,
        ) {
            Ok(()) => {}
            // no such directory, or nothing mounted on it any more
            Err(Errno::NOENT | Errno::INVAL) => return Ok(()),
            Err(e) => return Err(e.into()),
        }
    }
}

/// Attached nowhere, so nothing can be mounted over any part of it.
fn private_procfs() -> Result<OwnedFd, Errno> {
    let context = fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn listen(path: &Path) -> io::Result<OwnedFd> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    // the process mask lets nobody but the owner in from the first moment
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener.into())
}
