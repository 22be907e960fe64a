//! A thread in a mount namespace of its own, with a root directory that goes with it.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use pod_model::{AdmittedPod, QosClass};
use pod_volumes::PodVolumes;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub(crate) struct Lab {
    pub(crate) root: PathBuf,
    pub(crate) volumes: PodVolumes,
    /// A directory of the "machine", for hostPaths.
    pub(crate) host: PathBuf,
}

pub(crate) fn on_a_machine(test: impl FnOnce(Lab) + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "this test needs root"
        );
        said_skipped();
        return;
    }
    let result = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(
            None::<&str>,
            "/",
            None::<&str>,
            MsFlags::MS_PRIVATE | MsFlags::MS_REC,
            None::<&str>,
        )
        .unwrap();
        let dir = tempfile::tempdir().unwrap();
        // a file system that supports everything and disappears with its last user
        mount(
            Some("tmpfs"),
            dir.path(),
            Some("tmpfs"),
            MsFlags::empty(),
            None::<&str>,
        )
        .unwrap();
        let (root, host) = (dir.path().join("root"), dir.path().join("host"));
        std::fs::create_dir(&root).unwrap();
        std::fs::create_dir(&host).unwrap();
        let volumes = PodVolumes::new(&root);
        let lab = Lab {
            root,
            volumes,
            host,
        };
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(lab)));
        umount2(dir.path(), MntFlags::MNT_DETACH).unwrap();
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    })
    .join();
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

impl Lab {
    pub(crate) fn volume(&self, pod: &AdmittedPod, name: &str) -> PathBuf {
        self.root
            .join("pods")
            .join(pod.uid().as_str())
            .join("volumes")
            .join(name)
    }
    pub(crate) fn until_the_trash_is_empty(&self) {
        let trash = self.root.join("trash");
        until("the trash is empty", || {
            std::fs::read_dir(&trash).is_ok_and(|mut entries| entries.next().is_none())
        });
    }
}

/// A pod with these volumes.
pub(crate) fn pod(uid: &str, volumes: serde_json::Value) -> AdmittedPod {
    pod_with(
        uid,
        serde_json::json!({"containers": [], "volumes": volumes}),
    )
}

pub(crate) fn pod_with(uid: &str, spec: serde_json::Value) -> AdmittedPod {
    let pod = serde_json::json!({"metadata": {"name": uid, "namespace": "default", "uid": uid}, "spec": spec});
    AdmittedPod::from_validated(serde_json::from_value(pod).unwrap(), QosClass::BestEffort).unwrap()
}

/// Attaches a mount source, as a container would, and says where.
pub(crate) fn attach(source: &OwnedFd, at: &Path) -> PathBuf {
    if source_is_directory(source) {
        std::fs::create_dir_all(at).unwrap();
    } else {
        File::create(at).unwrap();
    }
    rustix::mount::move_mount(
        source,
        "",
        rustix::fs::CWD,
        at,
        rustix::mount::MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
    .unwrap();
    at.to_owned()
}

fn source_is_directory(source: &OwnedFd) -> bool {
    std::fs::metadata(format!("/proc/self/fd/{}", source.as_raw_fd()))
        .unwrap()
        .is_dir()
}

pub(crate) fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_true() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
fn said_skipped() {
    eprintln!("skipped: needs root");
}
