//! `hostPath`, by type.

use crate::lab::{Lab, attach, on_a_machine, pod};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

fn prepare(lab: &Lab, path: &Path, kind: &str) -> Result<(), String> {
    let pod = pod(
        "a",
        json!([{"name": "h", "hostPath": {"path": path, "type": kind}}]),
    );
    lab.volumes.prepare(&pod).map(drop).map_err(|e| e.chain())
}

#[test]
fn each_type_takes_what_it_says_and_refuses_the_rest_in_the_kubelets_words() {
    on_a_machine(|lab| {
        let at = |name: &str| lab.host.join(name);
        fs::create_dir(at("dir")).unwrap();
        fs::write(at("file"), "").unwrap();
        let _socket = UnixListener::bind(at("sock")).unwrap();
        symlink(at("dir"), at("link")).unwrap();
        let things = [
            ("Directory", "directory", at("dir")),
            ("File", "file", at("file")),
            ("Socket", "socket file", at("sock")),
            ("CharDevice", "character device", "/dev/null".into()),
        ];
        for (kind, words, _) in &things {
            for (name, _, path) in &things {
                let answer = prepare(&lab, path, kind);
                if kind == name {
                    assert_eq!(answer, Ok(()), "{kind} {path:?}");
                } else {
                    let path = path.display();
                    let said = format!(
                        "hostPath type check failed: {path} is not a {words}, it's a {name}"
                    );
                    assert_eq!(answer, Err(said));
                }
            }
        }
        assert_eq!(
            prepare(&lab, &at("link"), "Directory"),
            Ok(()),
            "a link of the machine is followed"
        );
        for kind in ["Directory", "File", "Socket", "CharDevice", "BlockDevice"] {
            let error = prepare(&lab, &at("absent"), kind).unwrap_err();
            assert!(
                error.starts_with(&format!(
                    "hostPath type check failed: {} is not a ",
                    at("absent").display()
                )),
                "{error}"
            );
            assert!(!at("absent").exists());
        }
        assert!(
            prepare(&lab, &at("file"), "BlockDevice")
                .unwrap_err()
                .ends_with("is not a block device, it's a File")
        );
        assert!(prepare(&lab, &at("file/below"), "DirectoryOrCreate").is_err());
    });
}

#[test]
fn what_may_be_made_is_made_with_its_mode_and_else_left_alone() {
    on_a_machine(|lab| {
        let at = |name: &str| lab.host.join(name);
        let mode = |name: &str| fs::metadata(at(name)).unwrap().mode() & 0o7777;
        prepare(&lab, &at("a/b"), "DirectoryOrCreate").unwrap();
        prepare(&lab, &at("f"), "FileOrCreate").unwrap();
        prepare(&lab, &at("unset"), "").unwrap();
        assert_eq!(
            (mode("a/b"), mode("f"), mode("unset")),
            (0o755, 0o644, 0o755)
        );
        assert!(at("unset").is_dir());
        fs::write(at("f"), "content").unwrap();
        prepare(&lab, &at("f"), "FileOrCreate").unwrap();
        assert_eq!(fs::read_to_string(at("f")).unwrap(), "content");
        let error = prepare(&lab, &at("no/f"), "FileOrCreate").unwrap_err();
        assert!(
            error.starts_with("cannot make the file at hostPath") && error.contains("No such file"),
            "{error}"
        );
        assert!(
            prepare(&lab, &at("a"), "FileOrCreate")
                .unwrap_err()
                .ends_with("is not a file, it's a Directory")
        );
    });
}

#[test]
fn a_mount_source_may_be_a_file_and_teardown_leaves_the_host_alone() {
    on_a_machine(|lab| {
        fs::write(lab.host.join("file"), "host").unwrap();
        let pod = pod(
            "a",
            json!([{"name": "h", "hostPath": {"path": lab.host.join("file")}}, {"name": "e", "emptyDir": {}}]),
        );
        lab.volumes.prepare(&pod).unwrap();
        let source = lab.volumes.mount_source(&pod, "h", None).unwrap();
        let inside = attach(&source, &lab.host.join("inside"));
        assert_eq!(fs::read_to_string(inside).unwrap(), "host");
        lab.volumes.tear_down(pod.uid()).unwrap();
        assert_eq!(fs::read_to_string(lab.host.join("file")).unwrap(), "host");
    });
}
