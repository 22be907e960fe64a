//! One mount after the other, each made detached and attached by descriptor.

use super::resolve::{self, Links, Make};
use super::{Ground, Step, failed, refused};
use crate::protocol::{FailureKind, Stage};
use launch_plan::description::{
    CgroupPlacement, FdIndex, LaunchDescription, Mount, MountKind, Propagation,
};
use linux_sys::mount_attr::{MountFlags, MountPropagation, set_mount_attributes};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};
use rustix::thread::LinkNameSpaceType;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// `PROC_SUPER_MAGIC` of `linux/magic.h`.
const PROCFS: i64 = 0x9fa0;

/// Copies of the mounts that the description binds, by the mount's place in the list.
pub(super) type Sources = BTreeMap<usize, OwnedFd>;

/// Makes a detached copy of the tree that each bind mount names.
///
/// The agent's descriptors belong to the host's mount namespace, where alone the kernel lets them be copied. So this process goes there
/// for a moment. What cannot be copied there is a detached mount already (a kernel before 6.15) and is used as it is.
pub(super) fn copy_sources(
    ground: &Ground,
    description: &LaunchDescription,
    fds: &[OwnedFd],
) -> Step<Sources> {
    let mut sources = Sources::new();
    let binds: Vec<(usize, FdIndex, bool)> = description
        .mounts
        .iter()
        .enumerate()
        .filter_map(|(number, mount)| match mount.what {
            MountKind::Bind {
                source, recursive, ..
            } => Some((number, source, recursive)),
            _ => None,
        })
        .collect();
    if binds.is_empty() {
        return Ok(sources);
    }
    let enter = |namespace: BorrowedFd<'_>| {
        rustix::thread::move_into_link_name_space(namespace, Some(LinkNameSpaceType::Mount))
            .map_err(failed(Stage::Mounts, || {
                "cannot change the mount namespace".into()
            }))
    };
    let own = rustix::fs::openat(
        &ground.procfs,
        c"self/ns/mnt",
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(failed(Stage::Mounts, || {
        "cannot open the mount namespace".into()
    }))?;
    enter(ground.host_mounts.as_fd())?;
    for (number, source, recursive) in binds {
        let fd = super::descriptor(fds, source)?;
        let copied = match copy(fd, recursive) {
            Err(Errno::INVAL) => rustix::io::fcntl_dupfd_cloexec(fd, 3),
            other => other,
        };
        let target = &description.mounts[number].target;
        let copied = copied.map_err(failed(Stage::Mounts, || {
            format!("cannot copy the source of the mount on {target}")
        }))?;
        sources.insert(number, copied);
    }
    enter(own.as_fd())?;
    Ok(sources)
}

/// A detached copy of the mount that `fd` is on, from `fd` down.
pub(super) fn copy(fd: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(fd, c"", flags)
}

pub(super) fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, c"", target, c"", flags)
}

/// Mounts everything below `root`, in order.
pub(super) fn mount_all(
    root: BorrowedFd<'_>,
    description: &LaunchDescription,
    mut sources: Sources,
) -> Step<()> {
    for (number, mount) in description.mounts.iter().enumerate() {
        let doing = || format!("cannot mount {} on {}", name(&mount.what), mount.target);
        match &mount.what {
            MountKind::Bind {
                readonly,
                recursive_readonly,
                propagation,
                ..
            } => {
                let source = sources.remove(&number);
                let source =
                    source.ok_or_else(|| refused(Stage::Mounts, FailureKind::Config, doing()))?;
                let flags = BindFlags {
                    readonly: *readonly,
                    recursive_readonly: *recursive_readonly,
                    propagation: *propagation,
                };
                bind(root, mount, source.as_fd(), flags)?;
            }
            MountKind::Cgroup { readonly } => {
                cgroup(root, mount, *readonly, &description.cgroup)
                    .map_err(failed(Stage::Mounts, doing))?;
            }
            own => own_mount(root, &mount.target, own).map_err(failed(Stage::Mounts, doing))?,
        }
    }
    Ok(())
}

