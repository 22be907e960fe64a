//! Which pods a node takes on, and what the others are told. Pods of files are critical to a kubelet: for want of room they are never
//! "OutOf…", but an error of the attempt to make room.

use node_tests::manifest::{Manifest, idle};
use node_tests::view::PodView;
use node_tests::{Node, pod, sh};
use serde_json::{Value, json};

fn main(name: &str) -> Manifest {
    pod(name).container(idle("main"))
}
fn asking(name: &str, resource: &str, amount: &str) -> Manifest {
    main(name).with("resources", json!({"requests": {resource: amount}}))
}

/// Its message, and what must be true of every rejected pod.
fn rejected(node: &Node, manifest: &Manifest, reason: &str) -> String {
    node.apply(manifest);
    let name = manifest.name();
    let pod = node.wait_phase(name, "Failed");
    assert_eq!(pod.reason(), reason, "{:#}", pod.value["status"]);
    let message = pod.value["status"]["message"].as_str().unwrap_or_default();
    let said = message
        .strip_prefix("Pod was rejected: ")
        .unwrap_or_default();
    for key in ["conditions", "containerStatuses", "podIP"] {
        assert_eq!(pod.value["status"][key], Value::Null, "{key}");
    }
    let files = node.root().join("pods").join(pod.uid()).join("files");
    assert!(!files.exists(), "nothing is made for it");
    let events = node.say(&["get", "events"]);
    let event = events
        .lines()
        .find(|line| line.contains(name) && line.contains(reason));
    assert!(
        event.is_some_and(|line| line.contains("Warning") && line.contains(said)),
        "{events}"
    );
    said.to_owned()
}

fn no_room_for(needs: &str) -> String {
    format!(
        "Unexpected error while attempting to recover from admission failure: preemption: error finding a set of pods to preempt: no set of \
         running pods found to reclaim resources: [{needs}]"
    )
}

fn line_of_metrics(node: &Node, line: &str) {
    let metrics = node.http("/metrics").text();
    assert!(
        metrics.contains(&format!("{line}\n")),
        "{line} in\n{metrics}"
    );
}

#[test]
fn a_pod_too_many_is_rejected_until_its_manifest_changes() {
    let node = Node::builder().config("maxPods: 1\n").start();
    node.apply(&main("first"));
    let first = node.wait_ready("first");
    let said = rejected(&node, &main("second"), "UnexpectedAdmissionError");
    assert_eq!(said, no_room_for("(res: pods, q: 1), "));
    line_of_metrics(
        &node,
        "kubelet_admission_rejections_total{reason=\"UnexpectedAdmissionError\"} 1",
    );
    node.restart_agent();
    assert_eq!(node.wait_ready("first").uid(), first.uid());
    assert_eq!(node.wait_ready("first").container("main").restarts(), 0);
    node.remove_manifest("first");
    node.wait_gone("first");
    node.restart_agent();
    let second = node.wait_phase("second", "Failed");
    assert_eq!(second.reason(), "UnexpectedAdmissionError");
    node.apply(&main("second").spec("hostname", json!("changed")));
    node.wait_pod("second", "taken on", PodView::is_ready);
    let third = rejected(&node, &main("third"), "UnexpectedAdmissionError");
    assert_eq!(third, no_room_for("(res: pods, q: 1), "));
    node.remove_manifest("third");
    node.wait_gone("third");
}

#[test]
fn a_pod_that_asks_for_more_than_there_is_is_rejected() {
    let node = Node::start();
    let said = rejected(
        &node,
        &asking("many", "cpu", "1000"),
        "UnexpectedAdmissionError",
    );
    assert!(said.starts_with(&no_room_for("")[..100]) && said.contains("(res: cpu, q: "));
    let said = rejected(
        &node,
        &asking("vast", "memory", "1Ei"),
        "UnexpectedAdmissionError",
    );
    assert!(said.contains("(res: memory, q: "), "{said}");
    node.apply(&asking("modest", "cpu", "10m"));
    node.wait_ready("modest");
}

