//! Teardown: nothing stays, and nothing else goes.

use crate::lab::{on_a_machine, pod};
use nix::mount::{MsFlags, mount};
use pod_model::PodUid;
use pod_volumes::PodVolumes;
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

fn bind(source: &Path, target: &Path) {
    fs::create_dir_all(target).unwrap();
    mount(
        Some(source),
        target,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )
    .unwrap();
}

#[test]
fn a_pod_that_goes_leaves_no_directory_and_no_mount() {
    on_a_machine(|lab| {
        let pod = pod(
            "a",
            json!([{"name": "disk", "emptyDir": {}}, {"name": "mem", "emptyDir": {"medium": "Memory"}}]),
        );
        lab.volumes.prepare(&pod).unwrap();
        fs::create_dir_all(lab.volume(&pod, "disk").join("a/b/c")).unwrap();
        fs::write(lab.volume(&pod, "mem").join("file"), "x").unwrap();
        lab.volumes.tear_down(pod.uid()).unwrap();
        assert!(!lab.volume(&pod, "").exists());
        lab.until_the_trash_is_empty();
        let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        assert!(!mounts.contains(lab.root.to_str().unwrap()));
        lab.volumes.tear_down(pod.uid()).unwrap();
    });
}

#[test]
fn what_is_mounted_in_a_volume_survives_its_teardown() {
    on_a_machine(|lab| {
        let sentinel = lab.host.join("sentinel");
        fs::write(&sentinel, "precious").unwrap();
        for round in 0..200 {
            let pod = pod(
                &format!("p{round}"),
                json!([{"name": "disk", "emptyDir": {}}, {"name": "mem", "emptyDir": {"medium": "Memory"}}]),
            );
            lab.volumes.prepare(&pod).unwrap();
            for name in ["disk", "mem"] {
                let volume = lab.volume(&pod, name);
                // as a container does with Bidirectional propagation, one on the other, with odd names
                bind(&lab.host, &volume.join("a b\\040/deep"));
                bind(&lab.host, &volume.join("a b\\040/deep"));
                bind(&lab.host, &volume.join("a b\\040"));
            }
            lab.volumes.tear_down(pod.uid()).unwrap();
            assert_eq!(
                fs::read_to_string(&sentinel).unwrap(),
                "precious",
                "round {round}"
            );
        }
        lab.until_the_trash_is_empty();
        assert_eq!(fs::read_to_string(&sentinel).unwrap(), "precious");
    });
}

#[test]
fn links_in_a_volume_are_deleted_and_not_followed() {
    on_a_machine(|lab| {
        fs::write(lab.host.join("sentinel"), "precious").unwrap();
        let pod = pod("a", json!([{"name": "v", "emptyDir": {}}]));
        lab.volumes.prepare(&pod).unwrap();
        symlink(&lab.host, lab.volume(&pod, "v").join("link")).unwrap();
        lab.volumes.tear_down(pod.uid()).unwrap();
        lab.until_the_trash_is_empty();
        assert!(lab.host.join("sentinel").exists());
    });
}

#[test]
fn a_tree_deeper_than_any_path_is_deleted() {
    on_a_machine(|lab| {
        let pod = pod("a", json!([{"name": "v", "emptyDir": {}}]));
        lab.volumes.prepare(&pod).unwrap();
        // 3,000 levels of 200 bytes: a path of 600 kB, made from within
        let name = "d".repeat(200);
        let mut at = rustix::fs::open(
            lab.volume(&pod, "v"),
            rustix::fs::OFlags::PATH,
            rustix::fs::Mode::empty(),
        )
        .unwrap();
        for _ in 0..3_000 {
            rustix::fs::mkdirat(&at, name.as_str(), rustix::fs::Mode::RWXU).unwrap();
            at = rustix::fs::openat(
                &at,
                name.as_str(),
                rustix::fs::OFlags::PATH,
                rustix::fs::Mode::empty(),
            )
            .unwrap();
        }
        drop(at);
        assert!(lab.volumes.usage(pod.uid()).unwrap()[0].is_partial);
        lab.volumes.tear_down(pod.uid()).unwrap();
        lab.until_the_trash_is_empty();
    });
}

#[test]
fn a_sweep_removes_what_has_no_owner_and_finishes_what_was_begun() {
    on_a_machine(|lab| {
        let volumes =
            json!([{"name": "v", "emptyDir": {}}, {"name": "m", "emptyDir": {"medium": "Memory"}}]);
        let (kept, gone) = (pod("kept", volumes.clone()), pod("gone", volumes));
        lab.volumes.prepare(&kept).unwrap();
        lab.volumes.prepare(&gone).unwrap();
        fs::create_dir_all(lab.root.join("pods/record-only")).unwrap();
        // an agent that was killed while it deleted
        fs::create_dir_all(lab.root.join("trash/earlier.1/v/x")).unwrap();
        let next = PodVolumes::new(&lab.root);
        let (swept, errors) = next.sweep(&[kept.uid().clone()].into());
        assert_eq!(swept, [PodUid::new("gone").unwrap()]);
        assert!(errors.is_empty());
        assert!(lab.volume(&kept, "v").is_dir() && !lab.volume(&gone, "v").exists());
        assert!(lab.root.join("pods/record-only").is_dir());
        lab.until_the_trash_is_empty();
    });
}
