//! What a pod asks for in its security contexts, and what the kernel then says of its processes.

use node_tests::manifest::{Manifest, idle};
use node_tests::view::PodView;
use node_tests::{Image, Layer, Node, pod, process, sh};
use serde_json::{Value, json};

fn done(node: &Node, manifest: &Manifest) -> (PodView, String) {
    node.apply(manifest);
    let view = node.wait_pod(manifest.name(), "ended", |pod| {
        matches!(pod.phase(), "Succeeded" | "Failed")
    });
    let log = node.logs(manifest.name(), "main");
    (view, log)
}

fn with(name: &str, script: &str, context: Value) -> Manifest {
    pod(name)
        .once()
        .container(sh("main", script))
        .with("securityContext", context)
}

#[test]
fn user_group_and_supplemental_groups() {
    let node = Node::start();
    let manifest = with(
        "ids",
        "id -u; id -g; id -G",
        json!({"runAsUser": 1234, "runAsGroup": 2345}),
    )
    .spec(
        "securityContext",
        json!({"supplementalGroups": [3456], "fsGroup": 4567, "runAsUser": 1}),
    );
    let (_, log) = done(&node, &manifest);
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(&lines[..2], ["1234", "2345"]);
    let groups: Vec<_> = lines[2].split(' ').collect();
    assert!(
        groups.contains(&"3456") && groups.contains(&"4567"),
        "{groups:?}"
    );
}

#[test]
fn a_user_of_the_image_brings_its_groups() {
    let node = Node::start();
    node.load(
        "localhost/ana:1",
        &Image::busybox().set("User", json!("ana")),
    );
    let mut manifest = with("groups", "id -u; id -G", json!({}));
    manifest.value["spec"]["containers"][0]["image"] = json!("localhost/ana:1");
    let (_, log) = done(&node, &manifest);
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines[0], "1000");
    assert!(lines[1].split(' ').any(|group| group == "2000"), "{log}");
}

#[test]
fn capabilities_are_added_and_dropped() {
    let node = Node::start();
    let caps = "grep CapEff /proc/self/status | cut -f2";
    let drop_all = with("none", caps, json!({"capabilities": {"drop": ["ALL"]}}));
    assert_eq!(done(&node, &drop_all).1.trim(), "0000000000000000");
    let one = with(
        "one",
        caps,
        json!({"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}}),
    );
    assert_eq!(done(&node, &one).1.trim(), "0000000000001000");
    let user = with("user", caps, json!({"runAsUser": 1000}));
    assert_eq!(
        done(&node, &user).1.trim(),
        "0000000000000000",
        "another user than root has none in effect"
    );
}

#[test]
fn a_privileged_container_may_do_all_that_the_node_may() {
    let node = Node::start();
    let script = "mount -t tmpfs x /tmp && echo mounted; grep Seccomp: /proc/self/status | cut -f2; [ -e /dev/kmsg ] && echo kmsg";
    let (_, log) = done(&node, &with("mighty", script, json!({"privileged": true})));
    assert_eq!(log, "mounted\n0\nkmsg\n");
}

#[test]
fn a_read_only_root_cannot_be_written_but_volumes_can() {
    let node = Node::start();
    let script = "touch /x 2>/dev/null || echo refused; touch /data/x && echo written";
    let manifest = with("sealed", script, json!({"readOnlyRootFilesystem": true}))
        .spec("volumes", json!([{"name": "data", "emptyDir": {}}]))
        .with(
            "volumeMounts",
            json!([{"name": "data", "mountPath": "/data"}]),
        );
    assert_eq!(done(&node, &manifest).1, "refused\nwritten\n");
}

#[test]
fn privilege_escalation_is_refused_to_a_set_uid_program() {
    let node = Node::start();
    let program = std::fs::read("/bin/busybox").unwrap();
    let image = Image::busybox().layer(
        Layer::new()
            .dir("suid", 0o755)
            .file_as("suid/id", 0o4755, 0, program),
    );
    node.load("localhost/suid:1", &image);
    let ask = |name: &str, allow: bool| {
        let mut manifest = with(
            name,
            "/suid/id -u; grep NoNewPrivs /proc/self/status | cut -f2",
            json!({"runAsUser": 1000, "allowPrivilegeEscalation": allow}),
        );
        manifest.value["spec"]["containers"][0]["image"] = json!("localhost/suid:1");
        done(&node, &manifest).1
    };
    assert_eq!(ask("denied", false), "1000\n1\n");
    assert_eq!(ask("allowed", true).lines().nth(1), Some("0"));
}

#[test]
fn seccomp_profiles_are_chosen_by_the_pod() {
    let node = Node::start();
    let script = "grep Seccomp: /proc/self/status | cut -f2";
    let free = with(
        "free",
        script,
        json!({"seccompProfile": {"type": "Unconfined"}}),
    );
    assert_eq!(done(&node, &free).1.trim(), "0");
    let default = with(
        "default",
        script,
        json!({"seccompProfile": {"type": "RuntimeDefault"}}),
    );
    assert_eq!(done(&node, &default).1.trim(), "2");
}

#[test]
fn a_local_seccomp_profile_is_obeyed_and_a_missing_one_is_never_no_profile() {
    let node = Node::start();
    let dir = node.root().join("seccomp");
    std::fs::create_dir_all(&dir).unwrap();
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
    });
    std::fs::write(dir.join("no-mkdir.json"), profile.to_string()).unwrap();
    let local = |name: &str, file: &str| {
        with(
            name,
            "mkdir /tmp/x || echo refused",
            json!({"seccompProfile": {"type": "Localhost", "localhostProfile": file}}),
        )
    };
    assert!(
        done(&node, &local("obeyed", "no-mkdir.json"))
            .1
            .contains("refused")
    );
    node.apply(&local("missing", "nowhere.json"));
    let missing = node.wait_pod("missing", "refused", |pod| {
        pod.try_container("main")
            .is_some_and(|main| !main.waiting().is_empty() && main.waiting() != "ContainerCreating")
    });
    assert!(
        missing.container("main").message().contains("nowhere.json"),
        "{}",
        missing.container("main").message()
    );
}

#[test]
fn run_as_non_root_refuses_root() {
    let node = Node::start();
    node.apply(
        &pod("root")
            .container(idle("main"))
            .with("securityContext", json!({"runAsNonRoot": true})),
    );
    let root = node.wait_pod("root", "refused", |pod| {
        pod.try_container("main")
            .is_some_and(|main| main.waiting() == "CreateContainerConfigError")
    });
    let message = root.container("main").message();
    assert!(
        message.contains("runAsNonRoot") || message.contains("run as root"),
        "{message}"
    );
}

#[test]
fn exec_has_the_limits_of_its_container() {
    let node = Node::start();
    node.apply(
        &pod("tight")
            .container(idle("main"))
            .with("securityContext", json!({"runAsUser": 1000, "capabilities": {"drop": ["ALL"]}, "allowPrivilegeEscalation": false})),
    );
    let tight = node.wait_ready("tight");
    let said = node.exec(
        "tight",
        "main",
        &[
            "sh",
            "-c",
            "id -u; grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | cut -f2",
        ],
    );
    assert_eq!(said, "1000\n0000000000000000\n1\n2\n");
    let pid = node.container_pid(tight.uid(), "main").expect("a process");
    assert_eq!(process::status(pid, "NoNewPrivs").as_deref(), Some("1"));
}
