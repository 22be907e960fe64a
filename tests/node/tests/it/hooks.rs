//! Hooks: what happens after a container's start and before its end, in which order, and for how long.

use node_tests::manifest::idle;
use node_tests::{Node, pod, process, seconds, sh, wait_for, wait_until};
use serde_json::{Value, json};

fn sh_hook(kind: &str, script: &str) -> Value {
    json!({kind: {"exec": {"command": ["/bin/sh", "-c", script]}}})
}

fn shared(manifest: node_tests::manifest::Manifest) -> node_tests::manifest::Manifest {
    manifest.with(
        "volumeMounts",
        json!([{"name": "shared", "mountPath": "/shared"}]),
    )
}

fn wait_event(node: &Node, text: &str) {
    wait_for(&format!("an event: {text}"), seconds(30), || {
        node.say(&["get", "events"]).contains(text).then_some(())
    });
}

#[test]
fn what_follows_a_container_starts_after_its_post_start() {
    let node = Node::start();
    let mut sidecar = idle("side");
    sidecar["restartPolicy"] = json!("Always");
    sidecar["volumeMounts"] = json!([{"name": "shared", "mountPath": "/shared"}]);
    sidecar["lifecycle"] = sh_hook("postStart", "sleep 1; echo hook >> /shared/order");
    let script =
        "echo main >> /shared/order; trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done";
    let ordered = pod("ordered")
        .spec("volumes", json!([{"name": "shared", "emptyDir": {}}]))
        .init(sidecar)
        .container(sh("main", script));
    node.apply(&shared(ordered));
    node.wait_ready("ordered");
    assert_eq!(
        node.exec("ordered", "main", &["cat", "/shared/order"]),
        "hook\nmain\n"
    );
}

#[test]
fn the_next_main_container_starts_after_the_post_start_of_the_one_before_it() {
    let node = Node::start();
    let mount = json!([{"name": "shared", "mountPath": "/shared"}]);
    let mut first = idle("first");
    first["volumeMounts"] = mount;
    first["lifecycle"] = sh_hook("postStart", "sleep 1; echo hook >> /shared/order");
    let script =
        "echo next >> /shared/order; trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done";
    let ordered = pod("ordered")
        .spec("volumes", json!([{"name": "shared", "emptyDir": {}}]))
        .container(first)
        .container(sh("next", script));
    node.apply(&shared(ordered));
    node.wait_ready("ordered");
    assert_eq!(
        node.exec("ordered", "next", &["cat", "/shared/order"]),
        "hook\nnext\n"
    );
}

#[test]
fn a_container_whose_post_start_fails_is_killed() {
    let node = Node::start();
    node.apply(
        &pod("refused")
            .container(idle("main"))
            .with("lifecycle", sh_hook("postStart", "exit 3")),
    );
    wait_event(&node, "PostStartHook failed");
    node.wait_pod("refused", "restarted", |pod| {
        pod.try_container("main")
            .is_some_and(|main| main.ended_before().is_some() || main.ended().is_some())
    });
}

#[test]
fn pre_stop_runs_before_the_signal() {
    let node = Node::start();
    let script = "trap 'echo term >> /shared/order; exit 0' TERM; while :; do sleep 0.1; done";
    let dir = node.dir("shared");
    std::fs::create_dir(&dir).expect("make a directory");
    let stopped = pod("stopped")
        .spec("terminationGracePeriodSeconds", json!(20))
        .spec(
            "volumes",
            json!([{"name": "shared", "hostPath": {"path": dir}}]),
        )
        .container(sh("main", script))
        .with(
            "lifecycle",
            sh_hook(
                "preStop",
                "echo begin >> /shared/order; sleep 1; echo end >> /shared/order",
            ),
        );
    node.apply(&shared(stopped));
    node.wait_ready("stopped");
    node.remove_manifest("stopped");
    node.wait_gone("stopped");
    let order = std::fs::read_to_string(dir.join("order")).expect("what was done");
    assert_eq!(order, "begin\nend\nterm\n");
}