#[test]
fn a_pod_for_another_machine_is_rejected() {
    let node = Node::start();
    let windows = main("windows").spec("os", json!({"name": "windows"}));
    assert_eq!(
        rejected(&node, &windows, "PodOSNotSupported"),
        "Failed to admit pod as the OS field doesn't match node OS"
    );
    let elsewhere = main("elsewhere").spec("nodeSelector", json!({"disk": "ssd"}));
    let no = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
    assert_eq!(rejected(&node, &elsewhere, "NodeAffinity"), no);
    let linux = main("linux")
        .spec("nodeSelector", json!({"kubernetes.io/os": "linux"}))
        .spec("os", json!({"name": "linux"}));
    node.apply(&linux);
    node.wait_ready("linux");
    line_of_metrics(
        &node,
        "kubelet_admission_rejections_total{reason=\"Other\"} 1",
    );
}

#[test]
fn two_pods_cannot_have_one_port_of_the_host() {
    let node = Node::start();
    let web = |name: &str| {
        let ports = json!([{"containerPort": 80, "hostPort": 18_080}]);
        main(name).with("ports", ports)
    };
    node.apply(&web("one"));
    node.wait_ready("one");
    assert_eq!(
        rejected(&node, &web("two"), "NodePorts"),
        "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
    );
}

fn with_sysctls(name: &str, sysctls: &[(&str, &str)]) -> Manifest {
    let sysctls: Vec<Value> = sysctls
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    main(name).spec("securityContext", json!({"sysctls": sysctls}))
}

#[test]
fn a_pod_has_kernel_settings_of_its_own() {
    let node = Node::builder()
        .config("allowedUnsafeSysctls: [\"net.core.*\"]\n")
        .start();
    node.apply(&with_sysctls(
        "tuned",
        &[
            ("net.ipv4.ip_unprivileged_port_start", "99"),
            ("kernel/shm_rmid_forced", "1"),
            ("net.core.somaxconn", "77"),
        ],
    ));
    node.apply(&main("plain"));
    node.wait_ready("tuned");
    node.wait_ready("plain");
    let read = |pod: &str, file: &str| node.exec(pod, "main", &["cat", file]).trim().to_owned();
    for (file, own) in [
        ("/proc/sys/net/ipv4/ip_unprivileged_port_start", "99"),
        ("/proc/sys/kernel/shm_rmid_forced", "1"),
        ("/proc/sys/net/core/somaxconn", "77"),
    ] {
        assert_eq!(read("tuned", file), own, "{file}");
        assert_ne!(read("plain", file), own, "{file}");
    }
    let swappiness = with_sysctls("greedy", &[("vm.swappiness", "0")]);
    assert_eq!(
        rejected(&node, &swappiness, "SysctlForbidden"),
        "forbidden sysctl: \"vm.swappiness\" not allowlisted"
    );
}

#[test]
fn a_setting_that_the_kernel_refuses_is_told_and_its_pod_waits() {
    let node = Node::start();
    let sysctl = ("net.ipv4.ip_local_port_range", "nonsense");
    node.apply(&with_sysctls("odd", &[sysctl]));
    node.wait_pod("odd", "told why", |_| {
        let events = node.say(&["get", "events"]);
        events.lines().any(|line| {
            line.contains("FailedCreatePodSandBox") && line.contains("net/ipv4/ip_local_port_range")
        })
    });
    assert_eq!(node.wait_phase("odd", "Pending").reason(), "");
}

#[test]
fn a_pod_with_a_greater_priority_is_made_room_for() {
    let node = Node::builder().config("maxPods: 1\n").start();
    let with = |name: &str, priority: i32| {
        let script =
            "trap 'echo ended; exit 0' TERM; echo armed; while :; do sleep 3600 & wait $!; done";
        let pod = pod(name).container(sh("main", script));
        pod.spec("priority", json!(priority))
    };
    node.apply(&with("low", 1));
    node.wait_ready("low");
    node.wait_log("low", "main", "armed");
    node.apply(&with("high", 2));
    node.wait_ready("high");
    let low = node.wait_phase("low", "Failed");
    assert_eq!(low.reason(), "Preempting");
    assert_eq!(
        low.value["status"]["message"],
        "Preempted in order to admit critical pod"
    );
    assert_eq!(low.condition("DisruptionTarget"), Some("True"));
    let said = node.logs("low", "main");
    assert_eq!(said, "armed\nended\n", "in its own time");
    line_of_metrics(&node, "kubelet_preemptions{preemption_signal=\"pods\"} 1");
}
