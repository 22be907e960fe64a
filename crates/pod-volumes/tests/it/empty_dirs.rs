//! `emptyDir`, on disk and in memory.

use crate::lab::{attach, on_a_machine, pod, pod_with};
use serde_json::json;
use std::fs;
use std::os::unix::fs::MetadataExt;

fn mode(path: &std::path::Path) -> String {
    let stat = fs::metadata(path).unwrap();
    format!("{:o} {}", stat.mode() & 0o7777, stat.gid())
}

#[test]
fn everybody_may_write_and_a_group_owns_what_is_made() {
    on_a_machine(|lab| {
        let volumes = json!([{"name": "disk", "emptyDir": {}}, {"name": "mem", "emptyDir": {"medium": "Memory"}}]);
        let plain = pod("a", volumes.clone());
        lab.volumes.prepare(&plain).unwrap();
        let grouped = pod_with(
            "b",
            json!({"containers": [], "securityContext": {"fsGroup": 4711}, "volumes": volumes}),
        );
        lab.volumes.prepare(&grouped).unwrap();
        for name in ["disk", "mem"] {
            assert_eq!(mode(&lab.volume(&plain, name)), "777 0", "{name}");
            assert_eq!(mode(&lab.volume(&grouped, name)), "2777 4711", "{name}");
            let file = lab.volume(&grouped, name).join("new");
            fs::write(&file, "").unwrap();
            assert_eq!(fs::metadata(file).unwrap().gid(), 4711);
        }
    });
}

#[test]
fn a_volume_in_memory_holds_what_its_limit_says() {
    on_a_machine(|lab| {
        let pod = pod(
            "a",
            json!([{"name": "mem", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]),
        );
        lab.volumes.prepare(&pod).unwrap();
        let at = lab.volume(&pod, "mem");
        fs::write(at.join("fits"), vec![0; 512 << 10]).unwrap();
        let error = fs::write(at.join("more"), vec![0; 600 << 10]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    });
}

#[test]
fn preparing_twice_keeps_the_content() {
    on_a_machine(|lab| {
        let pod = pod(
            "a",
            json!([{"name": "disk", "emptyDir": {}}, {"name": "mem", "emptyDir": {"medium": "Memory"}}]),
        );
        lab.volumes.prepare(&pod).unwrap();
        for name in ["disk", "mem"] {
            fs::write(lab.volume(&pod, name).join("kept"), "x").unwrap();
        }
        lab.volumes.prepare(&pod).unwrap();
        for name in ["disk", "mem"] {
            assert_eq!(
                fs::read_to_string(lab.volume(&pod, name).join("kept")).unwrap(),
                "x"
            );
        }
    });
}

#[test]
fn a_half_made_volume_is_made_again() {
    on_a_machine(|lab| {
        let pod = pod("a", json!([{"name": "disk", "emptyDir": {}}]));
        // killed before the mode was set and the directory renamed
        fs::create_dir_all(lab.volume(&pod, ".disk")).unwrap();
        lab.volumes.prepare(&pod).unwrap();
        assert_eq!(mode(&lab.volume(&pod, "disk")), "777 0");
        assert!(!lab.volume(&pod, ".disk").exists());
    });
}

#[test]
fn a_mount_source_is_the_volume_itself() {
    on_a_machine(|lab| {
        let pod = pod(
            "a",
            json!([{"name": "disk", "emptyDir": {}}, {"name": "mem", "emptyDir": {"medium": "Memory"}}]),
        );
        lab.volumes.prepare(&pod).unwrap();
        for name in ["disk", "mem"] {
            let source = lab.volumes.mount_source(&pod, name, None).unwrap();
            let inside = attach(&source, &lab.host.join(name));
            fs::write(inside.join("written"), name).unwrap();
            assert_eq!(
                fs::read_to_string(lab.volume(&pod, name).join("written")).unwrap(),
                name
            );
        }
        let error = lab.volumes.mount_source(&pod, "other", None).unwrap_err();
        assert_eq!(error.to_string(), "pod a has no volume \"other\"");
    });
}

#[test]
fn usage_counts_what_is_allocated_and_a_hard_link_once() {
    on_a_machine(|lab| {
        let pod = pod(
            "a",
            json!([{"name": "disk", "emptyDir": {}}, {"name": "mem", "emptyDir": {"medium": "Memory"}}]),
        );
        lab.volumes.prepare(&pod).unwrap();
        let disk = lab.volume(&pod, "disk");
        fs::create_dir_all(disk.join("a/b")).unwrap();
        fs::write(disk.join("a/b/file"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(disk.join("a/b/file"), disk.join("again")).unwrap();
        fs::File::create(disk.join("sparse"))
            .unwrap()
            .set_len(1 << 30)
            .unwrap();
        std::os::unix::fs::symlink("/", disk.join("root")).unwrap();
        fs::write(lab.volume(&pod, "mem").join("file"), vec![1; 2 << 20]).unwrap();
        let mut usage = lab.volumes.usage(pod.uid()).unwrap();
        usage.sort_by(|a, b| a.volume.cmp(&b.volume));
        let (disk, mem) = (&usage[0], &usage[1]);
        assert!(
            (1 << 20..(1 << 20) + 65536).contains(&disk.bytes),
            "{disk:?}"
        );
        // itself, a, b, file, sparse, root
        assert_eq!(
            (disk.inodes, disk.in_memory, disk.is_partial),
            (6, false, false)
        );
        assert!(
            (2 << 20..(2 << 20) + 65536).contains(&mem.bytes) && mem.in_memory,
            "{mem:?}"
        );
    });
}
