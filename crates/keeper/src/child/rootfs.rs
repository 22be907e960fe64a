//! The root file system: an overlay that exists in the child's mount namespace alone.

use super::{Step, failed};
use crate::protocol::Stage;
use launch_plan::description::Rootfs;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, move_mount,
    unmount,
};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Mounts the layers at `place`, any directory of the host's, and returns the mount's root. Always with an upper directory, also for a
/// read-only root file system: targets of mounts are made there before it is set read-only.
pub(super) fn assemble(rootfs: &Rootfs, place: &Path) -> Step<OwnedFd> {
    let mounted = match by_parameters(rootfs) {
        Ok(overlay) => attach(overlay.as_fd(), place),
        // before Linux 6.5 an overlay's layers are one string of at most a page, in mount(2)
        Err(Errno::INVAL) => by_one_string(rootfs, place),
        Err(e) => Err(e.into()),
    };
    mounted.map_err(failed(Stage::Rootfs, || {
        format!(
            "cannot mount the overlay of {} layers with {}",
            rootfs.layers.len(),
            rootfs.writable.display()
        )
    }))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(place, flags, Mode::empty()).map_err(failed(Stage::Rootfs, || {
        "cannot open the root file system".into()
    }))
}

fn attach(overlay: BorrowedFd<'_>, place: &Path) -> io::Result<()> {
    Ok(move_mount(
        overlay,
        c"",
        CWD,
        place,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )?)
}

/// One parameter per layer: `lowerdir+`, no limit but the kernel's 500 layers.
fn by_parameters(rootfs: &Rootfs) -> Result<OwnedFd, Errno> {
    let context = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for layer in &rootfs.layers {
        fsconfig_set_string(&context, c"lowerdir+", layer.as_path())?;
    }
    fsconfig_set_string(&context, c"upperdir", rootfs.writable.join("upper"))?;
    fsconfig_set_string(&context, c"workdir", rootfs.writable.join("work"))?;
    fsconfig_set_string(&context, c"index", c"off")?;
    fsconfig_set_flag(&context, c"volatile")?;
    fsconfig_create(&context)?;
    fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )
}

/// All layers in one string. So that a hundred of them fit a page, each gets a short name: a link in a tmpfs that only this process sees
/// and that is the working directory of the call.
fn by_one_string(rootfs: &Rootfs, place: &Path) -> io::Result<()> {
    let names = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&names)?;
    let names = fsmount(
        &names,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )?;
    let mut options = b"lowerdir=".to_vec();
    for (number, layer) in rootfs.layers.iter().enumerate() {
        let name = format!("{number:x}");
        rustix::fs::symlinkat(layer, &names, &name)?;
        if number > 0 {
            options.push(b':');
        }
        options.extend(name.as_bytes());
    }
    for (option, directory) in [("upperdir", "upper"), ("workdir", "work")] {
        // a comma or a colon in the path cannot be misread this way either
        rustix::fs::symlinkat(rootfs.writable.join(directory), &names, directory)?;
        options.extend(format!(",{option}={directory}").as_bytes());
    }
    options.extend(b",index=off,volatile");
    let options = CString::new(options)?;
    rustix::process::fchdir(&names)?;
    let mounted = mount(
        c"overlay",
        place,
        c"overlay",
        MountFlags::empty(),
        Some(options.as_c_str()),
    );
    rustix::process::chdir(c"/")?;
    Ok(mounted?)
}

/// Makes `root`, where everything is mounted now, the root of the mount namespace; the host's tree is gone after this.
pub(super) fn pivot(root: BorrowedFd<'_>) -> Step<()> {
    let turned = || -> Result<(), Errno> {
        rustix::process::fchdir(root)?;
        rustix::process::pivot_root(c".", c".")?;
        unmount(c".", UnmountFlags::DETACH)?;
        rustix::process::chdir(c"/")
    };
    turned().map_err(failed(Stage::Pivot, || {
        "cannot make it the root file system".into()
    }))
}

/// `false` when a path has a byte that a kernel string cannot hold.
pub(super) fn is_sound(path: &Path) -> bool {
    !path.as_os_str().as_bytes().contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    type Done = Result<(), Box<dyn std::error::Error + Send + Sync>>;

    /// Both ways to mount an overlay, in a mount namespace of a thread's own: which one is taken depends on the kernel.
    fn mounted(how: fn(&Rootfs, &Path) -> io::Result<()>) -> Done {
        if !rustix::process::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "needs root");
            return Ok(());
        }
        let in_thread = move || -> Done {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?;
            let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
            let private = Some(linux_sys::mount_attr::MountPropagation::Private);
            linux_sys::mount_attr::set_mount_attributes(
                root.as_fd(),
                Default::default(),
                private,
                true,
            )?;
            let directory = tempfile::Builder::new().prefix("a,b:c").tempdir()?;
            let at = |name: &str| directory.path().join(name);
            let mut layers = Vec::new();
            for n in 0..100 {
                let layer = at(&format!("{n:064x}"));
                fs::create_dir(&layer)?;
                fs::write(layer.join(format!("file{n}")), "")?;
                fs::write(layer.join("who"), n.to_string())?;
                layers.insert(0, layer);
            }
            for name in ["w", "w/upper", "w/work", "place"] {
                fs::create_dir(at(name))?;
            }
            how(
                &Rootfs {
                    layers,
                    writable: at("w"),
                    readonly: false,
                },
                &at("place"),
            )?;
            assert_eq!(
                fs::read_to_string(at("place/who"))?,
                "99",
                "the first layer is the uppermost"
            );
            assert_eq!(fs::read_dir(at("place"))?.count(), 101);
            fs::write(at("place/new"), "x")?;
            assert!(at("w/upper/new").exists());
            unmount(at("place"), UnmountFlags::DETACH)?;
            Ok(())
        };
        match std::thread::spawn(in_thread).join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    #[test]
    fn a_hundred_layers_fit_one_string() -> Done {
        mounted(by_one_string)
    }

    #[test]
    fn a_hundred_layers_are_as_many_parameters() -> Done {
        mounted(|rootfs, place| match by_parameters(rootfs) {
            // before Linux 6.5
            Err(Errno::INVAL) => by_one_string(rootfs, place),
            other => attach(other?.as_fd(), place),
        })
    }
}