#[test]
fn pre_stop_counts_into_the_grace_period() {
    let node = Node::start();
    node.apply(
        &pod("endless")
            .spec("terminationGracePeriodSeconds", json!(2))
            .container(idle("main"))
            .with("lifecycle", sh_hook("preStop", "sleep 5555")),
    );
    node.wait_ready("endless");
    node.remove_manifest("endless");
    node.wait_gone("endless");
    let left = node.processes();
    let mut left = left.iter().flat_map(|pid| process::command_line(*pid));
    assert!(left.all(|word| word != "5555"), "the hook goes on");
}

#[test]
fn a_hook_may_ask_a_server_or_only_sleep() {
    let node = Node::start();
    let dir = node.dir("shared");
    std::fs::create_dir(&dir).expect("make a directory");
    let server = "mkdir -p /tmp/w; exec httpd -f -vv -p 8080 -h /tmp/w 2>/shared/log";
    let told = pod("told")
        .spec("volumes", json!([{"name": "shared", "hostPath": {"path": dir}}]))
        .container(sh("main", server))
        .with("readinessProbe", json!({"tcpSocket": {"port": 8080}, "periodSeconds": 1}))
        .with(
            "lifecycle",
            json!({"postStart": {"sleep": {"seconds": 0}}, "preStop": {"httpGet": {"path": "/bye", "port": 8080}}}),
        );
    node.apply(&shared(told));
    node.wait_ready("told");
    node.remove_manifest("told");
    node.wait_gone("told");
    let log = std::fs::read_to_string(dir.join("log")).expect("the server's log");
    assert!(log.contains("/bye"), "{log}");
}

#[test]
fn a_hook_that_asks_for_tls_where_there_is_none_is_sent_without_and_counted() {
    const COUNT: &str = "\nkubelet_lifecycle_handler_http_fallbacks_total ";
    let node = Node::start();
    let counted = |count: u32| {
        let text = node.http("/metrics").text();
        text.contains(&format!("{COUNT}{count}\n"))
    };
    assert!(counted(0));
    let bye = json!({"path": "/bye", "port": 8080, "scheme": "HTTPS"});
    let server = "mkdir -p /tmp/w; exec httpd -f -vv -p 8080 -h /tmp/w";
    node.apply(
        &pod("plain")
            .spec("terminationGracePeriodSeconds", json!(20))
            .container(sh("main", server))
            .with(
                "readinessProbe",
                json!({"tcpSocket": {"port": 8080}, "periodSeconds": 1}),
            )
            .with("lifecycle", json!({"preStop": {"httpGet": bye}})),
    );
    node.wait_ready("plain");
    node.remove_manifest("plain");
    wait_event(&node, "got HTTP response, retry with HTTP succeeded");
    wait_until("it to be counted", seconds(10), || counted(1));
}

#[test]
fn sidecars_start_before_and_end_after_the_others() {
    let node = Node::start();
    let dir = node.dir("shared");
    std::fs::create_dir(&dir).expect("make a directory");
    let lives = |name: &str| {
        let script = format!(
            "trap 'echo {name} ends >> /shared/order; exit 0' TERM; echo {name} begins >> /shared/order; while :; do sleep 0.1; done"
        );
        let mut container = sh(name, &script);
        container["volumeMounts"] = json!([{"name": "shared", "mountPath": "/shared"}]);
        container
    };
    let sidecar = |name: &str| {
        let mut container = lives(name);
        container["restartPolicy"] = json!("Always");
        container["startupProbe"] = json!({"exec": {"command": ["grep", format!("{name} begins"), "/shared/order"]}, "periodSeconds": 1});
        container
    };
    node.apply(
        &pod("team")
            .spec("terminationGracePeriodSeconds", json!(20))
            .spec(
                "volumes",
                json!([{"name": "shared", "hostPath": {"path": dir}}]),
            )
            .init(sidecar("one"))
            .init(sidecar("two"))
            .container(lives("main")),
    );
    node.wait_ready("team");
    // before its trap is set, the first process of a PID namespace hears no TERM
    wait_until("main to begin", seconds(20), || {
        std::fs::read_to_string(dir.join("order")).is_ok_and(|order| order.contains("main begins"))
    });
    node.remove_manifest("team");
    node.wait_gone("team");
    let order = std::fs::read_to_string(dir.join("order")).expect("what was done");
    assert_eq!(
        order,
        "one begins\ntwo begins\nmain begins\nmain ends\ntwo ends\none ends\n"
    );
}
