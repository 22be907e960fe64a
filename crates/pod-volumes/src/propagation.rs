//! Whether mounts that are made later can reach a container, or come from it, through what its volume lies on.
//!
//! The kernel would take a volume on a private mount without a word, and nothing would ever arrive. Refused in containerd's words.

use crate::error::VolumeError;
use crate::mounts::unescape;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// What a `mountPropagation` other than `None` needs of the mount that the volume lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// `HostToContainer`: shared or slave.
    Receives,
    /// `Bidirectional`: shared.
    Shares,
}

/// One line of `mountinfo`, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    point: PathBuf,
    is_shared: bool,
    is_slave: bool,
}

/// `place` is what `path` names.
pub(crate) fn check(
    place: BorrowedFd<'_>,
    path: &Path,
    wanted: Propagation,
) -> Result<(), VolumeError> {
    let mount = mount_of(place).map_err(|e| VolumeError::files("examine the mount of", path, e))?;
    let has_it = match wanted {
        Propagation::Receives => mount.is_shared || mount.is_slave,
        Propagation::Shares => mount.is_shared,
    };
    if has_it {
        return Ok(());
    }
    Err(VolumeError::NotPropagated {
        path: path.to_owned(),
        mount_point: mount.point,
        wanted: match wanted {
            Propagation::Receives => "shared or slave",
            Propagation::Shares => "shared",
        },
    })
}

fn mount_of(place: BorrowedFd<'_>) -> io::Result<Mount> {
    // of the thread: a test may have a mount namespace of its own
    let info = fs::read_to_string(format!("/proc/thread-self/fdinfo/{}", place.as_raw_fd()))?;
    let id = info
        .lines()
        .find_map(|line| line.strip_prefix("mnt_id:"))
        .map(str::trim)
        .ok_or_else(|| io::Error::other("the kernel does not name its mount"))?;
    let table = fs::read("/proc/thread-self/mountinfo")?;
    table
        .split(|b| *b == b'\n')
        .find_map(|line| parse(line, id.as_bytes()))
        .ok_or_else(|| io::Error::other("its mount is not in the mount table"))
}

/// proc_pid_mountinfo(5): id, parent, device, root, point, options, then optional fields up to a dash.
fn parse(line: &[u8], id: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|b| *b == b' ');
    if fields.next()? != id {
        return None;
    }
    let point = fields.nth(3)?;
    let optional = fields.skip(1).take_while(|field| *field != b"-");
    let mut mount = Mount {
        point: PathBuf::from(OsString::from_vec(unescape(point))),
        is_shared: false,
        is_slave: false,
    };
    for field in optional {
        mount.is_shared |= field.starts_with(b"shared:");
        mount.is_slave |= field.starts_with(b"master:");
    }
    Some(mount)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn optional_fields_end_at_the_dash() {
        let of = |line: &str| parse(line.as_bytes(), b"36");
        let mount = |point: &str, is_shared, is_slave| {
            Some(Mount {
                point: point.into(),
                is_shared,
                is_slave,
            })
        };
        assert_eq!(
            of(r"36 35 98:0 / /mnt\040a rw,noatime master:1 shared:7 - ext3 /dev/root rw"),
            mount("/mnt a", true, true)
        );
        assert_eq!(
            of("36 35 98:0 / /a rw - ext3 shared:1 rw"),
            mount("/a", false, false)
        );
        assert_eq!(of("136 35 98:0 / /a rw shared:1 - ext3 none rw"), None);
        assert_eq!(of(""), None);
    }
}
