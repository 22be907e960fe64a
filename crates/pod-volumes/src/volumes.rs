//! The volumes of this node's pods.

use crate::empty_dir;
use crate::error::VolumeError;
use crate::host_path;
use crate::kinds::{Kind, kind};
use crate::mounts;
use crate::propagation::{self, Propagation};
use crate::removal::Trash;
use crate::sub_path;
use crate::usage::{VolumeUsage, measure};
use k8s_openapi::api::core::v1::Volume;
use pod_model::{AdmittedPod, PodUid};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::mount::{OpenTreeFlags, open_tree};
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const PLACE: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct PodVolumes {
    pods: PathBuf,
    trash: Trash,
    /// In bytes: no emptyDir in memory is larger.
    node_memory: u64,
}

/// Every volume of the pod is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prepared {
    /// How long each volume took, in order.
    pub spans: Vec<(String, Duration)>,
}

impl PodVolumes {
    /// `root` is the node's durable directory. Touches nothing.
    pub fn new(root: &Path) -> Self {
        // without an answer nothing is bounded by it
        let node_memory = nix::sys::sysinfo::sysinfo().map_or(u64::MAX, |info| info.ram_total());
        Self {
            pods: root.join("pods"),
            trash: Trash::new(root.join("trash")),
            node_memory,
        }
    }

    /// Makes or checks every volume of the pod. Idempotent: what is there stays as it is, with its content.
    ///
    /// # Errors
    /// The first volume that cannot be had; those before it stay, for the next try or for [`Self::tear_down`].
    pub fn prepare(&self, pod: &AdmittedPod) -> Result<Prepared, VolumeError> {
        let mut prepared = Prepared::default();
        for volume in pod.spec().volumes.iter().flatten() {
            let started = Instant::now();
            self.prepare_one(pod, volume)?;
            prepared
                .spans
                .push((format!("volume {}", volume.name), started.elapsed()));
        }
        Ok(prepared)
    }

