//! The keeper's own file, out of every container's reach.
//!
//! A program in a container can open `/proc/<pid>/exe` of a child that has not executed yet, and so the keeper's binary; if the file can
//! be opened for writing by that way, the host is lost (CVE-2019-5736). So the keeper executes itself once more from a detached read-only
//! bind mount of its file: whoever comes to it through `/proc` gets `EROFS`. No copy is made, no memory is spent.

use linux_sys::mount_attr::{MountFlags, MountPropagation, set_mount_attributes};
use nix::unistd::execveat;
use rustix::mount::{OpenTreeFlags, open_tree};
use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

/// Set for the second execution, so that there is no third where a kernel cannot tell.
const MARK: &str = "CORACLE_KEEPER_SEALED";

/// Executes this program again from a read-only mount, unless that has happened. The mount namespace is still the host's.
pub(crate) fn ensure() -> io::Result<()> {
    if std::env::var_os(MARK).is_some() || is_sealed()? {
        return Ok(());
    }
    let exe = std::fs::File::open("/proc/self/exe")?;
    let sealed = seal(exe.as_fd())?;
    Err(execute(sealed.as_fd(), &[]))
}

/// Whether the file that this process executes is on a read-only mount.
pub(crate) fn is_sealed() -> io::Result<bool> {
    let exe = std::fs::File::open("/proc/self/exe")?;
    Ok(rustix::fs::fstatvfs(&exe)?
        .f_flag
        .contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// A descriptor of the same file on a detached read-only mount. The file's mount must be in this process's mount namespace.
pub(crate) fn seal(binary: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(binary, c"", flags)?;
    let readonly = MountFlags {
        readonly: true,
        ..MountFlags::default()
    };
    set_mount_attributes(
        tree.as_fd(),
        readonly,
        Some(MountPropagation::Private),
        false,
    )?;
    Ok(tree)
}

/// Becomes `binary`, with this process's arguments and environment and `extra` variables. Returns only an error.
pub(crate) fn execute(binary: BorrowedFd<'_>, extra: &[(&str, String)]) -> io::Error {
    let string = |s: OsString| CString::new(s.into_vec());
    let argv: Result<Vec<CString>, _> = std::env::args_os().map(string).collect();
    let mut env: Vec<Result<CString, _>> = std::env::vars_os()
        .filter(|(name, _)| name != MARK && !extra.iter().any(|(e, _)| name == *e))
        .map(|(mut line, value)| {
            line.push("=");
            line.push(value);
            string(line)
        })
        .collect();
    env.push(CString::new(format!("{MARK}=1")));
    env.extend(
        extra
            .iter()
            .map(|(name, value)| CString::new(format!("{name}={value}"))),
    );
    let (Ok(argv), Ok(env)) = (argv, env.into_iter().collect::<Result<Vec<_>, _>>()) else {
        return io::ErrorKind::InvalidInput.into();
    };
    match execveat(binary, c"", &argv, &env, nix::fcntl::AtFlags::AT_EMPTY_PATH) {
        Err(e) => e.into(),
        Ok(never) => match never {},
    }
}