fn name(kind: &MountKind) -> &'static str {
    match kind {
        MountKind::Bind { .. } => "a volume or file",
        MountKind::Proc => "proc",
        MountKind::Sysfs { .. } => "sysfs",
        MountKind::Cgroup { .. } => "cgroup",
        MountKind::Mqueue => "mqueue",
        MountKind::Devpts => "devpts",
        MountKind::Tmpfs { .. } => "tmpfs",
    }
}

struct BindFlags {
    readonly: bool,
    recursive_readonly: bool,
    propagation: Propagation,
}

fn bind(root: BorrowedFd<'_>, mount: &Mount, source: BorrowedFd<'_>, flags: BindFlags) -> Step<()> {
    let target = &mount.target;
    let doing = || format!("cannot mount a volume or file on {target}");
    let is_directory =
        resolve::kind_of(source).map_err(failed(Stage::Mounts, doing))? == FileType::Directory;
    let make = if is_directory {
        Make::Directory
    } else {
        Make::File
    };
    let place =
        resolve::target(root, target, make, Links::Follow).map_err(failed(Stage::Mounts, doing))?;
    if is_procfs(place.as_fd()).map_err(failed(Stage::Mounts, doing))?
        && !is_mountable_in_proc(target)
    {
        let message = format!("{}: it is inside /proc", doing());
        return Err(refused(Stage::Mounts, FailureKind::Create, message));
    }
    let attributes = || -> io::Result<()> {
        let propagation = match flags.propagation {
            Propagation::Private => MountPropagation::Private,
            Propagation::HostToContainer => MountPropagation::Slave,
            Propagation::Bidirectional => MountPropagation::Shared,
        };
        set_mount_attributes(source, MountFlags::default(), Some(propagation), true)?;
        if flags.readonly || flags.recursive_readonly {
            let readonly = MountFlags {
                readonly: true,
                ..MountFlags::default()
            };
            set_mount_attributes(source, readonly, None, flags.recursive_readonly)?;
        }
        Ok(attach(source, place.as_fd())?)
    };
    attributes().map_err(failed(Stage::Mounts, doing))
}

#[allow(clippy::useless_conversion, clippy::unnecessary_cast)] // the width differs between architectures
fn is_procfs(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(rustix::fs::fstatfs(fd)?.f_type as i64 == PROCFS)
}

/// Files of procfs that lxcfs replaces, as runc allows them. Nothing else may hide what the runtime relies on (CVE-2019-19921).
fn is_mountable_in_proc(target: &str) -> bool {
    [
        "/proc/cpuinfo",
        "/proc/diskstats",
        "/proc/meminfo",
        "/proc/stat",
        "/proc/swaps",
        "/proc/uptime",
        "/proc/loadavg",
        "/proc/slabinfo",
        "/proc/sys/kernel/ns_last_pid",
    ]
    .contains(&target)
}

/// A file system of the runtime's own. Its target must be an ordinary directory: a link there would put it somewhere else
/// (CVE-2023-27561, CVE-2025-54867).
fn own_mount(root: BorrowedFd<'_>, target: &str, kind: &MountKind) -> Result<(), Errno> {
    let place = resolve::target(root, target, Make::Directory, Links::Refuse)?;
    let safe = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let detached = match kind {
        MountKind::Proc => new(c"proc", &[], safe)?,
        MountKind::Sysfs { readonly } => {
            let readonly = if *readonly {
                MountAttrFlags::MOUNT_ATTR_RDONLY
            } else {
                MountAttrFlags::empty()
            };
            new(c"sysfs", &[], safe | readonly)?
        }
        MountKind::Mqueue => new(c"mqueue", &[], safe)?,
        MountKind::Devpts => {
            let options = [
                ("newinstance", ""),
                ("ptmxmode", "0666"),
                ("mode", "0620"),
                ("gid", "5"),
            ];
            new(
                c"devpts",
                &options,
                MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC,
            )?
        }
        MountKind::Tmpfs {
            size_bytes,
            mode,
            noexec,
        } => {
            let mode = format!("{mode:o}");
            let size = size_bytes.map(|n| n.to_string());
            let mut options = vec![("mode", mode.as_str())];
            options.extend(size.as_deref().map(|n| ("size", n)));
            let noexec = if *noexec {
                MountAttrFlags::MOUNT_ATTR_NOEXEC
            } else {
                MountAttrFlags::empty()
            };
            new(
                c"tmpfs",
                &options,
                MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_STRICTATIME | noexec,
            )?
        }
        MountKind::Bind { .. } | MountKind::Cgroup { .. } => return Err(Errno::INVAL),
    };
    attach(detached.as_fd(), place.as_fd())
}

