//! Namespaces kept alive by bind mounts: `<run>/ns/<slot>/{net,ipc,uts}`.
//!
//! `<run>/ns` is a mount of its own, private and unbindable: a pin exists in one mount namespace only, and a pod that has `/run` as a
//! hostPath does not get copies of it, which would keep the namespaces of others alive.

use crate::error::NetworkError;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statfs::{FsType, statfs};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

pub(crate) const NET: &str = "net";
pub(crate) const IPC: &str = "ipc";
pub(crate) const UTS: &str = "uts";
/// `owner.<uid>` in a slot's directory: the lease in one word, should its file become unreadable.
const OWNER: &str = "owner.";

const NSFS_MAGIC: FsType = FsType(0x6e73_6673);

/// Makes `<run>/ns` a private, unbindable mount point, unless it is one.
pub(crate) fn prepare(dir: &Path) -> Result<(), NetworkError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|e| NetworkError::files("create", dir, e))?;
    if !is_mount_point(dir).map_err(|e| NetworkError::files("examine", dir, e))? {
        mount(Some(dir), dir, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .map_err(|e| NetworkError::files("bind", dir, e))?;
    }
    mount(
        None::<&str>,
        dir,
        None::<&str>,
        MsFlags::MS_UNBINDABLE,
        None::<&str>,
    )
    .map_err(|e| NetworkError::files("make unbindable", dir, e))
}

/// Undoes [`prepare`], with every pin that is left.
pub(crate) fn remove_all(dir: &Path) -> Result<(), NetworkError> {
    detach(dir).map_err(|e| NetworkError::files("unmount", dir, e))?;
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(NetworkError::files("remove", dir, e)),
        _ => Ok(()),
    }
}

/// The directory of a new slot.
pub(crate) fn create_slot(dir: &Path) -> Result<(), NetworkError> {
    DirBuilder::new()
        .mode(0o700)
        .create(dir)
        .map_err(|e| NetworkError::files("create", dir, e))
}

/// Pins a namespace of the calling thread.
pub(crate) fn pin(slot: &Path, kind: &'static str) -> Result<(), NetworkError> {
    let target = slot.join(kind);
    File::create_new(&target).map_err(|e| NetworkError::files("create", &target, e))?;
    let source = PathBuf::from("/proc/thread-self/ns").join(kind);
    mount(
        Some(&source),
        &target,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )
    .map_err(|e| NetworkError::files("pin a namespace at", &target, e))
}

/// Whether a namespace is pinned there.
pub(crate) fn is_pinned(slot: &Path, kind: &str) -> bool {
    statfs(&slot.join(kind)).is_ok_and(|s| s.filesystem_type() == NSFS_MAGIC)
}

pub(crate) fn mark_owner(slot: &Path, pod: &str) -> Result<(), NetworkError> {
    let path = slot.join(format!("{OWNER}{pod}"));
    File::create(&path)
        .map(drop)
        .map_err(|e| NetworkError::files("create", path, e))
}

pub(crate) fn owner(slot: &Path) -> Option<String> {
    fs::read_dir(slot)
        .ok()?
        .flatten()
        .find_map(|entry| Some(entry.file_name().to_str()?.strip_prefix(OWNER)?.to_owned()))
}

/// Lets go of a slot's namespaces. The kernel frees what nobody else holds, links and routes with it, in its own time.
pub(crate) fn remove_slot(dir: &Path) -> Result<(), NetworkError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(NetworkError::files("read", dir, e)),
    };
    for entry in entries.flatten() {
        let path = entry.path();
        detach(&path).map_err(|e| NetworkError::files("unmount", &path, e))?;
        fs::remove_file(&path).map_err(|e| NetworkError::files("remove", &path, e))?;
    }
    fs::remove_dir(dir).map_err(|e| NetworkError::files("remove", dir, e))
}

/// Also when several mounts lie on one another.
fn detach(path: &Path) -> Result<(), Errno> {
    loop {
        match umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => {}
            Err(Errno::EINVAL | Errno::ENOENT) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn is_mount_point(dir: &Path) -> io::Result<bool> {
    // a bind mount of a directory onto itself has its parent's device: only the mount table tells
    let dir = fs::canonicalize(dir)?;
    let table = fs::read_to_string("/proc/thread-self/mountinfo")?;
    Ok(table.lines().any(|line| {
        line.split(' ')
            .nth(4)
            .is_some_and(|at| unescape(at) == dir.as_os_str().as_encoded_bytes())
    }))
}

/// `\040` and its like, as `mountinfo` writes blanks.
fn unescape(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let octal = bytes
            .get(at + 1..at + 4)
            .filter(|_| bytes[at] == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        out.push(octal.unwrap_or(bytes[at]));
        at += if octal.is_some() { 4 } else { 1 };
    }
    out
}
