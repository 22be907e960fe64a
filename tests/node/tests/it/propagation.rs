//! Mounts that are made while a container runs: what of the host it sees, what the host sees of it.

use node_tests::manifest::{Manifest, idle};
use node_tests::{Node, pod, seconds, sh, wait_until};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

/// A directory of the node's machine that is a mount of its own, `shared` or `private`.
fn mounted(node: &Node, name: &str, sharing: &str) -> PathBuf {
    let directory = node.dir(name);
    fs::create_dir(&directory).unwrap();
    let path = directory.to_string_lossy();
    node.sandbox.say("mount", &["--bind", &path, &path]);
    node.sandbox
        .say("mount", &[&format!("--make-{sharing}"), &path]);
    directory
}

/// A container with the same host path at `/v`, with this propagation, and at `/apart`, with none.
fn with_volume(container: serde_json::Value, path: &Path, propagation: &str) -> Manifest {
    pod("main")
        .spec(
            "volumes",
            json!([{"name": "v", "hostPath": {"path": path, "type": "Directory"}}]),
        )
        .container(container)
        .with(
            "volumeMounts",
            json!([
                {"name": "v", "mountPath": "/v", "mountPropagation": propagation},
                {"name": "v", "mountPath": "/apart"},
            ]),
        )
}

/// What the machine has mounted below a directory.
fn mounts_below(node: &Node, directory: &Path) -> Vec<String> {
    let prefix = format!("{}/", directory.to_string_lossy());
    let table = node
        .sandbox
        .enter(|| fs::read_to_string("/proc/thread-self/mountinfo"))
        .unwrap();
    table
        .lines()
        .filter_map(|line| line.split_whitespace().nth(4))
        .filter(|point| point.starts_with(&prefix))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_mount_of_the_host_comes_to_a_container_that_asked_for_it() {
    let node = Node::start();
    let directory = mounted(&node, "host", "shared");
    fs::create_dir(directory.join("late")).unwrap();
    let late = directory.join("late").to_string_lossy().into_owned();
    node.apply(&with_volume(idle("main"), &directory, "HostToContainer"));
    node.wait_ready("main");
    node.sandbox
        .say("mount", &["-t", "tmpfs", "tmpfs", late.as_str()]);
    node.sandbox
        .enter(|| fs::write(directory.join("late/file"), "arrived\n"))
        .unwrap();
    assert_eq!(
        node.exec("main", "main", &["cat", "/v/late/file"]),
        "arrived\n"
    );
    assert_eq!(node.exec("main", "main", &["ls", "/apart/late"]), "");
    // nothing comes back: it may not even mount, and what an administrator takes away is gone
    node.sandbox.say("umount", &[late.as_str()]);
    assert_eq!(node.exec("main", "main", &["ls", "/v/late"]), "");
}

#[test]
fn a_mount_of_a_privileged_container_comes_to_the_host_and_goes_with_it() {
    let node = Node::start();
    let directory = mounted(&node, "host", "shared");
    fs::create_dir(directory.join("made")).unwrap();
    let script = "mount -t tmpfs tmpfs /v/made && echo from-inside > /v/made/file && echo mounted; \
                  trap 'umount /v/made; exit 0' TERM; while :; do sleep 3600 & wait $!; done";
    node.apply(
        &with_volume(sh("main", script), &directory, "Bidirectional")
            .with("securityContext", json!({"privileged": true})),
    );
    node.wait_ready("main");
    node.wait_log("main", "main", "mounted");
    let file = node
        .sandbox
        .enter(|| fs::read_to_string(directory.join("made/file")));
    assert_eq!(file.unwrap(), "from-inside\n");
    assert_eq!(node.exec("main", "main", &["ls", "/apart/made"]), "");
    node.remove_manifest("main");
    node.wait_gone("main");
    assert_eq!(mounts_below(&node, &directory), Vec::<String>::new());
}

#[test]
fn what_a_container_left_mounted_in_an_empty_dir_is_detached_and_not_deleted() {
    let node = Node::builder().prepare();
    let root = node.root().to_string_lossy().into_owned();
    node.sandbox.say("mount", &["--bind", &root, &root]);
    node.sandbox.say("mount", &["--make-shared", &root]);
    node.start_agent();
    node.load(node_tests::manifest::BUSYBOX, &node_tests::Image::busybox());
    let precious = node.dir("precious");
    fs::create_dir(&precious).unwrap();
    fs::write(precious.join("file"), "precious\n").unwrap();
    let script = "mkdir /v/held && mount --bind /precious /v/held && cat /v/held/file; sleep 3600";
    node.apply(
        &pod("main")
            .spec(
                "volumes",
                json!([
                    {"name": "v", "emptyDir": {}},
                    {"name": "precious", "hostPath": {"path": precious}},
                ]),
            )
            .container(sh("main", script))
            .with("securityContext", json!({"privileged": true}))
            .with(
                "volumeMounts",
                json!([
                    {"name": "v", "mountPath": "/v", "mountPropagation": "Bidirectional"},
                    {"name": "precious", "mountPath": "/precious"},
                ]),
            ),
    );
    let uid = node.wait_ready("main").uid().to_owned();
    node.wait_log("main", "main", "precious");
    let directory = node.root().join("pods").join(uid);
    let held: Vec<String> = mounts_below(&node, &directory)
        .into_iter()
        .filter(|point| point.ends_with("/held"))
        .collect();
    assert_eq!(held.len(), 1, "{held:?}");
    node.remove_manifest("main");
    node.wait_gone("main");
    wait_until("the pod's directory to be gone", seconds(10), || {
        !directory.exists()
    });
    assert_eq!(mounts_below(&node, &directory), Vec::<String>::new());
    assert_eq!(
        fs::read_to_string(precious.join("file")).unwrap(),
        "precious\n"
    );
}

#[test]
fn a_source_that_shares_nothing_is_refused_and_told() {
    let node = Node::start();
    let directory = mounted(&node, "host", "private");
    let deep = directory.join("deep");
    fs::create_dir(&deep).unwrap();
    for (propagation, wanted) in [
        ("HostToContainer", "shared or slave"),
        ("Bidirectional", "shared"),
    ] {
        let privileged = json!({"privileged": propagation == "Bidirectional"});
        node.apply(
            &with_volume(idle("main"), &deep, propagation).with("securityContext", privileged),
        );
        let expected =
            format!("path {deep:?} is mounted on {directory:?} but it is not a {wanted} mount");
        node.wait_pod("main", "refused", |pod| {
            pod.try_container("main").is_some_and(|main| {
                let waiting = &main.value["state"]["waiting"];
                waiting["reason"] == "CreateContainerError"
                    && waiting["message"]
                        .as_str()
                        .is_some_and(|message| message.contains(&expected))
            })
        });
    }
    // it is tried again: the administrator's remedy helps
    let path = directory.to_string_lossy();
    node.sandbox.say("mount", &["--make-shared", &path]);
    node.wait_ready("main");
}

#[test]
fn only_a_privileged_container_may_share_its_mounts() {
    let node = Node::start();
    let directory = mounted(&node, "host", "shared");
    node.apply(&with_volume(idle("main"), &directory, "Bidirectional"));
    wait_until("the refusal", seconds(20), || {
        node.agent_log()
            .contains("Bidirectional mount propagation is available only to privileged containers")
    });
    assert!(node.pod("main").is_none());
}
