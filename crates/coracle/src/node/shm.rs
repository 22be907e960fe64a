//! A pod's `/dev/shm`: one tmpfs for all its containers, mounted under the pod's volumes, which are torn down with everything in them.

use rustix::mount::{MountFlags, mount};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// As containerd: 64 MiB, for everybody.
const OPTIONS: &std::ffi::CStr = c"mode=1777,size=65536k";

/// The mounted directory, made if this is the pod's first container.
pub(crate) fn ensure(root: &Path, pod: &pod_model::PodUid) -> io::Result<PathBuf> {
    let volumes = root.join("pods").join(pod.as_str()).join("volumes");
    // no volume's name begins with a dot
    let shm = volumes.join(".shm");
    fs::create_dir_all(&shm)?;
    let is_mounted = fs::metadata(&shm)?.dev() != fs::metadata(&volumes)?.dev();
    if !is_mounted {
        mount(
            c"shm",
            &shm,
            c"tmpfs",
            MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
            OPTIONS,
        )?;
    }
    Ok(shm)
}

pub(crate) fn open(root: &Path, pod: &pod_model::PodUid) -> io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    Ok(rustix::fs::open(
        ensure(root, pod)?,
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}
