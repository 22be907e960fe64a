//! Paths that the program may not see, or not change. One that is not there is skipped.

use super::resolve;
use super::{Step, failed};
use crate::protocol::Stage;
use launch_plan::description::LaunchDescription;
use linux_sys::mount_attr::{MountFlags, MountPropagation, set_mount_attributes};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Hides `masked_paths` and binds `readonly_paths` over themselves.
pub(super) fn apply(root: BorrowedFd<'_>, description: &LaunchDescription) -> Step<()> {
    let mut empty = None;
    let mut null = None;
    for path in &description.masked_paths {
        let doing = || format!("cannot mask {path}");
        let Some(place) = present(root, path).map_err(failed(Stage::Masks, doing))? else {
            continue;
        };
        mask(root, place.as_fd(), &mut empty, &mut null).map_err(failed(Stage::Masks, doing))?;
    }
    for path in &description.readonly_paths {
        let doing = || format!("cannot make {path} read-only");
        let Some(place) = present(root, path).map_err(failed(Stage::Masks, doing))? else {
            continue;
        };
        readonly(place.as_fd()).map_err(failed(Stage::Masks, doing))?;
    }
    Ok(())
}

fn present(root: BorrowedFd<'_>, path: &str) -> Result<Option<OwnedFd>, Errno> {
    match resolve::existing(root, path, OFlags::PATH) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(e) => Err(e),
    }
}

/// All directories are hidden under copies of one empty read-only tmpfs; all files under the container's own `/dev/null`.
fn mask(
    root: BorrowedFd<'_>,
    place: BorrowedFd<'_>,
    empty: &mut Option<OwnedFd>,
    null: &mut Option<OwnedFd>,
) -> Result<(), Errno> {
    if resolve::kind_of(place)? != FileType::Directory {
        if null.is_none() {
            *null = Some(super::devices::null(root)?);
        }
        let null = null.as_ref().ok_or(Errno::NODEV)?;
        return super::mounts::attach(super::mounts::copy(null.as_fd(), false)?.as_fd(), place);
    }
    match empty {
        Some(first) => {
            super::mounts::attach(super::mounts::copy(first.as_fd(), false)?.as_fd(), place)
        }
        None => {
            let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
                | MountAttrFlags::MOUNT_ATTR_NOSUID
                | MountAttrFlags::MOUNT_ATTR_NODEV
                | MountAttrFlags::MOUNT_ATTR_NOEXEC;
            let tmpfs = super::mounts::new(
                c"tmpfs",
                &[("nr_blocks", "1"), ("nr_inodes", "1")],
                attributes,
            )?;
            super::mounts::attach(tmpfs.as_fd(), place)?;
            *empty = Some(tmpfs);
            Ok(())
        }
    }
}

fn readonly(place: BorrowedFd<'_>) -> io::Result<()> {
    let tree = super::mounts::copy(place, true)?;
    let flags = MountFlags {
        readonly: true,
        nosuid: true,
        nodev: true,
        noexec: true,
    };
    set_mount_attributes(tree.as_fd(), flags, Some(MountPropagation::Private), true)?;
    Ok(super::mounts::attach(tree.as_fd(), place)?)
}
