//! Namespaces that a pod shares with the host or between its containers, and its place in the cgroup tree.

use node_tests::manifest::idle;
use node_tests::{Node, pod, process, sh};
use serde_json::json;
use std::fs;

#[test]
fn host_namespaces_are_shared_when_asked_for() {
    let node = Node::start();
    node.apply(
        &pod("hosted")
            .spec("hostPID", json!(true))
            .spec("hostIPC", json!(true))
            .spec("hostNetwork", json!(true))
            .container(idle("main")),
    );
    let hosted = node.wait_ready("hosted");
    let pid = node.container_pid(hosted.uid(), "main").expect("a process");
    let agent = node.agent_pid().expect("the agent");
    for kind in ["pid", "ipc", "net"] {
        assert_eq!(
            process::namespace(pid, kind),
            process::namespace(agent, kind),
            "{kind}"
        );
    }
    assert_ne!(
        process::namespace(pid, "mnt"),
        process::namespace(agent, "mnt")
    );
}

#[test]
fn containers_of_a_pod_share_network_ipc_and_hostname_but_not_processes() {
    let node = Node::start();
    node.apply(&pod("pair").container(idle("a")).container(idle("b")));
    let pair = node.wait_ready("pair");
    let pid = |name: &str| node.container_pid(pair.uid(), name).expect("a process");
    let (a, b) = (pid("a"), pid("b"));
    for kind in ["net", "ipc", "uts"] {
        assert_eq!(
            process::namespace(a, kind),
            process::namespace(b, kind),
            "{kind}"
        );
    }
    for kind in ["pid", "mnt"] {
        assert_ne!(
            process::namespace(a, kind),
            process::namespace(b, kind),
            "{kind}"
        );
    }
}

#[test]
fn a_shared_process_namespace_has_a_first_process_that_is_none_of_the_containers() {
    let node = Node::start();
    node.apply(
        &pod("open")
            .spec("shareProcessNamespace", json!(true))
            .container(idle("a"))
            .container(idle("b")),
    );
    let open = node.wait_ready("open");
    let pid = |name: &str| node.container_pid(open.uid(), name).expect("a process");
    assert_eq!(
        process::namespace(pid("a"), "pid"),
        process::namespace(pid("b"), "pid")
    );
    assert_ne!(
        process::namespace(pid("a"), "pid"),
        process::namespace(1, "pid")
    );
    let listed = node.exec("open", "a", &["ps", "-o", "pid,args"]);
    let sleepers = listed.lines().filter(|line| line.contains("trap")).count();
    assert_eq!(sleepers, 2, "{listed}");
}

#[test]
fn a_shared_process_namespace_outlives_a_container_that_ends() {
    let node = Node::start();
    node.apply(
        &pod("open")
            .spec("shareProcessNamespace", json!(true))
            .container(idle("steady"))
            .container(sh("brief", "sleep 0.3; exit 4")),
    );
    let open = node.wait_pod("open", "restarted", |pod| {
        pod.try_container("brief")
            .is_some_and(|brief| brief.restarts() >= 1)
    });
    assert!(open.container("steady").is_running());
    assert_eq!(open.container("steady").restarts(), 0);
    assert_eq!(
        open.container("brief")
            .ended_before()
            .map(|end| end.exit_code()),
        Some(4)
    );
}

fn cgroup_file(node: &Node, part: &str, names: [&str; 2]) -> Option<String> {
    process::cgroup_directories(&node.cgroup_root)
        .into_iter()
        .filter(|dir| dir.to_string_lossy().ends_with(part))
        .find_map(|dir| {
            names
                .iter()
                .find_map(|name| fs::read_to_string(dir.join(name)).ok())
        })
        .map(|text| text.trim().to_owned())
}

#[test]
fn limits_are_the_kernels_under_kubepods_by_quality_of_service() {
    let node = Node::start();
    let resources = |requests: serde_json::Value, limits: serde_json::Value| json!({"requests": requests, "limits": limits});
    let same = json!({"cpu": "100m", "memory": "32Mi"});
    node.apply(
        &pod("guaranteed")
            .container(idle("main"))
            .with("resources", resources(same.clone(), same)),
    );
    node.apply(&pod("burstable").container(idle("main")).with(
        "resources",
        resources(json!({"cpu": "50m"}), json!({"memory": "64Mi"})),
    ));
    node.apply(&pod("best-effort").container(idle("main")));
    let uid = |name: &str| node.wait_ready(name).uid().to_owned();
    let (guaranteed, burstable, best_effort) =
        (uid("guaranteed"), uid("burstable"), uid("best-effort"));
    let memory = ["memory.max", "memory.limit_in_bytes"];
    assert_eq!(
        cgroup_file(&node, &format!("kubepods/pod{guaranteed}/main.0"), memory).as_deref(),
        Some("33554432")
    );
    assert_eq!(
        cgroup_file(
            &node,
            &format!("kubepods/burstable/pod{burstable}/main.0"),
            memory
        )
        .as_deref(),
        Some("67108864")
    );
    assert!(
        cgroup_file(
            &node,
            &format!("kubepods/besteffort/pod{best_effort}/main.0"),
            memory
        )
        .is_some()
    );
    let quota = cgroup_file(
        &node,
        &format!("kubepods/pod{guaranteed}/main.0"),
        ["cpu.max", "cpu.cfs_quota_us"],
    );
    assert!(
        quota
            .as_deref()
            .is_some_and(|quota| quota.starts_with("10000")),
        "{quota:?}"
    );
    for (name, class) in [
        ("guaranteed", "Guaranteed"),
        ("burstable", "Burstable"),
        ("best-effort", "BestEffort"),
    ] {
        assert_eq!(
            node.pod(name).expect("the pod").value["status"]["qosClass"],
            class
        );
    }
}

#[test]
fn the_kernels_victims_are_chosen_by_quality_of_service() {
    let node = Node::start();
    node.apply(&pod("best-effort").container(idle("main")));
    let uid = node.wait_ready("best-effort").uid().to_owned();
    let pid = node.container_pid(&uid, "main").expect("a process");
    let score: i32 = fs::read_to_string(format!("/proc/{pid}/oom_score_adj"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert_eq!(score, 1000);
}
