//! Making an emptyDir. The one under its name is whole; a half-made one has a hidden name and is made again.

use crate::error::VolumeError;
use crate::mounts;
use rustix::fs::{CWD, Gid, Mode, Uid};
use rustix::mount::{MountFlags, mount};
use std::ffi::CString;
use std::fs;
use std::io;
use std::path::Path;

/// Everybody may write; with an `fsGroup` new files belong to it.
fn mode(fs_group: Option<u32>) -> Mode {
    Mode::from_raw_mode(if fs_group.is_some() { 0o2777 } else { 0o777 })
}

/// A directory `<volumes>/<name>`.
pub(crate) fn on_disk(
    volumes: &Path,
    name: &str,
    fs_group: Option<u32>,
) -> Result<(), VolumeError> {
    let path = volumes.join(name);
    if path.symlink_metadata().is_ok_and(|m| m.is_dir()) {
        return Ok(());
    }
    // no volume's name begins with a dot
    let hidden = volumes.join(format!(".{name}"));
    let make = || -> io::Result<()> {
        match fs::remove_dir(&hidden) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => fs::create_dir(&hidden)?,
        }
        own(&hidden, fs_group)?;
        fs::rename(&hidden, &path)
    };
    make().map_err(|source| VolumeError::EmptyDir {
        what: "make",
        volume: name.to_owned(),
        source,
    })
}

/// A tmpfs at `<volumes>/<name>`; a new one if the machine was started again.
pub(crate) fn in_memory(
    volumes: &Path,
    name: &str,
    size_bytes: u64,
    fs_group: Option<u32>,
) -> Result<(), VolumeError> {
    let path = volumes.join(name);
    let fail = |what| {
        move |source: io::Error| VolumeError::EmptyDir {
            what,
            volume: name.to_owned(),
            source,
        }
    };
    match fs::create_dir(&path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(fail("make")(e)),
        _ => {}
    }
    if mounts::is_mount_point(&path).map_err(fail("examine"))? {
        return Ok(());
    }
    // mode and group are options of the mount, so there is no moment at which it has others
    let mut options = format!("mode={:o},size={size_bytes}", mode(fs_group).as_raw_mode());
    if let Some(group) = fs_group {
        options.push_str(&format!(",gid={group}"));
    }
    let options = CString::new(options).unwrap_or_default();
    mount("tmpfs", &path, "tmpfs", MountFlags::empty(), &*options)
        .map_err(io::Error::from)
        .map_err(fail("mount the tmpfs of"))
}

fn own(path: &Path, fs_group: Option<u32>) -> io::Result<()> {
    if let Some(group) = fs_group {
        rustix::fs::chownat(
            CWD,
            path,
            None::<Uid>,
            Some(Gid::from_raw(group)),
            rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
        )?;
    }
    // after the change of group, which takes the setgid bit away; and whatever the umask says
    Ok(rustix::fs::chmod(path, mode(fs_group))?)
}
