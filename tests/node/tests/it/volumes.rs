//! emptyDir and hostPath.

use node_tests::manifest::idle;
use node_tests::{Node, pod, seconds, sh, wait_until};
use serde_json::json;
use std::fs;

#[test]
fn an_empty_dir_is_shared_by_containers_and_outlives_their_restarts() {
    let node = Node::start();
    let mount = json!([{"name": "v", "mountPath": "/v"}]);
    node.apply(
        &pod("pair")
            .spec("volumes", json!([{"name": "v", "emptyDir": {}}]))
            .container(sh("writer", "echo once >> /v/log; sleep 0.3; exit 1"))
            .with("volumeMounts", mount.clone())
            .container(idle("reader"))
            .with("volumeMounts", mount),
    );
    node.wait_pod("pair", "restarted", |pod| {
        pod.try_container("writer")
            .is_some_and(|writer| writer.restarts() >= 1)
    });
    wait_until("two lines", seconds(20), || {
        node.exec("pair", "reader", &["cat", "/v/log"]) == "once\nonce\n"
    });
}

#[test]
fn an_empty_dir_in_memory_is_a_tmpfs_of_its_size() {
    let node = Node::start();
    node.apply(
        &pod("memory")
            .once()
            .spec("volumes", json!([{"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]))
            .container(sh("main", "grep ' /v ' /proc/mounts | cut -d' ' -f3; head -c 900k /dev/zero > /v/a && echo fits; head -c 900k /dev/zero > /v/b || echo full"))
            .with("volumeMounts", json!([{"name": "v", "mountPath": "/v"}])),
    );
    node.wait_phase("memory", "Succeeded");
    let log = node.logs("memory", "main");
    assert!(
        log.starts_with("tmpfs\nfits\n") && log.contains("full\n"),
        "{log}"
    );
}

#[test]
fn an_empty_dir_is_gone_with_its_pod() {
    let node = Node::start();
    node.apply(
        &pod("brief")
            .spec("volumes", json!([{"name": "disk", "emptyDir": {}}, {"name": "memory", "emptyDir": {"medium": "Memory"}}]))
            .container(idle("main"))
            .with("volumeMounts", json!([{"name": "disk", "mountPath": "/d"}, {"name": "memory", "mountPath": "/m"}])),
    );
    let uid = node.wait_ready("brief").uid().to_owned();
    node.exec(
        "brief",
        "main",
        &["sh", "-c", "echo x > /d/x; echo x > /m/x"],
    );
    assert!(node.root().join("pods").join(&uid).exists());
    node.remove_manifest("brief");
    node.wait_gone("brief");
    wait_until("its directory to be gone", seconds(10), || {
        !node.root().join("pods").join(&uid).exists()
    });
}

#[test]
fn a_volume_mounted_read_only_cannot_be_written() {
    let node = Node::start();
    node.apply(
        &pod("ro")
            .once()
            .spec("volumes", json!([{"name": "v", "emptyDir": {}}]))
            .container(sh("main", "touch /v/x"))
            .with(
                "volumeMounts",
                json!([{"name": "v", "mountPath": "/v", "readOnly": true}]),
            ),
    );
    let ro = node.wait_phase("ro", "Failed");
    assert_eq!(
        ro.container("main").ended().map(|end| end.exit_code()),
        Some(1)
    );
}

fn host_path(name: &str, path: &std::path::Path, kind: &str) -> node_tests::manifest::Manifest {
    pod(name)
        .spec(
            "volumes",
            json!([{"name": "v", "hostPath": {"path": path, "type": kind}}]),
        )
        .container(idle("main"))
        .with("volumeMounts", json!([{"name": "v", "mountPath": "/v"}]))
}

#[test]
fn every_type_of_host_path_accepts_what_it_names() {
    let node = Node::start();
    let dir = node.dir("host");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("file"), "content").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.join("socket")).unwrap();
    let cases = [
        ("any", dir.clone(), ""),
        ("directory", dir.clone(), "Directory"),
        ("made-directory", dir.join("made/deep"), "DirectoryOrCreate"),
        ("file", dir.join("file"), "File"),
        ("made-file", dir.join("made-file"), "FileOrCreate"),
        ("socket", dir.join("socket"), "Socket"),
        ("device", "/dev/null".into(), "CharDevice"),
    ];
    for (name, path, kind) in &cases {
        node.apply(&host_path(name, path, kind));
    }
    for (name, _, _) in &cases {
        node.wait_ready(name);
    }
    assert!(dir.join("made/deep").is_dir() && dir.join("made-file").is_file());
    assert_eq!(node.exec("file", "main", &["cat", "/v"]), "content");
}

#[test]
fn a_host_path_of_another_type_is_refused_and_waited_for() {
    let node = Node::start();
    let path = node.dir("late");
    node.apply(&host_path("picky", &path, "Directory"));
    wait_until("the refusal", seconds(20), || {
        let events = node.coracle(&["get", "events"]);
        String::from_utf8_lossy(&events.stdout).contains("hostPath type check failed")
    });
    assert_eq!(node.pod("picky").expect("the pod").phase(), "Pending");
    fs::create_dir(&path).unwrap();
    node.wait_ready("picky");
}

#[test]
fn removing_a_pod_leaves_its_host_path_alone() {
    let node = Node::start();
    let dir = node.dir("precious");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("file"), "x").unwrap();
    node.apply(&host_path("guest", &dir, "Directory"));
    node.wait_ready("guest");
    node.exec("guest", "main", &["sh", "-c", "echo y > /v/other"]);
    node.remove_manifest("guest");
    node.wait_gone("guest");
    assert!(dir.join("file").exists() && dir.join("other").exists());
}

#[test]
fn a_sub_path_cannot_leave_its_volume() {
    let node = Node::start();
    node.apply(
        &pod("sly")
            .spec("volumes", json!([{"name": "v", "emptyDir": {}}]))
            .init(json!({
                "name": "plant", "image": node_tests::manifest::BUSYBOX, "command": ["/bin/ln", "-s", "/etc", "/v/out"],
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            }))
            .container(idle("main"))
            .with("volumeMounts", json!([{"name": "v", "mountPath": "/m", "subPath": "out"}])),
    );
    node.wait_pod("sly", "refused", |pod| {
        pod.try_container("main").is_some_and(|main| {
            ["CreateContainerConfigError", "CreateContainerError"].contains(&main.waiting())
        })
    });
}

#[test]
fn who_takes_more_of_the_disk_than_he_may_is_evicted() {
    let node = Node::start();
    let writes = |name: &str, file: &str| {
        sh(
            name,
            &format!("head -c 3m /dev/zero > {file}; exec sleep 1000"),
        )
    };
    node.apply(
        &pod("volume")
            .spec(
                "volumes",
                json!([{"name": "v", "emptyDir": {"sizeLimit": "2048Ki"}}]),
            )
            .container(writes("main", "/v/file"))
            .with("volumeMounts", json!([{"name": "v", "mountPath": "/v"}])),
    );
    let limit = |text: &str| json!({"limits": {"ephemeral-storage": text}});
    node.apply(
        &pod("total")
            .container(writes("main", "/file"))
            .with("resources", limit("2Mi")),
    );
    node.apply(
        &pod("part")
            .container(writes("main", "/file"))
            .with("resources", limit("2Mi"))
            .container(idle("beside"))
            .with("resources", limit("2Mi")),
    );
    node.apply(
        &pod("modest")
            .spec(
                "volumes",
                json!([{"name": "v", "emptyDir": {"sizeLimit": "4Mi"}}]),
            )
            .container(writes("main", "/v/file"))
            .with("resources", limit("4Mi"))
            .with("volumeMounts", json!([{"name": "v", "mountPath": "/v"}])),
    );
    let modest = node.wait_ready("modest").uid().to_owned();
    for (name, message) in [
        (
            "volume",
            "Usage of EmptyDir volume \"v\" exceeds the limit \"2Mi\". ",
        ),
        (
            "total",
            "Pod ephemeral local storage usage exceeds the total limit of containers 2Mi. ",
        ),
        (
            "part",
            "Container main exceeded its local ephemeral storage limit \"2Mi\". ",
        ),
    ] {
        let pod = node.wait_phase(name, "Failed");
        assert_eq!(pod.reason(), "Evicted", "{name}");
        assert_eq!(pod.value["status"]["message"], message, "{name}");
        assert_eq!(pod.condition("DisruptionTarget"), None);
        let volumes = node.root().join("pods").join(pod.uid()).join("volumes");
        wait_until("its files to be gone", seconds(10), || !volumes.exists());
        let events = node.say(&["get", "events"]);
        let event = events
            .lines()
            .find(|line| line.contains("Evicted") && line.contains(name));
        assert!(
            event.is_some_and(|line| line.contains(message.trim())),
            "{events}"
        );
    }
    let metrics = node.http("/metrics").text();
    for signal in [
        "emptydirfs.limit",
        "ephemeralpodfs.limit",
        "ephemeralcontainerfs.limit",
    ] {
        let line = format!("kubelet_evictions{{eviction_signal=\"{signal}\"}} 1\n");
        assert!(metrics.contains(&line), "{line} in\n{metrics}");
    }
    assert_eq!(node.wait_ready("modest").uid(), modest);
    assert_eq!(
        node.pod("modest")
            .expect("the pod")
            .container("main")
            .restarts(),
        0
    );
}