    fn prepare_one(&self, pod: &AdmittedPod, volume: &Volume) -> Result<(), VolumeError> {
        let name = &volume.name;
        let kind = kind(pod, volume, self.node_memory)?;
        if let Kind::HostPath { path, check } = &kind {
            return host_path::prepare(path, *check);
        }
        let volumes = self.volumes(pod.uid());
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&volumes)
            .map_err(|e| VolumeError::files("create", &volumes, e))?;
        let fs_group = fs_group(pod);
        match kind {
            Kind::Disk => empty_dir::on_disk(&volumes, name, fs_group),
            Kind::Memory { size_bytes } => {
                empty_dir::in_memory(&volumes, name, size_bytes, fs_group)
            }
            Kind::HostPath { .. } => Ok(()),
        }
    }

    /// What a `volumeMount` mounts: a detached, recursive clone of the volume, or of a place in it. It can be attached in any mount
    /// namespace, and it is gone with its descriptor if it never is. A `sub_path` that is missing is made.
    ///
    /// Needs [`Self::prepare`] before.
    pub fn mount_source(
        &self,
        pod: &AdmittedPod,
        volume: &str,
        sub_path: Option<&str>,
    ) -> Result<OwnedFd, VolumeError> {
        let (place, path) = self.place(pod, volume, sub_path)?;
        let clone = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH
            | OpenTreeFlags::AT_RECURSIVE;
        open_tree(&place, "", clone).map_err(|e| VolumeError::files("clone the mount of", path, e))
    }

    /// Refuses a volume that lies on a mount through which no mounts pass as `wanted`.
    pub fn check_propagation(
        &self,
        pod: &AdmittedPod,
        volume: &str,
        sub_path: Option<&str>,
        wanted: Propagation,
    ) -> Result<(), VolumeError> {
        let (place, path) = self.place(pod, volume, sub_path)?;
        propagation::check(place.as_fd(), &path, wanted)
    }

    /// What a `volumeMount` means, and how it is called.
    fn place(
        &self,
        pod: &AdmittedPod,
        volume: &str,
        sub_path: Option<&str>,
    ) -> Result<(OwnedFd, PathBuf), VolumeError> {
        let no_such = || VolumeError::NoSuchVolume {
            pod: pod.uid().clone(),
            volume: volume.to_owned(),
        };
        let wanted = pod
            .spec()
            .volumes
            .iter()
            .flatten()
            .find(|v| v.name == volume)
            .ok_or_else(no_such)?;
        let (place, path) = match kind(pod, wanted, self.node_memory)? {
            Kind::HostPath { path, .. } => {
                let place = rustix::fs::open(&path, PLACE, Mode::empty()).map_err(|e| {
                    VolumeError::HostPath {
                        what: "open",
                        path: path.clone(),
                        source: e.into(),
                    }
                })?;
                (place, path)
            }
            Kind::Disk | Kind::Memory { .. } => (
                self.open_empty_dir(pod.uid(), volume)?,
                self.volumes(pod.uid()).join(volume),
            ),
        };
        match sub_path {
            None | Some("") => Ok((place, path)),
            Some(sub_path) => {
                let below = sub_path::open(place.as_fd(), volume, sub_path)?;
                Ok((below, path.join(sub_path)))
            }
        }
    }

    /// How much each emptyDir of the pod holds. Reads every directory of those on disk: not for a hot path.
    pub fn usage(&self, pod: &PodUid) -> Result<Vec<VolumeUsage>, VolumeError> {
        let mut all = Vec::new();
        for name in self.names(pod)? {
            let path = self.volumes(pod).join(&name);
            let fail = |source| VolumeError::EmptyDir {
                what: "measure",
                volume: name.clone(),
                source,
            };
            let in_memory = mounts::is_mount_point(&path).map_err(fail)?;
            let place = self.open_empty_dir(pod, &name)?;
            all.push(measure(&name, place.as_fd(), in_memory).map_err(fail)?);
        }
        Ok(all)
    }

    /// Detaches what is mounted for the pod and deletes its emptyDirs. hostPaths stay as they are. No process of the pod may live.
    ///
    /// # Errors
    /// What could not be detached; then nothing is deleted, and the call can be repeated.
    pub fn tear_down(&self, pod: &PodUid) -> Result<(), VolumeError> {
        let volumes = self.volumes(pod);
        match fs::symlink_metadata(&volumes) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(VolumeError::files("examine", volumes, e)),
            Ok(_) => {}
        }
        mounts::detach_beneath(&volumes)?;
        self.trash.take(&volumes, pod.as_str())
    }

    /// Goes on deleting, in the background, what lies in `<root>/trash`; others put trees there too.
    pub fn empty_trash(&self) {
        self.trash.empty();
    }

    /// Tears down what belongs to no pod of `live`, and goes on deleting what an earlier agent had not finished. Goes on after an error;
    /// the pods that were torn down, and what failed.
    pub fn sweep(&self, live: &BTreeSet<PodUid>) -> (Vec<PodUid>, Vec<VolumeError>) {
        self.trash.empty();
        let (mut gone, mut errors) = (Vec::new(), Vec::new());
        let entries = match fs::read_dir(&self.pods) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return (gone, errors),
            Err(e) => return (gone, vec![VolumeError::files("read", &self.pods, e)]),
        };
        let orphans = entries
            .flatten()
            .filter_map(|entry| PodUid::new(entry.file_name().to_str()?).ok())
            .filter(|pod| !live.contains(pod) && self.volumes(pod).exists());
        for pod in orphans {
            match self.tear_down(&pod) {
                Ok(()) => gone.push(pod),
                Err(error) => errors.push(error),
            }
        }
        (gone, errors)
    }

    fn volumes(&self, pod: &PodUid) -> PathBuf {
        self.pods.join(pod.as_str()).join("volumes")
    }

    fn names(&self, pod: &PodUid) -> Result<Vec<String>, VolumeError> {
        let volumes = self.volumes(pod);
        match fs::read_dir(&volumes) {
            Ok(entries) => Ok(entries
                .flatten()
                .filter_map(|entry| entry.file_name().into_string().ok())
                .filter(|name| !name.starts_with('.'))
                .collect()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(VolumeError::files("read", volumes, e)),
        }
    }

    fn open_empty_dir(&self, pod: &PodUid, name: &str) -> Result<OwnedFd, VolumeError> {
        let fail = |error: rustix::io::Errno| VolumeError::EmptyDir {
            what: "open",
            volume: name.to_owned(),
            source: error.into(),
        };
        let volumes = rustix::fs::open(self.volumes(pod), PLACE | OFlags::DIRECTORY, Mode::empty())
            .map_err(fail)?;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        openat2(
            &volumes,
            name,
            PLACE | OFlags::DIRECTORY,
            Mode::empty(),
            resolve,
        )
        .map_err(fail)
    }
}

fn fs_group(pod: &AdmittedPod) -> Option<u32> {
    let group = pod.spec().security_context.as_ref()?.fs_group?;
    u32::try_from(group).ok()
}