/// A new mount, attached nowhere. An option with an empty value is a flag.
pub(super) fn new(
    kind: &std::ffi::CStr,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Errno> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (option, value) in options {
        if value.is_empty() {
            fsconfig_set_flag(&context, *option)?;
        } else {
            fsconfig_set_string(&context, *option, *value)?;
        }
    }
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// The container's own part of the cgroup tree. v2: one mount, which begins at the container's cgroup by its cgroup namespace. v1: a tmpfs
/// with the container's directory of each hierarchy bound into it.
fn cgroup(
    root: BorrowedFd<'_>,
    mount: &Mount,
    readonly: bool,
    placement: &CgroupPlacement,
) -> io::Result<()> {
    let safe = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let flags = MountFlags {
        readonly,
        nosuid: true,
        nodev: true,
        noexec: true,
    };
    let place = resolve::target(root, &mount.target, Make::Directory, Links::Refuse)?;
    let directories = match placement {
        CgroupPlacement::V2 { .. } => {
            let readonly = if readonly {
                MountAttrFlags::MOUNT_ATTR_RDONLY
            } else {
                MountAttrFlags::empty()
            };
            let tree = new(c"cgroup2", &[("nsdelegate", "")], safe | readonly)
                .or_else(|_| new(c"cgroup2", &[], safe | readonly))?;
            return Ok(attach(tree.as_fd(), place.as_fd())?);
        }
        CgroupPlacement::V1 { directories } => directories,
    };
    let tmpfs = new(c"tmpfs", &[("mode", "755"), ("size", "65536")], safe)?;
    attach(tmpfs.as_fd(), place.as_fd())?;
    // the same path below the mount point of each
    let levels = directories
        .first()
        .and_then(|first| levels_below_mount(first));
    for directory in directories {
        let mount = levels.and_then(|levels| directory.ancestors().nth(levels));
        let Some(hierarchy) = mount.and_then(Path::file_name) else {
            continue;
        };
        let name = hierarchy.to_string_lossy();
        rustix::fs::mkdirat(&tmpfs, name.as_ref(), Mode::from_raw_mode(0o755))?;
        for alias in name.split(',').filter(|a| *a != name) {
            rustix::fs::symlinkat(name.as_ref(), &tmpfs, alias)?;
        }
        let tree = open_tree(
            CWD,
            directory,
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
        )?;
        // nobody else has been in this tmpfs: the name is the directory just made
        let by_descriptor = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(&tree, c"", &tmpfs, name.as_ref(), by_descriptor)?;
    }
    let private = Some(MountPropagation::Private);
    set_mount_attributes(tmpfs.as_fd(), flags, private, true)
}

/// How many levels `directory` stands below its mount point, the first directory upwards that is on another device.
fn levels_below_mount(directory: &Path) -> Option<usize> {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| std::fs::metadata(path).map(|m| m.dev()).ok();
    let own = device(directory)?;
    directory
        .ancestors()
        .position(|path| path.parent().is_none_or(|up| device(up) != Some(own)))
}
