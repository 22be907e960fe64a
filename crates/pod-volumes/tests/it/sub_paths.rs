//! `subPath`: made as the kubelet makes it, and never outside the volume.

use crate::lab::{attach, on_a_machine, pod, pod_with};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn a_missing_place_is_made_with_the_volumes_mode_and_group() {
    on_a_machine(|lab| {
        let spec = json!({"containers": [], "securityContext": {"fsGroup": 4711}, "volumes": [{"name": "v", "emptyDir": {}}]});
        let pod = pod_with("a", spec);
        lab.volumes.prepare(&pod).unwrap();
        let source = lab.volumes.mount_source(&pod, "v", Some("x/y")).unwrap();
        fs::write(attach(&source, &lab.host.join("inside")).join("file"), "1").unwrap();
        let at = lab.volume(&pod, "v").join("x/y");
        assert_eq!(fs::read_to_string(at.join("file")).unwrap(), "1");
        for (path, mode) in [(at.as_path(), 0o777), (at.parent().unwrap(), 0o2777)] {
            let stat = fs::metadata(path).unwrap();
            assert_eq!((stat.mode() & 0o7777, stat.gid()), (mode, 4711), "{path:?}");
        }
    });
}

#[test]
fn what_is_there_is_taken_as_it_is() {
    on_a_machine(|lab| {
        let pod = pod("a", json!([{"name": "v", "emptyDir": {}}]));
        lab.volumes.prepare(&pod).unwrap();
        let volume = lab.volume(&pod, "v");
        fs::create_dir(volume.join("real")).unwrap();
        fs::set_permissions(volume.join("real"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(volume.join("real/file"), "content").unwrap();
        symlink("real/file", volume.join("link")).unwrap();
        let source = lab.volumes.mount_source(&pod, "v", Some("link")).unwrap();
        let inside = attach(&source, &lab.host.join("file"));
        assert_eq!(
            fs::read_to_string(inside).unwrap(),
            "content",
            "a link within the volume may be used"
        );
        lab.volumes.mount_source(&pod, "v", Some("real")).unwrap();
        assert_eq!(
            fs::metadata(volume.join("real")).unwrap().mode() & 0o7777,
            0o700
        );
    });
}

#[test]
fn no_link_and_no_name_leads_out_of_the_volume() {
    on_a_machine(|lab| {
        let pod = pod("a", json!([{"name": "v", "emptyDir": {}}]));
        lab.volumes.prepare(&pod).unwrap();
        let volume = lab.volume(&pod, "v");
        symlink("/", volume.join("root")).unwrap();
        symlink("../../..", volume.join("up")).unwrap();
        symlink(&lab.host, volume.join("host")).unwrap();
        symlink(lab.host.join("absent"), volume.join("dangling")).unwrap();
        symlink("nowhere", volume.join("hanging")).unwrap();
        symlink("/proc/self/root", volume.join("magic")).unwrap();
        for sub_path in [
            "root",
            "root/etc",
            "up",
            "up/x",
            "host/new/dir",
            "dangling",
            "dangling/x",
            "hanging/x",
            "magic",
            "magic/etc",
        ] {
            let error = lab
                .volumes
                .mount_source(&pod, "v", Some(sub_path))
                .unwrap_err();
            assert!(
                error
                    .chain()
                    .contains(&format!("subPath {sub_path:?} of volume \"v\"")),
                "{}",
                error.chain()
            );
        }
        for (sub_path, said) in [
            ("/etc", "must be a relative path"),
            ("a/../../b", "must not contain '..'"),
            ("..", "must not contain '..'"),
        ] {
            let error = lab
                .volumes
                .mount_source(&pod, "v", Some(sub_path))
                .unwrap_err();
            assert!(error.to_string().ends_with(said), "{error}");
        }
        assert_eq!(
            fs::read_dir(&lab.host).unwrap().count(),
            0,
            "nothing was made outside"
        );
    });
}

#[test]
fn exchanging_the_place_for_a_link_while_it_is_opened_leads_nowhere_else() {
    on_a_machine(|lab| {
        let pod = pod("a", json!([{"name": "v", "emptyDir": {}}]));
        lab.volumes.prepare(&pod).unwrap();
        let volume = lab.volume(&pod, "v");
        let secret = lab.host.join("dir");
        fs::create_dir(&secret).unwrap();
        fs::write(secret.join("secret"), "").unwrap();
        fs::create_dir_all(volume.join("a/dir")).unwrap();
        symlink(&lab.host, volume.join("b")).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let swapping = std::thread::spawn({
            let (stop, a, b) = (stop.clone(), volume.join("a"), volume.join("b"));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE).unwrap();
                }
            }
        });
        let (mut opened, mut refused) = (0, 0);
        for round in 0..10_000 {
            // both kinds: a place that is there, and one that has to be made
            let sub_path = if round % 2 == 0 {
                "a/dir".to_owned()
            } else {
                format!("a/new{round}")
            };
            match lab.volumes.mount_source(&pod, "v", Some(&sub_path)) {
                Ok(source) => {
                    opened += 1;
                    let names = rustix::fs::openat(
                        &source,
                        "secret",
                        rustix::fs::OFlags::PATH,
                        rustix::fs::Mode::empty(),
                    );
                    assert!(names.is_err(), "a place of the host");
                }
                Err(_) => refused += 1,
            }
        }
        stop.store(true, Ordering::Relaxed);
        swapping.join().unwrap();
        assert!(
            opened > 0 && refused > 0,
            "the race was run: {opened} opened, {refused} refused"
        );
        let outside: Vec<_> = fs::read_dir(&lab.host)
            .unwrap()
            .flatten()
            .map(|e| e.file_name())
            .collect();
        assert_eq!(outside, ["dir"], "nothing was made outside");
    });
}
